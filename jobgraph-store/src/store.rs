//! The metadata seam: a small transactional key-value store that an embedded file and a replicated
//! service can both honour. The promises of the record rest on the laws below; `store/laws.rs`
//! states them as tests for any backend.

pub mod embedded;
pub mod etcd;
#[cfg(any(test, feature = "testing"))]
pub mod memory;

#[cfg(test)]
pub(crate) mod laws;
#[cfg(test)]
pub(crate) mod mutants;
#[cfg(test)]
pub(crate) mod over;

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

/// Every value is smaller than this, in bytes.
pub const MAX_VALUE_BYTES: usize = 64 * 1024;

/// A transaction has fewer compares than this, and fewer operations.
pub const MAX_OPERATIONS: usize = 100;

/// The values of a transaction have at most so many bytes together.
pub const MAX_TRANSACTION_BYTES: usize = 1024 * 1024;

/// How many revisions back a backend answers [`Metadata::changes`] and reads at an old revision.
pub const KEPT_REVISIONS: u64 = 10_000;

/// The name that a value is kept under. Keys order as bytes; they are paths with `/`, see
/// [`crate::keys`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Bytes);

impl Key {
    /// The key of these bytes.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// The bytes of the key.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The part after `prefix`, if the key begins with it.
    pub fn strip(&self, prefix: &Self) -> Option<&[u8]> {
        self.0.strip_prefix(&prefix.0[..])
    }

    /// The first key after all that begin with this one; `None` if there is none.
    pub(crate) fn prefix_end(&self) -> Option<Self> {
        let mut bytes = self.0.to_vec();
        while let Some(last) = bytes.pop() {
            if last < u8::MAX {
                bytes.push(last + 1);
                return Some(Self::new(bytes));
            }
        }
        None
    }
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        Self::new(text.into_bytes())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

/// A value, and the revision of the commit that wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The value that was put.
    pub value: Bytes,
    /// The revision of the commit that put it.
    pub revision: u64,
}

/// One thing to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// The value of one key.
    Key(Key),
    /// Keys that begin with `prefix`, in order, without those up to and including `after`, at most
    /// `limit`.
    Range {
        /// What the keys begin with.
        prefix: Key,
        /// Only keys beyond this one are read.
        after: Option<Key>,
        /// At most so many keys are read.
        limit: usize,
    },
    /// The last key that begins with `prefix` and is not beyond `until`. A backend may have to look
    /// at all of them, so a caller keeps no more than a few thousand below one prefix.
    Last {
        /// What the key begins with.
        prefix: Key,
        /// The key that is looked for; without it, the closest one before it is read.
        until: Key,
    },
}

impl Read {
    /// Reads all keys that begin with `prefix`.
    pub fn all(prefix: Key) -> Self {
        Self::Range { prefix, after: None, limit: usize::MAX }
    }
}

/// The answers to several reads, all as of one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The revision that all answers are of.
    pub revision: u64,
    /// One list for each read, in the order of the reads. A read of one key or of a last key has at
    /// most one entry.
    pub answers: Vec<Vec<(Key, Stored)>>,
}

/// A condition of a commit: the commit of that revision was the last to write the key. `None`: the
/// key is absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compare {
    /// The compared key.
    pub key: Key,
    /// The revision that the writer saw when it read the key.
    pub revision: Option<u64>,
}

/// One change of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// The key holds this value from now on.
    Put(Key, Bytes),
    /// The key is absent from now on; deleting an absent key is no change.
    Delete(Key),
}

impl Operation {
    /// The key that the operation changes.
    pub fn key(&self) -> &Key {
        match self {
            Self::Put(key, _) | Self::Delete(key) => key,
        }
    }
}

/// Operations that happen together, if every compare holds.
///
/// This is the only way to change the record: a fence, a revision that a writer saw and the change
/// itself are one transaction, so that no other writer comes between them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transaction {
    /// The conditions; all have to hold at the instant of the commit.
    pub compares: Vec<Compare>,
    /// The changes; all happen, or none. No key occurs twice.
    pub operations: Vec<Operation>,
}

