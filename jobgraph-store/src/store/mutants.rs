//! Backends that are wrong in one thing each. Every law has at least one backend that it catches,
//! so that no law is empty.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use tokio::sync::watch;

use super::laws::{ALL, Bed, KEPT, judge};
use super::memory::MemoryMetadata;
use super::{
    Change, Commit, MAX_OPERATIONS, Metadata, Operation, Read, StoreError, Transaction, View,
};

/// The one thing that is wrong with a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The backend does not look at compares.
    IgnoresCompares,
    /// The backend looks at the first compare only.
    ComparesTheFirst,
    /// The backend looks at compares some time before the commit.
    ComparesEarly,
    /// The backend leaves out the last of several operations.
    TearsCommits,
    /// The backend answers commits before they are durable, and a crash loses them.
    AnswersBeforeDurable,
    /// After a crash revisions begin anew.
    ReusesRevisions,
    /// Each answer of a read is of another instant, the latest.
    ReadsTheLatest,
    /// The backend leaves out every seventh change.
    SkipsChanges,
    /// Changes of the revision that was asked for come again.
    RepeatsChanges,
    /// Changes that are no longer kept are left out without a word.
    HidesCompaction,
    /// The backend never gives up the past.
    KeepsWhatWasGivenUp,
    /// The backend does not look at limits.
    TakesAnything,
    /// A put at a key with this in it (with `^`: that begins so) is answered as done, and is lost.
    Loses(&'static str),
}

const FAULTS: [Fault; 12] = [
    Fault::IgnoresCompares,
    Fault::ComparesTheFirst,
    Fault::ComparesEarly,
    Fault::TearsCommits,
    Fault::AnswersBeforeDurable,
    Fault::ReusesRevisions,
    Fault::ReadsTheLatest,
    Fault::SkipsChanges,
    Fault::RepeatsChanges,
    Fault::HidesCompaction,
    Fault::KeepsWhatWasGivenUp,
    Fault::TakesAnything,
];

/// A right backend behind one fault.
pub(crate) struct Mutant {
    right: MemoryMetadata,
    fault: Fault,
    commits: AtomicU64,
}

impl Mutant {
    pub(crate) fn new(fault: Fault) -> Self {
        Self { right: MemoryMetadata::keeping(KEPT), fault, commits: AtomicU64::new(0) }
    }
}

#[async_trait]
impl Metadata for Mutant {
    async fn read(&self, reads: Vec<Read>, at: Option<u64>) -> Result<View, StoreError> {
        match self.fault {
            Fault::ReadsTheLatest => self.right.read(reads, None).await,
            Fault::HidesCompaction => match self.right.read(reads.clone(), at).await {
                Err(StoreError::Compacted { oldest, .. }) => {
                    self.right.read(reads, Some(oldest)).await
                }
                read => read,
            },
            _ => self.right.read(reads, at).await,
        }
    }

    async fn commit(&self, mut transaction: Transaction) -> Result<Commit, StoreError> {
        self.commits.fetch_add(1, Ordering::SeqCst);
        match self.fault {
            Fault::IgnoresCompares => transaction.compares.clear(),
            Fault::ComparesTheFirst => transaction.compares.truncate(1),
            Fault::ComparesEarly => {
                let compares = Transaction {
                    compares: std::mem::take(&mut transaction.compares),
                    operations: Vec::new(),
                };
                if let conflict @ Commit::Conflict(_) = self.right.commit(compares).await? {
                    return Ok(conflict);
                }
                tokio::task::yield_now().await;
            }
            Fault::TearsCommits if transaction.operations.len() > 1 => {
                transaction.operations.pop();
            }
            Fault::TakesAnything
                if transaction.operations.len() >= MAX_OPERATIONS || too_large(&transaction) =>
            {
                transaction.operations.truncate(1);
                transaction.operations.iter_mut().for_each(|operation| {
                    if let Operation::Put(_, value) = operation {
                        value.truncate(10);
                    }
                });
            }
            Fault::Loses(part) => {
                transaction.operations.retain(|operation| !concerns(operation, part))
            }
            _ => {}
        }
        self.right.commit(transaction).await
    }

    async fn changes(&self, after: u64, limit: usize) -> Result<Vec<Change>, StoreError> {
        match self.fault {
            Fault::SkipsChanges => {
                let changes = self.right.changes(after, limit).await?;
                Ok(changes.into_iter().filter(|change| change.revision % 7 != 0).collect())
            }
            Fault::RepeatsChanges => {
                // The changes are repeated once only, so that a follower comes to an end.
                let again = if after == 4 { after - 1 } else { after };
                self.right.changes(again, limit).await
            }
            Fault::HidesCompaction => match self.right.changes(after, limit).await {
                Err(StoreError::Compacted { oldest, .. }) => {
                    self.right.changes(oldest, limit).await
                }
                changes => changes,
            },
            _ => self.right.changes(after, limit).await,
        }
    }

    async fn compact(&self, before: u64) -> Result<(), StoreError> {
        match self.fault {
            Fault::KeepsWhatWasGivenUp => Ok(()),
            _ => self.right.compact(before).await,
        }
    }

    fn revisions(&self) -> watch::Receiver<u64> {
        self.right.revisions()
    }
}

fn concerns(operation: &Operation, part: &str) -> bool {
    let key = operation.key().to_string();
    part.strip_prefix('^').map_or_else(|| key.contains(part), |begin| key.starts_with(begin))
}

fn too_large(transaction: &Transaction) -> bool {
    transaction.operations.iter().any(
        |operation| matches!(operation, Operation::Put(_, value) if value.len() >= super::MAX_VALUE_BYTES),
    )
}

/// A mutant that can crash.
struct MutantBed {
    fault: Fault,
    store: Arc<Mutant>,
}

#[async_trait]
impl Bed for MutantBed {
    async fn open(&mut self) -> Arc<dyn Metadata> {
        self.store.clone()
    }

    async fn crash(&mut self) {
        if self.fault == Fault::AnswersBeforeDurable {
            self.store = Arc::new(Mutant::new(self.fault));
        }
        if self.fault == Fault::ReusesRevisions {
            // The values are there, but the count of revisions is not.
            let forgetful = Mutant::new(self.fault);
            let view =
                self.store.right.read(vec![Read::all(super::Key::new(""))], None).await.unwrap();
            let operations = view.answers[0]
                .iter()
                .map(|(key, stored)| Operation::Put(key.clone(), stored.value.clone()));
            forgetful
                .right
                .commit(Transaction { compares: Vec::new(), operations: operations.collect() })
                .await
                .unwrap();
            self.store = Arc::new(forgetful);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_is_caught_by_a_law_and_every_law_catches_a_fault() {
    let mut caught_by: std::collections::BTreeMap<&str, Vec<Fault>> =
        ALL.iter().map(|law| (*law, Vec::new())).collect();
    for fault in FAULTS {
        let mut caught = false;
        for law in ALL {
            let mut bed = MutantBed { fault, store: Arc::new(Mutant::new(fault)) };
            if judge(law, &mut bed).await.is_err() {
                caught = true;
                caught_by.entry(law).or_default().push(fault);
            }
        }
        assert!(caught, "no law catches {fault:?}");
    }
    for (law, faults) in caught_by {
        assert!(!faults.is_empty(), "no fault is caught by {law}");
    }
}
