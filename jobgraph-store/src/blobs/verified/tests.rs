#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use super::*;
use crate::blobs::fs::FsBlobs;
use crate::blobs::memory::MemoryBlobs;

/// So many bytes are read in three parts and a bit by a file backend.
const MANY: usize = 3 * 1024 * 1024 + 5;

async fn put(blobs: &Verified, bytes: &Bytes) -> BlobName {
    let name = BlobName::from(Digest::of(bytes));
    put_as(blobs, name, bytes).await;
    name
}

async fn put_as(blobs: &Verified, name: BlobName, bytes: &Bytes) {
    let mut writer = blobs.writer(name).await.unwrap();
    writer.write(bytes.clone()).await.unwrap();
    writer.finish().await.unwrap();
}

fn bytes(length: usize) -> Bytes {
    (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

/// Reads everything up to the end or the error.
async fn read(blobs: &Verified, name: BlobName, offset: u64) -> (Vec<u8>, Option<BlobError>) {
    let mut parts = match blobs.read(name, offset).await {
        Ok(parts) => parts,
        Err(error) => return (Vec::new(), Some(error)),
    };
    let mut got = Vec::new();
    loop {
        match parts.next().await {
            Some(Ok(part)) => got.extend_from_slice(&part),
            Some(Err(error)) => return (got, Some(error)),
            None => return (got, None),
        }
    }
}

fn over(root: &tempfile::TempDir) -> (Verified, impl Fn(BlobName) -> PathBuf) {
    let blobs = Arc::new(FsBlobs::open(root.path()).unwrap());
    let place = blobs.clone();
    (Verified::new(blobs), move |name| place.place(name).into())
}

#[tokio::test]
async fn whole_payloads_are_read_from_anywhere_on() {
    let root = tempfile::tempdir().unwrap();
    let (blobs, _) = over(&root);
    for length in [0, 1, 1024 * 1024, MANY] {
        let all = bytes(length);
        let name = put(&blobs, &all).await;
        for offset in [0, 1, length / 2, length, length + 7] {
            let (got, error) = read(&blobs, name, offset as u64).await;
            assert_eq!(error, None);
            assert!(got == all[offset.min(length)..], "{length} from {offset} on");
        }
        assert_eq!(blobs.read_whole(name).await.unwrap(), all);
    }
}

#[tokio::test]
async fn a_damaged_payload_never_ends_as_if_it_were_whole() {
    let root = tempfile::tempdir().unwrap();
    let (blobs, place) = over(&root);
    for length in [1, 1000, MANY] {
        let all = bytes(length);
        for (what, damage) in [
            (
                "first byte",
                Box::new(|bytes: &mut Vec<u8>| bytes[0] ^= 1) as Box<dyn Fn(&mut Vec<u8>)>,
            ),
            ("last byte", Box::new(|bytes: &mut Vec<u8>| *bytes.last_mut().unwrap() ^= 0x80)),
            ("cut", Box::new(|bytes: &mut Vec<u8>| bytes.truncate(bytes.len() - 1))),
            ("emptied", Box::new(Vec::clear)),
            ("longer", Box::new(|bytes: &mut Vec<u8>| bytes.push(0))),
        ] {
            let name = put(&blobs, &all).await;
            let mut changed = all.to_vec();
            damage(&mut changed);
            std::fs::write(place(name), &changed).unwrap();
            for offset in [0, length as u64 - 1, length as u64] {
                let (got, error) = read(&blobs, name, offset).await;
                let Some(BlobError::Damaged { file, .. }) = error else {
                    panic!("{what} of {length} bytes from {offset} on: {error:?}");
                };
                assert_eq!(PathBuf::from(file), place(name));
                assert!(
                    got.len() < (length - usize::try_from(offset).unwrap()).max(1),
                    "{what}: all of it was given out"
                );
                assert!(length > 1024 * 1024 || got.is_empty(), "{what}: a small one was begun");
            }
            assert!(matches!(blobs.read_whole(name).await, Err(BlobError::Damaged { .. })));
        }
    }
}

#[tokio::test]
async fn a_damaged_payload_is_not_there_until_it_is_put_again() {
    let root = tempfile::tempdir().unwrap();
    let (blobs, place) = over(&root);
    let all = bytes(100);
    let name = put(&blobs, &all).await;
    std::fs::write(place(name), [7; 100]).unwrap();
    assert_eq!(blobs.stat(name).await.unwrap(), Some(100), "no reader has read it yet");
    read(&blobs, name, 0).await.1.unwrap();
    assert_eq!(blobs.stat(name).await.unwrap(), None);
    put(&blobs, &all).await;
    assert_eq!(blobs.stat(name).await.unwrap(), Some(100));
    assert_eq!(blobs.read_whole(name).await.unwrap(), all);
}

/// Another store over the same payloads has mended it, which this one learns when it reads.
#[tokio::test]
async fn what_another_store_has_mended_is_there_again_once_it_was_read() {
    let root = tempfile::tempdir().unwrap();
    let (blobs, place) = over(&root);
    let (other, _) = over(&root);
    let all = bytes(100);
    let name = put(&blobs, &all).await;
    std::fs::write(place(name), [7; 100]).unwrap();
    read(&blobs, name, 0).await.1.unwrap();
    put(&other, &all).await;
    assert_eq!(blobs.read_whole(name).await.unwrap(), all);
    assert_eq!(blobs.stat(name).await.unwrap(), Some(100));
}

/// What a late removal rests on: it takes the blob that it names, and none of the same bytes.
#[tokio::test]
async fn blobs_of_one_digest_and_another_number_are_other_blobs() {
    let root = tempfile::tempdir().unwrap();
    for blobs in [over(&root).0, Verified::new(Arc::new(MemoryBlobs::default()))] {
        let all = bytes(100);
        let first = put(&blobs, &all).await;
        let second = BlobName { number: 1, ..first };
        put_as(&blobs, second, &all).await;
        assert_eq!(blobs.list().await.unwrap().len(), 2);
        blobs.remove(first).await.unwrap();
        assert_eq!(blobs.stat(first).await, Ok(None));
        assert_eq!(blobs.read_whole(second).await, Ok(all));
        let left: Vec<BlobName> =
            blobs.list().await.unwrap().into_iter().map(|blob| blob.name).collect();
        assert_eq!(left, [second]);
    }
}
