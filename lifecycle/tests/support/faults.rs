//! The backend of a record, with the faults that a test switches on.

use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use jobgraph_store::keys::process;
use jobgraph_store::store::memory::MemoryMetadata;
use jobgraph_store::store::{
    Change, Commit, Metadata, Operation, Read, StoreError, Transaction, View,
};
use tokio::sync::watch;

/// The part that the keys of all sources of output have.
const OF_A_SOURCE: &str = "/log/source/";

/// A backend in memory that fails as it is told to.
#[derive(Default)]
pub(crate) struct Faulty {
    /// What is kept, behind the faults.
    pub(crate) kept: MemoryMetadata,
    faults: Mutex<Faults>,
}

#[derive(Default)]
struct Faults {
    away: bool,
    read_only: bool,
    refuses_output: Option<StoreError>,
    outputs_refused: usize,
}

impl Faulty {
    /// Sets whether the backend is out of reach.
    pub(crate) fn set_away(&self, away: bool) {
        self.faults().away = away;
    }

    /// Sets whether processes cannot be written, as on a disk that is read-only.
    pub(crate) fn set_read_only(&self, read_only: bool) {
        self.faults().read_only = read_only;
    }

    /// Sets whether the backend takes no output.
    pub(crate) fn set_deaf(&self, deaf: bool) {
        let why = || StoreError::Unavailable("it takes no output".to_owned());
        self.refuse_output(deaf.then(why));
    }

    /// Sets the error that answers a source of output which the store does not know yet.
    pub(crate) fn refuse_output(&self, why: Option<StoreError>) {
        self.faults().refuses_output = why;
    }

    /// How often output was refused.
    pub(crate) fn outputs_refused(&self) -> usize {
        self.faults().outputs_refused
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap()
    }
}

impl Faults {
    fn admit(&self) -> Result<(), StoreError> {
        if self.away { Err(StoreError::Unavailable("it was sent away".to_owned())) } else { Ok(()) }
    }

    fn admit_reads(&mut self, reads: &[Read]) -> Result<(), StoreError> {
        self.admit()?;
        let is_of_a_source = |read: &Read| match read {
            Read::Key(key) => key.to_string().contains(OF_A_SOURCE),
            Read::Range { .. } | Read::Last { .. } => false,
        };
        match &self.refuses_output {
            Some(why) if reads.iter().any(is_of_a_source) => {
                self.outputs_refused += 1;
                Err(why.clone())
            }
            _ => Ok(()),
        }
    }

    fn admit_commit(&self, transaction: &Transaction) -> Result<(), StoreError> {
        self.admit()?;
        let keeps_a_process = |operation: &Operation| match operation {
            Operation::Put(key, _) => key.strip(&process::key("")).is_some(),
            Operation::Delete(_) => false,
        };
        if self.read_only && transaction.operations.iter().any(keeps_a_process) {
            return Err(StoreError::Full("it keeps no process".to_owned()));
        }
        Ok(())
    }
}

#[async_trait]
impl Metadata for Faulty {
    async fn read(&self, reads: Vec<Read>, at: Option<u64>) -> Result<View, StoreError> {
        self.faults().admit_reads(&reads)?;
        self.kept.read(reads, at).await
    }

    async fn commit(&self, transaction: Transaction) -> Result<Commit, StoreError> {
        self.faults().admit_commit(&transaction)?;
        self.kept.commit(transaction).await
    }

    async fn changes(&self, after: u64, limit: usize) -> Result<Vec<Change>, StoreError> {
        self.faults().admit()?;
        self.kept.changes(after, limit).await
    }

    async fn compact(&self, before: u64) -> Result<(), StoreError> {
        self.kept.compact(before).await
    }

    fn revisions(&self) -> watch::Receiver<u64> {
        self.kept.revisions()
    }
}
