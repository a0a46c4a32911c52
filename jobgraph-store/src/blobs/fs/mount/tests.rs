#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use proto::Digest;

use super::*;
use crate::blobs::{BlobName, Blobs as _};

/// Makes a file or a directory look as if nothing had changed in it for so long.
fn age(path: &Path, by: Duration) {
    let file = File::open(path).unwrap();
    let then = file.metadata().unwrap().modified().unwrap() - by;
    file.set_modified(then).unwrap();
}

#[tokio::test]
async fn a_mount_that_is_absent_is_refused_and_not_made() {
    let above = tempfile::tempdir().unwrap();
    let root = above.path().join("payloads");
    let refused = FsBlobs::open_shared(root.clone()).await.unwrap_err().to_string();
    assert!(refused.contains("there is no directory") && refused.contains("mount"), "{refused}");
    assert!(!root.exists());
}

#[tokio::test]
async fn what_another_store_writes_is_left_alone_however_old_its_directory_is() {
    let root = tempfile::tempdir().unwrap();
    let first = FsBlobs::open_shared(root.path().to_owned()).await.unwrap();
    let name = BlobName::from(Digest::of(b"bytes"));
    let mut writer = first.writer(name).await.unwrap();
    writer.write(Bytes::from_static(b"by")).await.unwrap();
    for directory in fs::read_dir(root.path().join(UNFINISHED)).unwrap() {
        age(&directory.unwrap().path(), 2 * ABANDONED);
    }
    let second = FsBlobs::open_shared(root.path().to_owned()).await.unwrap();
    writer.write(Bytes::from_static(b"tes")).await.unwrap();
    writer.finish().await.unwrap();
    assert_eq!(second.stat(name).await.unwrap(), Some(5));
}

#[tokio::test]
async fn what_a_store_that_is_gone_left_goes_after_a_day() {
    let root = tempfile::tempdir().unwrap();
    let all = root.path().join(UNFINISHED);
    let (young, old, loose) = (all.join("young"), all.join("old"), all.join("loose"));
    for directory in [&young, &old] {
        disk::make_directories(directory, 0o700).unwrap();
        fs::write(directory.join("part"), b"by").unwrap();
    }
    fs::write(&loose, b"by").unwrap();
    for path in [&old.join("part"), &old, &loose] {
        age(path, ABANDONED + Duration::from_secs(60));
    }
    age(&young, ABANDONED + Duration::from_secs(60));
    FsBlobs::open_shared(root.path().to_owned()).await.unwrap();
    assert_eq!((young.exists(), old.exists(), loose.exists()), (true, false, false));
}

#[tokio::test]
async fn an_owner_is_there_once_it_is_set_and_for_every_opener() {
    let root = tempfile::tempdir().unwrap();
    let first = FsBlobs::open_shared(root.path().to_owned()).await.unwrap();
    assert_eq!(first.owner().await.unwrap(), None);
    first.set_owner("one").await.unwrap();
    let second = FsBlobs::open_shared(root.path().to_owned()).await.unwrap();
    assert_eq!(second.owner().await.unwrap().as_deref(), Some("one"));
    second.set_owner("two").await.unwrap();
    assert_eq!(first.owner().await.unwrap().as_deref(), Some("one"), "the first has said it");
    assert!(second.list().await.unwrap().is_empty(), "an owner is no payload");
}
