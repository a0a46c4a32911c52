#![allow(clippy::unwrap_used)]

use std::path::Path;

use bytes::Bytes;
use chassis::clock::{Clock as _, SharedClock, SystemClock, timeout};
use e2e::s3::{BUCKET, S3};

use super::*;
use crate::blobs::laws::{Bed, laws_hold, name_of, put};
use crate::blobs::location::{BlobsArgs, Target};
use crate::blobs::shared;
use crate::blobs::verified::Verified;
use crate::store::memory::MemoryMetadata;

/// More than one page of a listing has.
const PAGES: u64 = 1_050;

/// A real server, with a bucket of its own.
struct OnS3(S3);

impl OnS3 {
    fn new() -> Self {
        chassis::install_crypto_provider();
        Self(S3::start())
    }

    /// The settings that a store is started with.
    fn settings(&self) -> BlobsArgs {
        BlobsArgs {
            location: Some(format!("s3://{BUCKET}/of/one").parse().unwrap()),
            endpoint: Some(self.0.endpoint().parse().unwrap()),
            access_key_id: Some(e2e::s3::ACCESS_KEY_ID.to_owned()),
            secret_access_key: Some(e2e::s3::SECRET_ACCESS_KEY.parse().unwrap()),
            ..BlobsArgs::default()
        }
    }

    fn blobs(&self) -> S3Blobs {
        let Some(Target::Bucket(bucket)) = self.settings().target().unwrap() else {
            panic!("the settings name a bucket")
        };
        S3Blobs::open(&bucket).unwrap()
    }
}

#[async_trait]
impl Bed for OnS3 {
    async fn open(&self) -> Arc<dyn Blobs> {
        Arc::new(self.blobs())
    }

    fn is_shared(&self) -> bool {
        true
    }
}

laws_hold!(OnS3::new());