impl Transaction {
    /// Refuses a transaction that no backend takes.
    pub fn check(&self) -> Result<(), StoreError> {
        if self.compares.len() >= MAX_OPERATIONS || self.operations.len() >= MAX_OPERATIONS {
            let count = self.compares.len().max(self.operations.len());
            return Err(StoreError::TooLarge(format!(
                "{count} operations; a transaction has fewer than {MAX_OPERATIONS}"
            )));
        }
        let mut bytes = 0;
        for operation in &self.operations {
            let Operation::Put(key, value) = operation else { continue };
            bytes += value.len();
            if value.len() >= MAX_VALUE_BYTES {
                return Err(StoreError::TooLarge(format!(
                    "{} bytes at {key}; a value has fewer than {MAX_VALUE_BYTES}",
                    value.len()
                )));
            }
        }
        if bytes > MAX_TRANSACTION_BYTES {
            return Err(StoreError::TooLarge(format!(
                "{bytes} bytes; a transaction has at most {MAX_TRANSACTION_BYTES}"
            )));
        }
        Ok(())
    }
}

/// What a transaction came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Commit {
    /// The commit is done and durable, at this revision.
    Committed(u64),
    /// The commit was not done, because the compare on this key did not hold.
    Conflict(Key),
}

/// One key changed in one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The revision of the commit.
    pub revision: u64,
    /// The key that changed; a read tells its value.
    pub key: Key,
}

/// Why a backend did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The backend cannot be reached; nothing was done.
    #[error("the metadata store is not available: {0}")]
    Unavailable(String),
    /// The connection broke in the middle of a commit: only a read can tell whether the commit
    /// happened.
    #[error("the outcome of a write is unknown: {0}")]
    Unknown(String),
    /// The disk has no room or is read-only; nothing was done.
    #[error("the metadata store's disk is full or read-only: {0}")]
    Full(String),
    /// The revision is kept no longer, or was never reached.
    #[error("revision {asked} is not kept; kept are {oldest} and later")]
    Compacted {
        /// The revision that was asked for.
        asked: u64,
        /// The oldest revision that can be asked for.
        oldest: u64,
    },
    /// The transaction is over a limit of the seam; nothing was done.
    #[error("the transaction is too large: {0}")]
    TooLarge(String),
    /// The bytes on the disk are not those that were written there.
    #[error("{file} is damaged: {why}")]
    Damaged {
        /// The damaged file.
        file: String,
        /// What the reader saw.
        why: String,
    },
    /// The stored value is in a format that only a newer build reads.
    #[error("the metadata store holds what this build cannot read: {0}")]
    Newer(String),
    /// The stored value cannot be read by any build.
    #[error("the metadata store holds what this build cannot read: {0}")]
    Unreadable(String),
}

/// A backend of the record.
///
/// The service is the only caller. The service reads what a decision needs at one revision, decides
/// without the backend, and commits the outcome with compares on what it read; the backend knows
/// neither applications nor fences. So what the record promises about competing writers is a
/// compare inside one transaction.
///
/// Laws, for every implementor:
/// 1. *Atomic*: the operations of a commit are all visible or none is, at every revision.
/// 2. *Compared inside*: a commit happens only if every compare holds at the instant of the commit,
///    also when other writers commit at the same time; otherwise nothing changes and the answer is
///    [`Commit::Conflict`].
/// 3. *One order*: revisions of commits are distinct, grow in the order in which commits take
///    effect, also across a reopen, and are never used twice.
/// 4. *Durable*: a commit that was answered `Committed` is there after a crash of the process; a
///    commit that was answered with another error than `Unknown` is not.
/// 5. *One instant*: all answers of one `read` are as of its revision; a read that begins after a
///    commit was answered sees that commit.
/// 6. *Watched*: `changes(after)` gives every key of every commit with a revision above `after`
///    exactly once, in order, or [`StoreError::Compacted`]; it never leaves a key out silently.
///    `revisions()` shows a revision only once it is readable.
/// 7. *Bounded past*: at least the last [`KEPT_REVISIONS`] revisions can be asked for by `changes`
///    and by `read` at a revision, except those that `compact` gave up.
#[async_trait]
pub trait Metadata: Send + Sync + 'static {
    /// Reads at one instant: now, or as of the revision `at`.
    async fn read(&self, reads: Vec<Read>, at: Option<u64>) -> Result<View, StoreError>;

    /// Commits all operations if all compares hold; the commit is durable when this returns.
    async fn commit(&self, transaction: Transaction) -> Result<Commit, StoreError>;

    /// Changes after a revision, oldest first: whole commits, until at least `limit` keys are
    /// listed or no commit is left.
    async fn changes(&self, after: u64, limit: usize) -> Result<Vec<Change>, StoreError>;

    /// Gives up the past: revisions below `before` cannot be asked for any more and take no room.
    /// The present values stay as they are.
    async fn compact(&self, before: u64) -> Result<(), StoreError>;

    /// The latest revision, as a value to wait on.
    fn revisions(&self) -> watch::Receiver<u64>;
}
