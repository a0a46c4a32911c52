#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use bytes::Bytes;
use chassis::clock::ManualClock;

use super::*;

fn cache(directory: &Path, limit: u64) -> (Cache, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new());
    (Cache::open(directory, limit, clock.clone()).unwrap(), clock)
}

fn kept(cache: &Cache, bytes: &[u8]) -> Digest {
    let mut incoming = cache.incoming().unwrap();
    incoming.receive([Bytes::copy_from_slice(bytes)]).unwrap();
    cache.keep(incoming, "test:").unwrap().facts.digest
}

#[test]
fn what_is_kept_is_found_under_its_digest_also_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let digest = kept(&cache(directory.path(), 100).0, b"bytes");
    assert_eq!(digest, Digest::of(b"bytes"));
    let (reopened, _) = cache(directory.path(), 100);
    assert_eq!(reopened.find(digest).unwrap().whole().unwrap().facts.size_bytes, 5);
    assert_eq!(fs::read(reopened.path(digest)).unwrap(), b"bytes");
}

#[test]
fn what_was_cut_off_is_gone_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut incoming = cache(directory.path(), 100).0.incoming().unwrap();
    incoming.receive([Bytes::from_static(b"half")]).unwrap();
    std::mem::forget(incoming);
    let (reopened, _) = cache(directory.path(), 100);
    assert_eq!(fs::read_dir(directory.path().join("incoming")).unwrap().count(), 0);
    assert!(reopened.find(Digest::of(b"half")).unwrap().whole().is_none());
}

#[test]
fn a_blob_that_was_changed_on_disk_is_not_given_out() {
    let directory = tempfile::tempdir().unwrap();
    let (cache, _) = cache(directory.path(), 100);
    let digest = kept(&cache, b"bytes");
    fs::set_permissions(cache.path(digest), fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(cache.path(digest), b"tampered with").unwrap();
    assert!(cache.find(digest).unwrap().whole().is_none());
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
    assert!(cache.find(held).unwrap().whole().is_some());
    assert!(cache.find(second).unwrap().whole().is_none());
    assert!(cache.find(third).unwrap().whole().is_some());
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
    place(&cache.path(digest), &target, true).unwrap();
    assert_eq!(fs::metadata(&target).unwrap().mode() & 0o777, 0o755);
    assert_eq!(fs::metadata(cache.path(digest)).unwrap().mode() & 0o777, 0o444);
    place(&cache.path(digest), &target, false).unwrap();
    assert_eq!(
        fs::metadata(&target).unwrap().ino(),
        fs::metadata(cache.path(digest)).unwrap().ino()
    );
}

#[test]
fn a_blob_whose_facts_were_lost_is_taken_up_again_and_digested_before_it_is_given_out() {
    let directory = tempfile::tempdir().unwrap();
    let (lost, cut, bad) = {
        let (cache, _) = cache(directory.path(), 100);
        (kept(&cache, b"lost"), kept(&cache, b"cut"), kept(&cache, b"bad"))
    };
    let facts =
        |digest: Digest| directory.path().join("facts").join(format!("{}.json", digest.to_hex()));
    fs::remove_file(facts(lost)).unwrap();
    fs::write(facts(cut), b"{\"digest\":").unwrap();
    fs::write(facts(cut).with_extension("new-7"), b"").unwrap();
    fs::remove_file(facts(bad)).unwrap();
    let blob = directory.path().join("blobs").join(bad.to_hex());
    fs::set_permissions(&blob, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&blob, b"not").unwrap();

    let (reopened, _) = cache(directory.path(), 100);
    assert_eq!(reopened.find(lost).unwrap().whole().unwrap().facts.size_bytes, 4);
    assert_eq!(reopened.find(cut).unwrap().whole().unwrap().facts.size_bytes, 3);
    assert!(reopened.find(bad).unwrap().whole().is_none(), "given out without a look");
    assert_eq!(fs::read_dir(directory.path().join("facts")).unwrap().count(), 2);
}

#[test]
fn facts_of_a_blob_that_is_gone_go_too() {
    let directory = tempfile::tempdir().unwrap();
    let digest = kept(&cache(directory.path(), 100).0, b"bytes");
    fs::remove_file(directory.path().join("blobs").join(digest.to_hex())).unwrap();
    let (reopened, _) = cache(directory.path(), 100);
    assert!(reopened.find(digest).unwrap().whole().is_none());
    assert_eq!(fs::read_dir(directory.path().join("facts")).unwrap().count(), 0);
}

#[test]
fn a_cache_that_another_fetcher_has_open_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (first, clock) = cache(directory.path(), 100);
    let half = first.incoming().unwrap();
    let Err(refused) = Cache::open(directory.path(), 100, clock.clone()) else {
        panic!("opened twice")
    };
    assert_eq!(refused.kind(), io::ErrorKind::ResourceBusy);
    assert_eq!(
        fs::read_dir(directory.path().join("incoming")).unwrap().count(),
        1,
        "its files were removed"
    );
    drop((half, first));
    Cache::open(directory.path(), 100, clock).unwrap();
}

