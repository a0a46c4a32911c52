#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use redb::backends::FileBackend;

use super::*;
use crate::store::laws::{Bed, KEPT, laws_hold};
use crate::store::{Key, Operation};

/// A file that is closed and opened again. (A test with a process of its own shows that a `kill -9`
/// loses nothing.)
struct FileBed {
    directory: tempfile::TempDir,
}

impl FileBed {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }
}

#[async_trait]
impl Bed for FileBed {
    async fn open(&mut self) -> Arc<dyn Metadata> {
        let opener = Opener::file(&self.directory.path().join("record.redb"));
        Arc::new(EmbeddedMetadata::open_with(opener, KEPT).unwrap())
    }

    async fn crash(&mut self) {}
}

laws_hold!(FileBed::new());

fn put(key: &str, bytes: usize) -> Transaction {
    let put = Operation::Put(Key::from(key.to_owned()), Bytes::from(vec![7; bytes]));
    Transaction { compares: Vec::new(), operations: vec![put] }
}

#[tokio::test]
async fn a_second_process_cannot_open_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("record.redb");
    let first = EmbeddedMetadata::open(&path).unwrap();
    let refused = EmbeddedMetadata::open(&path).unwrap_err();
    assert!(
        matches!(&refused, StoreError::Unavailable(why) if why.contains("another process")),
        "{refused}"
    );
    drop(first);
    EmbeddedMetadata::open(&path).unwrap();
}

#[tokio::test]
async fn a_damaged_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("record.redb");
    std::fs::write(&path, b"this is no record").unwrap();
    assert!(EmbeddedMetadata::open(&path).is_err());
}

/// A disk that has room for so many more bytes, then for none.
#[derive(Debug)]
struct FillingDisk {
    inner: FileBackend,
    room: Arc<AtomicI64>,
}

impl FillingDisk {
    fn take(&self, bytes: usize) -> Result<(), std::io::Error> {
        let bytes = i64::try_from(bytes).unwrap();
        if self.room.fetch_sub(bytes, Ordering::SeqCst) < bytes {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl redb::StorageBackend for FillingDisk {
    fn len(&self) -> Result<u64, std::io::Error> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), std::io::Error> {
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> Result<(), std::io::Error> {
        self.take(1)?;
        self.inner.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
        self.take(data.len())?;
        self.inner.write(offset, data)
    }

    fn close(&self) -> Result<(), std::io::Error> {
        self.inner.close()
    }
}

#[tokio::test]
async fn a_disk_that_fills_up_loses_nothing_and_works_again_with_room() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("record.redb");
    let room = Arc::new(AtomicI64::new(i64::MAX / 2));
    let opener = {
        let (path, room) = (path.clone(), room.clone());
        Opener::with(&path.clone(), move || {
            let file = std::fs::File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path);
            let inner = FileBackend::new(file.unwrap()).unwrap();
            let disk = FillingDisk { inner, room: room.clone() };
            redb::Database::builder()
                .create_with_backend(disk)
                .map_err(|error| redb_file::FileError::of(&path, error).into())
        })
    };
    let store = EmbeddedMetadata::open_with(opener, KEPT).unwrap();
    let mut done = 0;
    // Wherever in a commit the room ends, the commit is refused, and what was answered before
    // stays.
    for round in 0..20_i64 {
        room.store(4096 * round, Ordering::SeqCst);
        let outcome = store.commit(put(&format!("full{round}"), 60_000)).await;
        room.store(i64::MAX / 2, Ordering::SeqCst);
        match outcome {
            Ok(Commit::Committed(_)) => done += 1,
            Err(StoreError::Full(_) | StoreError::Unknown(_)) => {}
            other => panic!("{other:?}"),
        }
        let view = store.read(vec![Read::all(Key::from("full".to_owned()))], None).await.unwrap();
        assert!(view.answers[0].len() >= done, "an answered commit is gone in round {round}");
        done = view.answers[0].len();
        let Ok(Commit::Committed(_)) = store.commit(put(&format!("room{round}"), 100)).await else {
            panic!("with room it does not work again in round {round}");
        };
    }
    assert!(done < 20, "the disk never was full");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_that_wait_are_made_durable_together() {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(EmbeddedMetadata::open(&directory.path().join("record.redb")).unwrap());
    let commits = (0..200).map(|n| {
        let store = store.clone();
        tokio::spawn(async move { store.commit(put(&format!("k{n}"), 100)).await.unwrap() })
    });
    let mut revisions: Vec<u64> = futures::future::join_all(commits)
        .await
        .into_iter()
        .map(|commit| match commit.unwrap() {
            Commit::Committed(revision) => revision,
            Commit::Conflict(key) => panic!("conflict at {key}"),
        })
        .collect();
    revisions.sort_unstable();
    assert_eq!(revisions, (1..=200).collect::<Vec<u64>>());
}
