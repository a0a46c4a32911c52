#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use chassis::clock::ManualClock;

use super::*;

fn cache(directory: &Path, limit: u64) -> (Cache, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new());
    (Cache::open(directory, limit, clock.clone()).unwrap(), clock)
}

fn kept(cache: &Cache, bytes: &[u8]) -> Digest {
    let mut incoming = cache.incoming().unwrap();
    incoming.write(bytes).unwrap();
    cache.keep(incoming, "test:").unwrap().digest
}

#[test]
fn what_is_kept_is_found_under_its_digest_also_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let digest = kept(&cache(directory.path(), 100).0, b"bytes");
    assert_eq!(digest, Digest::of(b"bytes"));
    let (reopened, _) = cache(directory.path(), 100);
    assert_eq!(reopened.find(digest).unwrap().unwrap().size_bytes, 5);
    assert_eq!(fs::read(reopened.path(digest)).unwrap(), b"bytes");
}

#[test]
fn what_was_cut_off_is_gone_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut incoming = cache(directory.path(), 100).0.incoming().unwrap();
    incoming.write(b"half").unwrap();
    std::mem::forget(incoming);
    let (reopened, _) = cache(directory.path(), 100);
    assert_eq!(fs::read_dir(directory.path().join("incoming")).unwrap().count(), 0);
    assert_eq!(reopened.find(Digest::of(b"half")).unwrap(), None);
}

#[test]
fn a_blob_that_was_changed_on_disk_is_not_given_out() {
    let directory = tempfile::tempdir().unwrap();
    let (cache, _) = cache(directory.path(), 100);
    let digest = kept(&cache, b"bytes");
    fs::set_permissions(cache.path(digest), fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(cache.path(digest), b"tampered with").unwrap();
    assert_eq!(cache.find(digest).unwrap(), None);
    assert!(!cache.path(digest).exists());
}

#[test]
fn over_the_limit_the_least_recently_used_goes_and_a_held_one_stays() {
    let directory = tempfile::tempdir().unwrap();
    let (cache, clock) = cache(directory.path(), 12);
    let application = ApplicationRef { id: "a".parse().unwrap(), generation: proto::Generation(1) };
    let held = kept(&cache, b"first");
    cache.hold(&application, held).unwrap();
    clock.advance(Duration::from_secs(1));
    let second = kept(&cache, b"second");
    clock.advance(Duration::from_secs(1));
    let third = kept(&cache, b"third");
    assert!(cache.find(held).unwrap().is_some());
    assert!(cache.find(second).unwrap().is_none());
    assert!(cache.find(third).unwrap().is_some());
    assert!(!cache.evict_one(held).unwrap());
    cache.release(&application).unwrap();
    assert!(cache.evict_one(held).unwrap());
}

#[test]
fn an_executable_is_a_copy_so_that_the_blob_keeps_its_mode() {
    let directory = tempfile::tempdir().unwrap();
    let (cache, _) = cache(directory.path(), 100);
    let digest = kept(&cache, b"#!/bin/sh\n");
    let target = directory.path().join("program");
    cache.place(digest, &target, true).unwrap();
    assert_eq!(fs::metadata(&target).unwrap().mode() & 0o777, 0o755);
    assert_eq!(fs::metadata(cache.path(digest)).unwrap().mode() & 0o777, 0o444);
    cache.place(digest, &target, false).unwrap();
    assert_eq!(fs::metadata(&target).unwrap().ino(), fs::metadata(cache.path(digest)).unwrap().ino());
}