#[test]
fn what_does_not_fit_beside_what_is_held_is_refused_and_evicts_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (cache, _) = cache(directory.path(), 12);
    let application = ApplicationRef { id: "a".parse().unwrap(), generation: proto::Generation(1) };
    let held = kept(&cache, b"held-");
    cache.hold(&application, held).unwrap();
    let other = kept(&cache, b"other");
    let mut incoming = cache.incoming().unwrap();
    incoming.receive([Bytes::from_static(b"eight by")]).unwrap();
    let refused = cache.keep(incoming, "test:").unwrap_err();
    assert!(matches!(refused, NotKept::NoRoom { used_bytes: 5, size_bytes: 8 }), "{refused:?}");
    assert!(cache.find(other).unwrap().whole().is_some());
    assert_eq!(fs::read_dir(directory.path().join("incoming")).unwrap().count(), 0);
}

#[test]
fn what_somebody_is_being_given_is_not_evicted() {
    let directory = tempfile::tempdir().unwrap();
    let (cache, _) = cache(directory.path(), 100);
    let digest = kept(&cache, b"bytes");
    let given = cache.find(digest).unwrap().whole().unwrap();
    assert!(!cache.evict_one(digest).unwrap());
    assert_eq!(cache.evict(0).unwrap(), []);
    drop(given);
    assert_eq!(cache.evict(0).unwrap(), [digest]);
}

#[test]
fn placing_replaces_in_one_step_and_leaves_nothing_beside_it() {
    let directory = tempfile::tempdir().unwrap();
    let (cache, _) = cache(&directory.path().join("cache"), 100);
    let digest = kept(&cache, b"bytes");
    let work = directory.path().join("work");
    fs::create_dir(&work).unwrap();
    fs::write(work.join("app"), b"earlier").unwrap();
    for executable in [false, false, true, false] {
        place(&cache.path(digest), &work.join("app"), executable).unwrap();
        assert_eq!(fs::read(work.join("app")).unwrap(), b"bytes");
    }
    fs::create_dir(work.join("directory")).unwrap();
    place(&cache.path(digest), &work.join("directory"), false).unwrap_err();
    place(&cache.path(digest), &work.join("none/app"), false).unwrap_err();
    let mut names: Vec<_> =
        fs::read_dir(&work).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["app", "directory"]);
}

/// A directory on another file system than the one that tests have caches on.
fn elsewhere(cache: &Path) -> tempfile::TempDir {
    let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
    let device = |path: &Path| fs::metadata(path).unwrap().dev();
    assert_ne!(device(elsewhere.path()), device(cache), "this test needs two file systems");
    elsewhere
}

fn names(directory: &Path) -> Vec<std::ffi::OsString> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect()
}

