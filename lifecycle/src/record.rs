//! What lifecycle keeps elsewhere: intents and tombstones of processes, and their output; and the one question whether an
//! epoch still holds. Lifecycle itself stores nothing.

mod memory;
mod store;

use std::fmt;

use async_trait::async_trait;
use chassis::tasks::OwnedTask;
use client::places::Kind;
use client::tether::Chunk;
use proto::{ApplicationRef, Epoch, EpochFence, jobgraph};
use tokio::sync::{mpsc, watch};

use crate::model::Slot;

pub use memory::MemoryRecord;
pub use store::Store;

/// What the record did not do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RecordError {
    /// It cannot be reached right now; nothing was done, or it may be repeated.
    #[error("the record is out of reach: {0}")]
    Away(String),
    /// A later leader has begun.
    #[error("epoch {} has been superseded by {current}", .fence.epoch)]
    Superseded {
        /// What was shown.
        fence: EpochFence,
        /// What holds; 0 if the record did not say.
        current: Epoch,
    },
    /// It knows no such application, and will not.
    #[error("the record knows no such application: {0}")]
    Unknown(String),
    /// It will be refused again.
    #[error("the record refuses it: {0}")]
    Refused(String),
}

/// An intent: this process may live. Written before it is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// Which process.
    pub slot: Slot,
    /// Starts of it, the intended one included.
    pub start: u32,
    /// Where the substrate finds what keeps it.
    pub keeper: String,
    /// Where it serves.
    pub endpoint: String,
    /// Enough to start it again, see [`crate::service::Detail`].
    pub detail: Vec<u8>,
    /// How it last exited, for people; empty before that. Of a contender that gave up: why.
    pub exit: String,
    /// Whether it may live.
    pub state: IntentState,
}

/// Whether a process may live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntentState {
    /// It may, or it will be started.
    Intended,
    /// It is gone and will not be started again.
    Gone,
    /// So it is, because it gave up: until somebody wishes otherwise.
    GaveUp,
}

/// One stream of output in the record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LogSource {
    /// Whose.
    pub application: ApplicationRef,
    /// Role of the process.
    pub role: String,
    /// Which one of its role.
    pub replica: u32,
    /// Incarnation, or index of a contender.
    pub number: u64,
    /// Which start of it.
    pub start: u32,
}

impl LogSource {
    /// The output of one start of a process.
    pub fn new(slot: &Slot, start: u32) -> Self {
        let Slot { group, role, replica } = slot;
        let application = group.application.clone();
        Self { application, role: role.clone(), replica: *replica, number: group.number, start }
    }
}

impl fmt::Display for LogSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { application, role, replica, number, start } = self;
        write!(f, "{role}-{replica} of {application}, number {number}, start {start}")
    }
}

/// As the wire names it.
pub(crate) fn wire_source(source: &LogSource) -> jobgraph::LogSource {
    jobgraph::LogSource {
        application: Some(source.application.clone().into()),
        role: source.role.clone(),
        replica: source.replica,
        number: source.number,
        start: source.start,
    }
}

/// `None` for what names no application.
pub(crate) fn read_source(wire: jobgraph::LogSource) -> Option<LogSource> {
    let jobgraph::LogSource { application, role, replica, number, start } = wire;
    Some(LogSource { application: application.try_into().ok()?, role, replica, number, start })
}

/// Some output on its way into the record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogBatch {
    /// In order.
    pub chunks: Vec<Chunk>,
    /// Nothing more will come from this source.
    pub complete: bool,
}

/// What is acknowledged of a source that is complete.
pub const COMPLETE: u64 = u64::MAX;

/// An open log: batches go in, acknowledged offsets come out. Either end closing means that it broke.
#[derive(Debug)]
pub struct Log {
    /// Takes a few batches; then it waits for the record.
    pub batches: mpsc::Sender<LogBatch>,
    /// Everything below is durable. At first: where to go on from; [`COMPLETE`] once the record knows that nothing more comes.
    pub acknowledged: watch::Receiver<u64>,
    /// Carries both; it is cut with the log.
    pub(crate) _pump: OwnedTask<()>,
}

/// The record, as far as lifecycle needs it. All calls may be repeated.
#[async_trait]
pub trait Record: Send + Sync + 'static {
    /// Refuses an epoch that does not hold any more.
    async fn confirm_epoch(&self, fence: &EpochFence) -> Result<(), RecordError>;

    /// Keeps or replaces an intent, fenced by `epoch` if there is one.
    async fn put(&self, intent: &Intent, epoch: Option<Epoch>) -> Result<(), RecordError>;

    /// All intents of processes whose key begins so.
    async fn list(&self, key_prefix: &str) -> Result<Vec<Intent>, RecordError>;

    /// Forgets them.
    async fn forget(&self, key_prefix: &str) -> Result<(), RecordError>;

    /// Opens a log to append to.
    async fn open_log(&self, source: &LogSource) -> Result<Log, RecordError>;
}

/// The kind of process that a word in the record means.
pub(crate) fn kind_of(word: &str) -> Option<Kind> {
    [Kind::Cluster, Kind::Contender].into_iter().find(|kind| kind.as_str() == word)
}
