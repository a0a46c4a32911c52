//! The laws of [`Blobs`] as tests for any backend. A backend has a bed, which opens it as often as
//! stores of one record would.
#![allow(clippy::unwrap_used)]

mod beds;
mod faults;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chassis::clock::{Clock as _, SystemClock};
use futures::TryStreamExt as _;
use proto::Digest;

use super::{BlobError, BlobInfo, BlobName, Blobs};

/// The bounds around which a backend changes how it reads or writes, in bytes, and beyond them.
const SIZES: [usize; 6] = [0, 1, 1024 * 1024, 4 * 1024 * 1024 + 1, 8 * 1024 * 1024, 20_000_000];

/// How far the clock of a backend may be from the clock of this machine.
const SKEW: Duration = Duration::from_secs(60);

/// A backend that can be opened by one store, or by several.
#[async_trait]
pub(crate) trait Bed: Send + Sync {
    /// One more store opens the backend.
    async fn open(&self) -> Arc<dyn Blobs>;

    /// Whether several stores may have the backend open at the same time.
    fn is_shared(&self) -> bool;
}

/// Makes one test of each law, over the beds that `$bed` makes.
macro_rules! laws_hold {
    ($bed:expr) => {
        $crate::blobs::laws::laws_hold! { $bed =>
            what_was_put_is_read_from_anywhere_on
            a_blob_is_there_whole_or_not_at_all
            a_writer_that_is_given_up_leaves_nothing
            a_blob_that_is_put_again_is_replaced
            a_blob_that_is_removed_is_gone_and_may_be_removed_again
            blobs_whose_names_differ_in_their_number_are_different
            a_listing_has_every_blob_once_with_its_time
            what_one_writes_is_not_disturbed_by_another_that_opens
            writers_of_one_blob_do_not_mix
        }
    };
    ($bed:expr => $($law:ident)*) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $law() {
            $crate::blobs::laws::$law(&$bed).await;
        })*
    };
}
pub(crate) use laws_hold;

/// Bytes that differ from part to part, and for each seed.
fn bytes(length: usize, seed: u64) -> Bytes {
    let mut all = Vec::with_capacity(length + 1024);
    for part in 0_u64.. {
        if all.len() >= length {
            break;
        }
        let drawn = Digest::of(&[seed.to_be_bytes(), part.to_be_bytes()].concat());
        all.extend_from_slice(&drawn.as_bytes().repeat(32));
    }
    all.truncate(length);
    all.into()
}

/// The name of these bytes.
pub(crate) fn name_of(bytes: &[u8]) -> BlobName {
    Digest::of(bytes).into()
}

pub(crate) async fn put(blobs: &dyn Blobs, bytes: &Bytes) -> BlobName {
    let name = name_of(bytes);
    put_as(blobs, name, bytes).await;
    name
}

async fn put_as(blobs: &dyn Blobs, name: BlobName, bytes: &Bytes) {
    let mut writer = blobs.writer(name).await.unwrap();
    // Parts as callers send them.
    for part in bytes.chunks(1024 * 1024 - 7) {
        writer.write(bytes.slice_ref(part)).await.unwrap();
    }
    writer.finish().await.unwrap();
}

async fn read(blobs: &dyn Blobs, name: BlobName, offset: u64) -> Result<Vec<u8>, BlobError> {
    let gather = |mut all: Vec<u8>, part: Bytes| async move {
        all.extend_from_slice(&part);
        Ok(all)
    };
    blobs.read(name, offset).await?.try_fold(Vec::new(), gather).await
}

async fn listed(blobs: &dyn Blobs, name: BlobName) -> Vec<BlobInfo> {
    let mut found = blobs.list().await.unwrap();
    found.retain(|blob| blob.name == name);
    found
}

async fn is_absent(blobs: &dyn Blobs, name: BlobName) {
    assert_eq!(blobs.stat(name).await.unwrap(), None);
    assert_eq!(read(blobs, name, 0).await, Err(BlobError::Missing(name.digest)));
    assert!(listed(blobs, name).await.is_empty());
}