#[test]
fn on_another_file_system_a_whole_copy_comes_in_place_of_what_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let (cache, _) = cache(directory.path(), 100);
    let digest = kept(&cache, b"bytes");
    let shared = elsewhere(directory.path());
    let target = shared.path().join("app");
    fs::write(&target, b"earlier").unwrap();
    for (executable, mode) in [(false, 0o644), (true, 0o755), (false, 0o644)] {
        place(&cache.path(digest), &target, executable).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"bytes");
        assert_eq!(fs::metadata(&target).unwrap().mode() & 0o777, mode);
    }
    assert_eq!(names(shared.path()), ["app"]);
}

/// A leader that was frozen and its successor on another host have the same files placed.
#[test]
fn fetchers_that_place_at_once_leave_a_whole_file_of_one_of_them() {
    const BYTES: usize = 512 * 1024;
    let directory = tempfile::tempdir().unwrap();
    let (cache, _) = cache(directory.path(), 10 * 1024 * 1024);
    let shared = elsewhere(directory.path());
    let target = shared.path().join("app");
    let place_often = |byte: u8| {
        let source = cache.path(kept(&cache, &vec![byte; BYTES]));
        for _ in 0..100 {
            place(&source, &target, false).unwrap();
            let placed = fs::read(&target).unwrap();
            assert_eq!(placed.len(), BYTES, "a part of a file has the name");
            assert!(placed.iter().all(|other| *other == placed[0]), "two files are mixed");
        }
    };
    std::thread::scope(|scope| {
        for byte in [1, 2] {
            scope.spawn(move || place_often(byte));
        }
    });
    assert_eq!(names(shared.path()), ["app"]);
}

#[test]
fn a_local_file_is_pointed_to_and_copied_only_to_become_executable() {
    let directory = tempfile::tempdir().unwrap();
    let (baked, target) = (directory.path().join("baked"), directory.path().join("app"));
    fs::write(&baked, b"#!/bin/sh").unwrap();
    fs::set_permissions(&baked, fs::Permissions::from_mode(0o644)).unwrap();
    point_to(&baked, &target, false).unwrap();
    assert_eq!(fs::read_link(&target).unwrap(), baked);
    point_to(&baked, &target, true).unwrap();
    assert_eq!(fs::symlink_metadata(&target).unwrap().mode() & 0o777, 0o755);
    assert_eq!(fs::metadata(&baked).unwrap().mode() & 0o777, 0o644);
}

/// A disk that rots and a machine that went down change bytes behind their size and times.
#[test]
fn a_blob_whose_bytes_changed_behind_its_times_is_not_given_out() {
    let directory = tempfile::tempdir().unwrap();
    let (cache, _) = cache(directory.path(), 100);
    let (whole, changed) = (kept(&cache, b"whole"), kept(&cache, b"bytes"));
    cache.find(changed).unwrap().whole().unwrap();
    let blob = cache.path(changed);
    let fetched = fs::metadata(&blob).unwrap().modified().unwrap();
    fs::set_permissions(&blob, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&blob, b"bytez").unwrap();
    fs::File::options().write(true).open(&blob).unwrap().set_modified(fetched).unwrap();
    assert!(matches!(cache.find(changed).unwrap(), Found::Damaged(named) if named == blob));
    assert!(matches!(cache.find(changed).unwrap(), Found::Nothing), "it is dropped");
    assert!(cache.find(whole).unwrap().whole().is_some());
    assert_eq!(kept(&cache, b"bytes"), changed, "and can be fetched again");
    assert!(cache.find(changed).unwrap().whole().is_some());
}

#[test]
fn uses_close_together_are_noted_once() {
    let directory = tempfile::tempdir().unwrap();
    let (cache, clock) = cache(directory.path(), 100);
    let digest = kept(&cache, b"bytes");
    let noted = || fs::metadata(cache.facts_path(digest)).unwrap().ino();
    let first = noted();
    cache.find(digest).unwrap().whole().unwrap();
    assert_eq!(noted(), first, "written for a cached artifact that was given out");
    clock.advance(USE_NOTED_EVERY);
    assert_eq!(cache.find(digest).unwrap().whole().unwrap().facts.used_at, cache.now());
    assert_ne!(noted(), first);
}
