//! The payloads that all stores share: in memory, at the other end of a way that takes time, and
//! now and then in trouble, as a bucket is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chassis::clock::{Clock as _, SharedClock};
use jobgraph_store::blobs::memory::MemoryBlobs;
use jobgraph_store::blobs::{BlobEntries, BlobError, BlobName, BlobStream, BlobWriter, Blobs};
use proto::Digest;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// How long one way takes, in milliseconds.
const WAY_MS: std::ops::RangeInclusive<u64> = 1..=5;

/// How long a slow way takes, in milliseconds.
const SLOW_MS: std::ops::RangeInclusive<u64> = 50..=400;

/// How long a slow way takes in times of trouble, in milliseconds.
const SLOWEST_MS: std::ops::RangeInclusive<u64> = 50..=1_500;

/// How many ways of a hundred are slow, how many in times of trouble, and how many fail then.
const SLOW_PERCENT: u32 = 10;
const SLOWEST_PERCENT: u32 = 30;
const FAILS_PERCENT: u32 = 8;

/// The payloads. Clones are the same ones.
#[derive(Clone)]
pub(crate) struct SharedBlobs {
    blobs: MemoryBlobs,
    in_trouble: Arc<AtomicBool>,
    random: Arc<Mutex<StdRng>>,
}

/// The payloads, as one machine reaches them.
pub(crate) struct Reached {
    shared: SharedBlobs,
    clock: SharedClock,
}

impl SharedBlobs {
    /// No payloads, with ways that follow from the seed.
    pub(crate) fn new(seed: u64) -> Self {
        let random = Arc::new(Mutex::new(StdRng::seed_from_u64(seed)));
        Self { blobs: MemoryBlobs::default(), in_trouble: Arc::default(), random }
    }

    /// The payloads, as a machine with this clock reaches them.
    pub(crate) fn reached_by(&self, clock: SharedClock) -> Reached {
        Reached { shared: self.clone(), clock }
    }

    /// Begins or ends a time in which ways are slow, or fail.
    pub(crate) fn set_trouble(&self, is_there: bool) {
        self.in_trouble.store(is_there, Ordering::Relaxed);
    }

    /// Whether the bytes are there, under any name.
    pub(crate) async fn has(&self, digest: &str) -> bool {
        let listed = self.blobs.list().await.unwrap_or_default();
        let is_it = |digest: Digest| listed.iter().any(|blob| blob.name.digest == digest);
        digest.parse().is_ok_and(is_it)
    }

    /// How long the next way takes, and whether it leads nowhere.
    fn next_way(&self) -> (Duration, bool) {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        let (percent, slow_ms, fails_percent) = if self.in_trouble.load(Ordering::Relaxed) {
            (SLOWEST_PERCENT, SLOWEST_MS, FAILS_PERCENT)
        } else {
            (SLOW_PERCENT, SLOW_MS, 0)
        };
        let drawn = random.random_range(0..100);
        let takes = random.random_range(if drawn < percent { slow_ms } else { WAY_MS });
        (Duration::from_millis(takes), drawn >= 100 - fails_percent)
    }
}

impl Reached {
    /// One way. What is done at its end happens in between two of them, so a request that fails may
    /// have been done.
    async fn way(&self) -> Result<(), BlobError> {
        let (takes, fails) = self.shared.next_way();
        self.clock.sleep(takes).await;
        if fails { Err(BlobError::Failed("the bucket does not answer".to_owned())) } else { Ok(()) }
    }
}

#[async_trait]
impl Blobs for Reached {
    async fn writer(&self, name: BlobName) -> Result<Box<dyn BlobWriter>, BlobError> {
        let writer = self.shared.blobs.writer(name).await?;
        let reached = Self { shared: self.shared.clone(), clock: self.clock.clone() };
        Ok(Box::new(Writer { reached, writer }))
    }

    async fn stat(&self, name: BlobName) -> Result<Option<u64>, BlobError> {
        self.way().await?;
        let size = self.shared.blobs.stat(name).await;
        self.way().await?;
        size
    }

    async fn read(&self, name: BlobName, offset: u64) -> Result<BlobStream, BlobError> {
        self.way().await?;
        let read = self.shared.blobs.read(name, offset).await;
        self.way().await?;
        read
    }

    fn place(&self, name: BlobName) -> String {
        self.shared.blobs.place(name)
    }

    async fn remove(&self, name: BlobName) -> Result<(), BlobError> {
        self.way().await?;
        self.shared.blobs.remove(name).await?;
        self.way().await
    }

    fn entries(&self) -> BlobEntries {
        self.shared.blobs.entries()
    }
}

/// A blob that is being written. Its bytes are on their way when it is finished.
struct Writer {
    reached: Reached,
    writer: Box<dyn BlobWriter>,
}

#[async_trait]
impl BlobWriter for Writer {
    async fn write(&mut self, bytes: Bytes) -> Result<(), BlobError> {
        self.writer.write(bytes).await
    }

    async fn finish(self: Box<Self>) -> Result<(), BlobError> {
        self.reached.way().await?;
        self.writer.finish().await?;
        self.reached.way().await
    }

    async fn abort(self: Box<Self>) {
        self.writer.abort().await;
    }
}
