#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use super::*;
use crate::blobs::fs::FsBlobs;

/// So many bytes are read in three parts and a bit by a file backend.
const MANY: usize = 3 * 1024 * 1024 + 5;

async fn put(blobs: &Verified, bytes: &Bytes) -> Digest {
    let digest = Digest::of(bytes);
    let mut writer = blobs.writer(digest).await.unwrap();
    writer.write(bytes.clone()).await.unwrap();
    writer.finish().await.unwrap();
    digest
}

fn bytes(length: usize) -> Bytes {
    (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

/// Reads everything up to the end or the error.
async fn read(blobs: &Verified, digest: Digest, offset: u64) -> (Vec<u8>, Option<BlobError>) {
    let mut parts = match blobs.read(digest, offset).await {
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

fn over(root: &tempfile::TempDir) -> (Verified, impl Fn(Digest) -> PathBuf) {
    let blobs = Arc::new(FsBlobs::open(root.path()).unwrap());
    let place = blobs.clone();
    (Verified::new(blobs), move |digest| place.place(digest).into())
}

#[tokio::test]
async fn whole_payloads_are_read_from_anywhere_on() {
    let root = tempfile::tempdir().unwrap();
    let (blobs, _) = over(&root);
    for length in [0, 1, 1024 * 1024, MANY] {
        let all = bytes(length);
        let digest = put(&blobs, &all).await;
        for offset in [0, 1, length / 2, length, length + 7] {
            let (got, error) = read(&blobs, digest, offset as u64).await;
            assert_eq!(error, None);
            assert!(got == all[offset.min(length)..], "{length} from {offset} on");
        }
        assert_eq!(blobs.read_whole(digest).await.unwrap(), all);
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
            let digest = put(&blobs, &all).await;
            let mut changed = all.to_vec();
            damage(&mut changed);
            std::fs::write(place(digest), &changed).unwrap();
            for offset in [0, length as u64 - 1, length as u64] {
                let (got, error) = read(&blobs, digest, offset).await;
                let Some(BlobError::Damaged { file, .. }) = error else {
                    panic!("{what} of {length} bytes from {offset} on: {error:?}");
                };
                assert_eq!(PathBuf::from(file), place(digest));
                assert!(
                    got.len() < (length - usize::try_from(offset).unwrap()).max(1),
                    "{what}: all of it was given out"
                );
                assert!(length > 1024 * 1024 || got.is_empty(), "{what}: a small one was begun");
            }
            assert!(matches!(blobs.read_whole(digest).await, Err(BlobError::Damaged { .. })));
        }
    }
}

#[tokio::test]
async fn a_damaged_payload_is_not_there_until_it_is_put_again() {
    let root = tempfile::tempdir().unwrap();
    let (blobs, place) = over(&root);
    let all = bytes(100);
    let digest = put(&blobs, &all).await;
    std::fs::write(place(digest), [7; 100]).unwrap();
    assert_eq!(blobs.stat(digest).await.unwrap(), Some(100), "no reader has read it yet");
    read(&blobs, digest, 0).await.1.unwrap();
    assert_eq!(blobs.stat(digest).await.unwrap(), None);
    put(&blobs, &all).await;
    assert_eq!(blobs.stat(digest).await.unwrap(), Some(100));
    assert_eq!(blobs.read_whole(digest).await.unwrap(), all);
}
