//! The record in one redb file. One process opens the file, which the file's own lock sees to, and
//! one thread writes it. Transactions that wait while another is made durable are committed
//! together, each with a revision of its own.

mod batch;
mod compact;
mod file;
mod tables;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot, watch};

use super::{Change, Commit, KEPT_REVISIONS, Metadata, Read, StoreError, Transaction, View};
pub use file::Opener;
use file::RecordFile;

/// How many transactions wait for the writer; further callers wait for a place in this queue.
const QUEUE: usize = 256;

/// How many revisions of the past are given up in one transaction.
const FORGOTTEN_AT_ONCE: u64 = 500;

/// How many transactions are made durable together at most.
const BATCH: usize = 64;

/// A backend in one file.
#[derive(Debug)]
pub struct EmbeddedMetadata {
    file: Arc<RwLock<RecordFile>>,
    revision: watch::Sender<u64>,
    queue: Option<mpsc::Sender<Waiting>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Waiting {
    transaction: Transaction,
    answer: oneshot::Sender<Result<Commit, StoreError>>,
}

impl EmbeddedMetadata {
    /// Opens the file, or makes it. The file is refused while another process has it open.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(Opener::file(path), KEPT_REVISIONS)
    }

    /// Opens what the opener gives, and keeps so many revisions. Tests of a failing disk come this
    /// way.
    pub fn open_with(opener: Opener, kept: u64) -> Result<Self, StoreError> {
        let file = RecordFile::open(opener, kept)?;
        let revision = watch::Sender::new(file.revision());
        let file = Arc::new(RwLock::new(file));
        let (queue, waiting) = mpsc::channel(QUEUE);
        let writer = Writer { file: file.clone(), waiting, revision: revision.clone() };
        let writer = std::thread::Builder::new()
            .name("record-writer".into())
            .spawn(move || writer.run())
            .map_err(|error| {
                StoreError::Unavailable(format!("cannot start the writer: {error}"))
            })?;
        Ok(Self { file, revision, queue: Some(queue), writer: Mutex::new(Some(writer)) })
    }

    /// Waits until nothing more can be written, because the writer has ended. The writer ends
    /// before the backend is dropped only by a defect.
    pub async fn ended(&self) {
        if let Some(queue) = &self.queue {
            queue.closed().await;
        }
    }

    fn reading<T>(
        &self,
        read: impl Fn(&RecordFile) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        {
            let file = self.file.read().unwrap_or_else(PoisonError::into_inner);
            match read(&file) {
                Err(StoreError::Unavailable(_)) => {}
                answer => return answer,
            }
        }
        // A file that failed once answers nothing until it is opened again.
        let mut file = self.file.write().unwrap_or_else(PoisonError::into_inner);
        file.reopen()?;
        read(&file)
    }
}

impl Drop for EmbeddedMetadata {
    /// The file is closed when this returns, so that the next process that opens the file finds its
    /// lock free.
    fn drop(&mut self) {
        self.queue = None;
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer
            && writer.join().is_err()
        {
            tracing::error!("the record's writer panicked");
        }
    }
}

#[async_trait]
impl Metadata for EmbeddedMetadata {
    async fn read(&self, reads: Vec<Read>, at: Option<u64>) -> Result<View, StoreError> {
        self.reading(|file| file.read(&reads, at))
    }

    async fn commit(&self, transaction: Transaction) -> Result<Commit, StoreError> {
        transaction.check()?;
        let gone = || StoreError::Unavailable("the writer has ended".into());
        let (answer, answered) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or_else(gone)?;
        queue.send(Waiting { transaction, answer }).await.map_err(|_| gone())?;
        answered
            .await
            .map_err(|_| StoreError::Unknown("the writer ended before it answered".into()))?
    }

    async fn changes(&self, after: u64, limit: usize) -> Result<Vec<Change>, StoreError> {
        self.reading(|file| file.changes(after, limit))
    }

    async fn compact(&self, before: u64) -> Result<(), StoreError> {
        let file = self.file.clone();
        let compacted = tokio::task::spawn_blocking(move || {
            let read = || file.read().unwrap_or_else(PoisonError::into_inner);
            // The past is given up step by step, so that commits have their turn in between.
            while read().forget_past(before, FORGOTTEN_AT_ONCE)? {}
            if read().is_mostly_free()? {
                file.write().unwrap_or_else(PoisonError::into_inner).shrink()?;
            }
            Ok(())
        });
        compacted.await.map_err(|error| StoreError::Unavailable(error.to_string()))?
    }

    fn revisions(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }
}

struct Writer {
    file: Arc<RwLock<RecordFile>>,
    waiting: mpsc::Receiver<Waiting>,
    revision: watch::Sender<u64>,
}

impl Writer {
    fn run(mut self) {
        while let Some(first) = self.waiting.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < BATCH
                && let Ok(next) = self.waiting.try_recv()
            {
                batch.push(next);
            }
            let (transactions, answers): (Vec<_>, Vec<_>) =
                batch.into_iter().map(|w| (w.transaction, w.answer)).unzip();
            let outcomes = self.commit(&transactions);
            for (answer, outcome) in answers.into_iter().zip(outcomes) {
                // The caller may have stopped waiting; the commit stands all the same.
                let _ = answer.send(outcome);
            }
        }
    }

    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Commit, StoreError>> {
        let committed =
            self.file.read().unwrap_or_else(PoisonError::into_inner).commit(transactions);
        let failed = match committed {
            Ok(outcomes) => {
                self.show();
                return outcomes.into_iter().map(Ok).collect();
            }
            Err(failed) => failed,
        };
        tracing::warn!(error = %failed.error, "a commit failed; opening the record again");
        let mut file = self.file.write().unwrap_or_else(PoisonError::into_inner);
        let error = match file.reopen() {
            // The file itself tells what became of the batch.
            Ok(()) if failed.outcomes.is_some() && file.revision() >= failed.reached => {
                drop(file);
                self.show();
                return failed.outcomes.unwrap_or_default().into_iter().map(Ok).collect();
            }
            Ok(()) => failed.error,
            Err(error) if failed.outcomes.is_some() => StoreError::Unknown(error.to_string()),
            Err(_) => failed.error,
        };
        transactions.iter().map(|_| Err(error.clone())).collect()
    }

    fn show(&self) {
        let revision = self.file.read().unwrap_or_else(PoisonError::into_inner).revision();
        self.revision.send_if_modified(|shown| std::mem::replace(shown, revision) != revision);
    }
}

#[cfg(test)]
mod tests;
