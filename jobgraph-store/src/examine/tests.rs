#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use chassis::clock::SystemClock;

use super::*;
use crate::blobs::Blobs as _;
use crate::blobs::fs::FsBlobs;
use crate::store::embedded::EmbeddedMetadata;

const LONG: Duration = Duration::from_secs(60);

async fn look(state: &Path) -> [Option<Looked>; 2] {
    let clock: SharedClock = Arc::new(SystemClock);
    [record(state, &clock).await, payloads(state, &clock, LONG).await]
}

async fn kept(state: &Path, bytes: &'static [u8]) -> PathBuf {
    let blobs = FsBlobs::open(&state.join(PAYLOADS)).unwrap();
    // Payloads whose names carry a number are payloads like the others.
    let name = BlobName { digest: Digest::of(bytes), number: bytes.len() as u64 % 2 };
    let mut writer = blobs.writer(name).await.unwrap();
    writer.write(bytes.into()).await.unwrap();
    writer.finish().await.unwrap();
    blobs.place(name).into()
}

#[tokio::test]
async fn what_is_whole_is_said_to_be_also_while_a_store_has_it_open() {
    let state = tempfile::tempdir().unwrap();
    assert_eq!(look(state.path()).await, [None, None]);
    let _open = EmbeddedMetadata::open(&state.path().join(RECORD)).unwrap();
    kept(state.path(), b"bytes").await;
    let [record, payloads] = look(state.path()).await.map(|looked| looked.unwrap().unwrap());
    assert!(record.contains("record.redb is whole"), "{record}");
    assert!(payloads.starts_with("1 payloads (5 bytes) in"), "{payloads}");
}

#[tokio::test]
async fn damage_is_named_file_by_file_and_a_lost_record_is_no_new_one() {
    let state = tempfile::tempdir().unwrap();
    drop(EmbeddedMetadata::open(&state.path().join(RECORD)).unwrap());
    let damaged = kept(state.path(), b"bytes").await;
    kept(state.path(), b"other bytes").await;
    fs::write(&damaged, b"bytez").unwrap();
    let [_, payloads] = look(state.path()).await;
    let said = payloads.unwrap().unwrap_err();
    assert!(
        said.contains("of 2 payloads (16 bytes) 1 are damaged")
            && said.contains(&*damaged.to_string_lossy()),
        "{said}"
    );
    fs::write(state.path().join(RECORD), b"").unwrap();
    let [record, _] = look(state.path()).await;
    let said = record.unwrap().unwrap_err();
    assert!(
        said.contains("record.redb is damaged: it is empty")
            && said.contains("restore it from a copy"),
        "{said}"
    );
    fs::remove_file(state.path().join(RECORD)).unwrap();
    let [record, _] = look(state.path()).await;
    let said = record.unwrap().unwrap_err();
    assert!(said.contains("record.redb is gone, and beside it lie 2 payloads"), "{said}");
    assert!(not_lost(state.path()).is_err());
    fs::write(state.path().join(PLACE), b"{}").unwrap();
    assert_eq!(not_lost(state.path()), Ok(()), "the record is on etcd");
}
