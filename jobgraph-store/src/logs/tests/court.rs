//! One record and the stores of several hosts over it, and backends that come between a store and
//! the record.

use super::*;

/// How long what has to come soon may take.
const SOON: Duration = Duration::from_secs(20);

pub(super) async fn soon<F: Future>(what: F) -> F::Output {
    timeout(&SystemClock, SOON, what).await.expect("it comes soon")
}

/// One record with one application. Each store has nothing but the record in common with another.
pub(super) struct Court {
    pub(super) metadata: Arc<MemoryMetadata>,
    pub(super) application: ApplicationRef,
    blobs: MemoryBlobs,
}

impl Court {
    pub(super) async fn new() -> Self {
        let (metadata, blobs) = (Arc::new(MemoryMetadata::default()), MemoryBlobs::default());
        let clock = Arc::new(SystemClock);
        let service = Service::new(metadata.clone(), Arc::new(blobs.clone()), clock);
        let application = submitted(&service, "logs").await;
        Self { metadata, application, blobs }
    }

    /// Another store, with nothing in memory.
    pub(super) fn store(&self) -> Service {
        self.store_over(self.metadata.clone())
    }

    /// Another store, which reaches the record through this backend.
    pub(super) fn store_over(&self, metadata: Arc<dyn Metadata>) -> Service {
        Service::new(metadata, Arc::new(self.blobs.clone()), Arc::new(SystemClock))
    }
}

pub(super) fn worker() -> jobgraph::LogSource {
    jobgraph::LogSource { role: "worker".into(), number: 1, ..Default::default() }
}

pub(super) fn text(line: &api::LogLine) -> String {
    String::from_utf8(line.text.to_vec()).unwrap()
}

/// The lines that a reader with this cursor is shown, and the reader's cursor then.
pub(super) async fn shown(store: &Service, after: &str) -> (Vec<String>, String) {
    let lines = read(store, after).await;
    let cursor = lines.last().map_or(after.to_owned(), |line| line.cursor.clone());
    (lines.iter().map(text).collect(), cursor)
}

fn writes_output(transaction: &Transaction) -> bool {
    let mut keys = transaction.operations.iter().map(|operation| operation.key().to_string());
    keys.any(|key| key.ends_with("/log/head"))
}

/// A backend that holds back commits of output while it is told to.
pub(super) struct Holding {
    inner: Arc<MemoryMetadata>,
    holds: watch::Sender<bool>,
    held: watch::Sender<usize>,
}

impl Holding {
    pub(super) fn over(inner: &Arc<MemoryMetadata>) -> Arc<Self> {
        let (holds, held) = (watch::Sender::new(false), watch::Sender::new(0));
        Arc::new(Self { inner: inner.clone(), holds, held })
    }

    /// From now on commits of output are held back, or go on.
    pub(super) fn hold(&self, holds: bool) {
        self.holds.send_replace(holds);
    }

    /// Waits until so many commits have been held back in all.
    pub(super) async fn has_held(&self, count: usize) {
        let _ = self.held.subscribe().wait_for(|held| *held >= count).await;
    }
}

#[async_trait]
impl Over for Holding {
    fn below(&self) -> &dyn Metadata {
        &*self.inner
    }

    async fn commit(&self, transaction: Transaction) -> Result<Commit, StoreError> {
        if writes_output(&transaction) && *self.holds.borrow() {
            self.held.send_modify(|held| *held += 1);
            let _ = self.holds.subscribe().wait_for(|holds| !holds).await;
        }
        self.inner.commit(transaction).await
    }
}

/// A backend whose connection breaks, when it is told to, after the next commit of output and
/// before its answer.
pub(super) struct Breaking {
    inner: Arc<MemoryMetadata>,
    pub(super) breaks: AtomicBool,
}

impl Breaking {
    pub(super) fn over(inner: &Arc<MemoryMetadata>) -> Arc<Self> {
        Arc::new(Self { inner: inner.clone(), breaks: AtomicBool::new(false) })
    }
}

#[async_trait]
impl Over for Breaking {
    fn below(&self) -> &dyn Metadata {
        &*self.inner
    }

    async fn commit(&self, transaction: Transaction) -> Result<Commit, StoreError> {
        let breaks = writes_output(&transaction) && self.breaks.swap(false, Ordering::Relaxed);
        let committed = self.inner.commit(transaction).await?;
        if breaks { Err(StoreError::Unknown("the answer is lost".into())) } else { Ok(committed) }
    }
}