/// What a store that starts with these settings is told.
async fn refused(settings: &BlobsArgs) -> String {
    let state = tempfile::tempdir().unwrap();
    let clock: SharedClock = Arc::new(SystemClock);
    match shared::open(settings, state.path(), &MemoryMetadata::default(), &clock).await {
        Ok(_) => panic!("{settings:?} were taken"),
        Err(refused) => format!("{refused:#}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_says_at_its_start_why_a_bucket_cannot_be_used() {
    let mut bed = OnS3::new();
    let right = bed.settings();
    let state = tempfile::tempdir().unwrap();
    let clock: SharedClock = Arc::new(SystemClock);
    let record = MemoryMetadata::default();
    let blobs = shared::open(&right, state.path(), &record, &clock).await.unwrap();
    assert!(blobs.list().await.unwrap().is_empty(), "the look left nothing");

    let other_key = Some("hidden".parse().unwrap());
    let said = refused(&BlobsArgs { secret_access_key: other_key, ..right.clone() }).await;
    assert!(said.contains("the credentials have to be right"), "{said}");
    assert!(!said.contains("hidden"), "a key is never shown: {said}");
    let unknown = BlobsArgs { access_key_id: Some("unknown".to_owned()), ..right.clone() };
    let said = refused(&unknown).await;
    assert!(said.contains("the credentials have to be right"), "{said}");
    let gone = Some("s3://gone/of/one".parse().unwrap());
    let said = refused(&BlobsArgs { location: gone, ..right.clone() }).await;
    assert!(said.contains("s3://gone/of/one") && said.contains("is there such a bucket"), "{said}");

    bed.0.kill();
    let said = refused(&right).await;
    assert!(said.contains("cannot use s3://") && said.contains("refused"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_records_that_take_a_bucket_the_first_has_it() {
    let bed = OnS3::new();
    let (one, two) = (bed.blobs(), bed.blobs());
    assert_eq!(one.owner().await.unwrap(), None);
    one.set_owner("one").await.unwrap();
    two.set_owner("two").await.unwrap();
    assert_eq!(two.owner().await.unwrap().as_deref(), Some("one"));
    assert!(one.list().await.unwrap().is_empty(), "an owner is no payload");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_given_up_leaves_no_parts_with_the_service() {
    let bed = OnS3::new();
    let blobs = bed.blobs();
    let bytes = Bytes::from(vec![7; 3 * WRITE_BYTES]);
    let name = name_of(&bytes);
    let begin = async || {
        let mut writer = blobs.writer(name).await.unwrap();
        writer.write(bytes.clone()).await.unwrap();
        assert_eq!(bed.0.unfinished_uploads(), 1, "parts are with the service");
        writer
    };
    begin().await.abort().await;
    assert_eq!(bed.0.unfinished_uploads(), 0);
    drop(begin().await);
    no_parts_are_left(&bed).await;
    // The caller leaves in the middle of a call, as one does whose own caller has gone.
    let mut writer = begin().await;
    bed.0.hold(true);
    let written = timeout(&SystemClock, Duration::from_millis(200), writer.write(bytes.clone()));
    assert!(written.await.is_err(), "the service does not answer");
    drop(writer);
    bed.0.hold(false);
    no_parts_are_left(&bed).await;
    assert_eq!(blobs.stat(name).await.unwrap(), None);
}

/// Parts that are given up beside the test go within the bounds of a call.
async fn no_parts_are_left(bed: &OnS3) {
    let end = SystemClock.boot() + 2 * PART_TIMEOUT;
    while bed.0.unfinished_uploads() > 0 {
        assert!(SystemClock.boot() < end, "parts stay with the service");
        SystemClock.sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_started_again_costs_no_call() {
    let mut bed = OnS3::new();
    let blobs = bed.blobs();
    let kept = put(&blobs, &Bytes::from_static(b"kept")).await;
    bed.0.kill();
    let restarted = tokio::task::spawn_blocking(move || {
        bed.0.restart();
        bed
    });
    let new = put(&blobs, &Bytes::from_static(b"new")).await;
    let _bed = restarted.await.unwrap();
    assert_eq!(blobs.stat(new).await.unwrap(), Some(3));
    assert_eq!(blobs.stat(kept).await.unwrap(), Some(4), "what was put is durable");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_of_several_pages_has_every_object_once() {
    let bed = OnS3::new();
    let blobs = &bed.blobs();
    let puts = futures::stream::iter(0..PAGES)
        .map(|number| async move { put(blobs, &Bytes::from(number.to_string())).await });
    let mut were_put: Vec<BlobName> = puts.buffer_unordered(16).collect().await;
    let found: Vec<BlobInfo> = blobs.entries().try_collect().await.unwrap();
    assert!(found.iter().all(|blob| blob.modified.is_some()), "a page tells the times");
    let mut listed: Vec<BlobName> = found.into_iter().map(|blob| blob.name).collect();
    were_put.sort();
    listed.sort();
    assert!(were_put == listed, "{} of {} are listed", listed.len(), were_put.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_object_never_ends_as_if_it_were_whole() {
    let bed = OnS3::new();
    let blobs = bed.blobs();
    let verified = Verified::new(Arc::new(blobs.clone()));
    for size in [100, READ_BYTES + 1] {
        let bytes = Bytes::from(vec![7; size]);
        let name = put(&blobs, &bytes).await;
        let object = bed.0.objects().join("of/one").join(name.place());
        let mut changed = bytes.to_vec();
        changed[size / 2] ^= 1;
        damage(&object, &changed);
        let read = verified.read_whole(name).await;
        assert!(
            matches!(&read, Err(BlobError::Damaged { file, .. }) if file.starts_with("s3://")),
            "{size} bytes: {:?}",
            read.map(|bytes| bytes.len())
        );
        damage(&object, &bytes[..size - 1]);
        let read = verified.read_whole(name).await;
        assert!(matches!(read, Err(BlobError::Damaged { .. })), "{size} bytes: cut");
        assert_eq!(verified.stat(name).await.unwrap(), None);
    }
}

/// Changes an object below the service.
fn damage(object: &Path, bytes: &[u8]) {
    assert!(object.is_file(), "no object {}", object.display());
    std::fs::write(object, bytes).unwrap();
}

#[test]
fn a_service_that_takes_no_more_is_full_and_not_away() {
    let said = |code: &str| {
        let error = Error::new(ErrorKind::Unexpected, format!("S3Error {{ code: {code:?} }}"));
        failed("s3://payloads", &error)
    };
    for code in ["QuotaExceeded", "XMinioStorageFull", "InsufficientStorage"] {
        assert!(matches!(said(code), BlobError::Full(why) if why.contains("s3://payloads")));
    }
    assert!(matches!(said("SlowDown"), BlobError::Failed(_)));
}

#[test]
fn a_clock_that_is_wrong_is_not_taken_for_a_wrong_key() {
    let said = |code: &str| {
        let why = format!("S3Error {{ code: {code:?} }}");
        failed("s3://payloads", &Error::new(ErrorKind::PermissionDenied, why)).to_string()
    };
    let (clock, key) = (said("RequestTimeTooSkewed"), said("SignatureDoesNotMatch"));
    assert!(clock.contains("clocks") && !clock.contains("credentials"), "{clock}");
    assert!(key.contains("credentials have to be right"), "{key}");
}