/// Another store's way to the same blobs, or the same store's where there is one only.
async fn elsewhere(bed: &dyn Bed, here: &Arc<dyn Blobs>) -> Arc<dyn Blobs> {
    if bed.is_shared() { bed.open().await } else { here.clone() }
}

pub(crate) async fn what_was_put_is_read_from_anywhere_on(bed: &dyn Bed) {
    let here = bed.open().await;
    let there = elsewhere(bed, &here).await;
    for (seed, size) in SIZES.into_iter().enumerate() {
        let all = bytes(size, seed as u64);
        let name = put(&*here, &all).await;
        assert_eq!(there.stat(name).await.unwrap(), Some(size as u64));
        for offset in [0, 1, size / 2, size.saturating_sub(1), size, size + 7] {
            let got = read(&*there, name, offset as u64).await.unwrap();
            assert!(got == all[offset.min(size)..], "{size} bytes from {offset} on");
        }
    }
}

pub(crate) async fn a_blob_is_there_whole_or_not_at_all(bed: &dyn Bed) {
    let here = bed.open().await;
    let there = elsewhere(bed, &here).await;
    for (seed, size) in SIZES.into_iter().enumerate().skip(1) {
        let all = bytes(size, seed as u64);
        let name = name_of(&all);
        let mut writer = here.writer(name).await.unwrap();
        is_absent(&*there, name).await;
        writer.write(all.slice(..size / 2)).await.unwrap();
        is_absent(&*there, name).await;
        writer.write(all.slice(size / 2..)).await.unwrap();
        is_absent(&*there, name).await;
        writer.finish().await.unwrap();
        assert!(read(&*there, name, 0).await.unwrap() == all, "{size} bytes");
    }
}

pub(crate) async fn a_writer_that_is_given_up_leaves_nothing(bed: &dyn Bed) {
    let here = bed.open().await;
    for (seed, size) in SIZES.into_iter().enumerate() {
        let all = bytes(size, seed as u64);
        let name = name_of(&all);
        let mut writer = here.writer(name).await.unwrap();
        writer.write(all.clone()).await.unwrap();
        writer.abort().await;
        is_absent(&*here, name).await;
        let mut writer = here.writer(name).await.unwrap();
        writer.write(all.clone()).await.unwrap();
        drop(writer);
        is_absent(&*here, name).await;
        put(&*here, &all).await;
        assert!(read(&*here, name, 0).await.unwrap() == all, "{size} bytes");
    }
}

pub(crate) async fn a_blob_that_is_put_again_is_replaced(bed: &dyn Bed) {
    let here = bed.open().await;
    for (seed, size) in SIZES.into_iter().enumerate().skip(1) {
        let all = bytes(size, seed as u64);
        let name = name_of(&all);
        // No backend looks at what it is given, so damage can be put like anything else.
        put_as(&*here, name, &bytes(size / 2, 99)).await;
        put(&*here, &all).await;
        assert!(read(&*here, name, 0).await.unwrap() == all, "{size} bytes");
        assert_eq!(listed(&*here, name).await.len(), 1);
    }
}

pub(crate) async fn a_blob_that_is_removed_is_gone_and_may_be_removed_again(bed: &dyn Bed) {
    let here = bed.open().await;
    let there = elsewhere(bed, &here).await;
    let kept = put(&*here, &bytes(100, 1)).await;
    let name = put(&*here, &bytes(100, 2)).await;
    there.remove(name).await.unwrap();
    is_absent(&*here, name).await;
    here.remove(name).await.unwrap();
    here.remove(name_of(b"never put")).await.unwrap();
    assert_eq!(there.stat(kept).await.unwrap(), Some(100));
    put(&*here, &bytes(100, 2)).await;
    assert_eq!(there.stat(name).await.unwrap(), Some(100));
}

pub(crate) async fn blobs_whose_names_differ_in_their_number_are_different(bed: &dyn Bed) {
    let here = bed.open().await;
    let there = elsewhere(bed, &here).await;
    let (early, late) = (bytes(100, 1), bytes(200, 2));
    let first = name_of(&early);
    let second = BlobName { number: 7, ..first };
    // No backend looks at what it is given, so the two can be told from each other.
    put_as(&*here, first, &early).await;
    put_as(&*here, second, &late).await;
    assert!(read(&*there, first, 0).await.unwrap() == early);
    assert!(read(&*there, second, 0).await.unwrap() == late);
    assert_eq!(listed(&*there, second).await.len(), 1);
    there.remove(first).await.unwrap();
    is_absent(&*here, first).await;
    assert!(read(&*here, second, 0).await.unwrap() == late, "the other one went, too");
}

pub(crate) async fn a_listing_has_every_blob_once_with_its_time(bed: &dyn Bed) {
    let here = bed.open().await;
    let there = elsewhere(bed, &here).await;
    assert!(there.list().await.unwrap().is_empty());
    let before = SystemClock.wall() - SKEW;
    let mut put_here = Vec::new();
    for seed in 0..40 {
        put_here.push(put(&*here, &bytes(10, seed)).await);
    }
    // What is unfinished is no blob.
    let mut writer = here.writer(name_of(b"unfinished")).await.unwrap();
    writer.write(Bytes::from_static(b"unfin")).await.unwrap();
    let found: Vec<BlobInfo> = there.entries().try_collect().await.unwrap();
    let after = SystemClock.wall() + SKEW;
    for blob in &found {
        if let Some(modified) = blob.modified {
            assert!(before <= modified && modified <= after, "{modified:?}");
        }
    }
    let mut names: Vec<BlobName> = found.into_iter().map(|blob| blob.name).collect();
    names.sort();
    put_here.sort();
    assert_eq!(names, put_here);
    writer.abort().await;
}

pub(crate) async fn what_one_writes_is_not_disturbed_by_another_that_opens(bed: &dyn Bed) {
    if !bed.is_shared() {
        return;
    }
    let first = bed.open().await;
    for (seed, size) in SIZES.into_iter().enumerate() {
        let all = bytes(size, seed as u64);
        let name = name_of(&all);
        let mut writer = first.writer(name).await.unwrap();
        writer.write(all.slice(..size / 2)).await.unwrap();
        let second = bed.open().await;
        writer.write(all.slice(size / 2..)).await.unwrap();
        let other = put(&*second, &bytes(10, seed as u64)).await;
        writer.finish().await.unwrap();
        assert!(read(&*second, name, 0).await.unwrap() == all, "{size} bytes");
        assert_eq!(first.stat(other).await.unwrap(), Some(10));
    }
}

pub(crate) async fn writers_of_one_blob_do_not_mix(bed: &dyn Bed) {
    let here = bed.open().await;
    let there = elsewhere(bed, &here).await;
    for (seed, size) in SIZES.into_iter().enumerate() {
        let all = bytes(size, seed as u64);
        let name = name_of(&all);
        let mut one = here.writer(name).await.unwrap();
        let mut two = there.writer(name).await.unwrap();
        one.write(all.clone()).await.unwrap();
        two.write(all.slice(..size / 2)).await.unwrap();
        one.finish().await.unwrap();
        assert!(read(&*there, name, 0).await.unwrap() == all, "{size} bytes, one is done");
        two.write(all.slice(size / 2..)).await.unwrap();
        two.finish().await.unwrap();
        assert!(read(&*here, name, 0).await.unwrap() == all, "{size} bytes, both are done");
        let mut late = here.writer(name).await.unwrap();
        late.write(all.slice(..size / 2)).await.unwrap();
        late.abort().await;
        assert!(read(&*there, name, 0).await.unwrap() == all, "{size} bytes, one gave up");
    }
}
