//! What lifecycle keeps elsewhere: intents and tombstones of processes, their output, and the one
//! question whether an epoch still holds. Lifecycle itself stores nothing.

mod store;

use std::fmt;

use chassis::tasks::OwnedTask;
use client::places::Kind;
use client::tether::Chunk;
use proto::{ApplicationRef, Epoch, EpochFence, Incarnation, jobgraph};
use tokio::sync::{mpsc, watch};

use crate::model::Slot;

pub use store::Store;

/// Why the record did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RecordError {
    /// The record cannot be reached right now. Nothing was done, or what was done may be repeated.
    #[error("the record is out of reach: {0}")]
    Away(String),
    /// A later leader has begun.
    #[error("epoch {} has been superseded by {current}", .fence.epoch)]
    Superseded {
        /// The fence that lifecycle has shown.
        fence: EpochFence,
        /// The epoch that holds; 0 if the record did not say.
        current: Epoch,
    },
    /// Another incarnation is the current one: no process of this one is started again.
    #[error("the incarnation is over: {current} is the current one")]
    IncarnationOver {
        /// The current incarnation; 0 if the record did not say.
        current: Incarnation,
    },
    /// The incarnation belongs to another host.
    #[error("{0}")]
    Elsewhere(String),
    /// No other incarnation has replaced this one, and yet nothing of it is to live here any more.
    #[error("nothing of it is needed: {0}")]
    Unneeded(String),
    /// The record knows no such application, and will not.
    #[error("the record knows no such application: {0}")]
    Unknown(String),
    /// The record refuses the call, and would refuse it again.
    #[error("the record refuses the call: {0}")]
    Refused(String),
}

impl RecordError {
    /// Whether the record has said by this that nothing of a cluster is to live here. Otherwise it
    /// has said nothing of the cluster.
    pub(crate) fn says_over(&self) -> bool {
        match self {
            Self::IncarnationOver { .. }
            | Self::Elsewhere(_)
            | Self::Unneeded(_)
            | Self::Unknown(_) => true,
            Self::Away(_) | Self::Superseded { .. } | Self::Refused(_) => false,
        }
    }
}

/// An intent says that a process may live. It is written before the process is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// The process that may live.
    pub slot: Slot,
    /// How many starts there were, the intended one included.
    pub start: u32,
    /// Where the substrate finds what keeps the process.
    pub keeper: String,
    /// Where the process serves.
    pub endpoint: String,
    /// Enough to start the process again, see [`crate::service::Detail`].
    pub detail: Vec<u8>,
    /// How the process last exited, for people; empty before that. Of a contender that gave up:
    /// why.
    pub exit: String,
    /// Whether the process may live.
    pub state: IntentState,
}

/// An intent, and how the record keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The intent.
    pub intent: Intent,
    /// Whether an older build has kept it, under a key that names no host.
    pub is_old: bool,
}

/// Whether a process may live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntentState {
    /// The process may live, or it will be started.
    Intended,
    /// The process is gone and will not be started again.
    Gone,
    /// The process is gone because it gave up; it is started again only for another wish.
    GaveUp,
}

/// One stream of output in the record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LogSource {
    /// The application that the output belongs to.
    pub application: ApplicationRef,
    /// The role of the process.
    pub role: String,
    /// The number of the process among those of its role.
    pub replica: u32,
    /// The incarnation, or the index of a contender.
    pub number: u64,
    /// The start of the process that the output came from.
    pub start: u32,
}

impl LogSource {
    /// The output of one start of a process.
    pub fn new(slot: &Slot, start: u32) -> Self {
        let Slot { group, role, replica } = slot;
        let application = group.application.clone();
        Self { application, role: role.clone(), replica: *replica, number: group.number, start }
    }

    /// Whether the output is a contender's, whose number is of its host. The role says so, because
    /// it is all that is known of a source in the outbox.
    fn is_of_contender(&self) -> bool {
        self.role == Kind::Contender.as_str()
    }
}

impl fmt::Display for LogSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { application, role, replica, number, start } = self;
        write!(f, "{role}-{replica} of {application}, number {number}, start {start}")
    }
}

/// The source as the wire names it among those of one host.
pub(crate) fn wire_source(source: &LogSource) -> jobgraph::LogSource {
    jobgraph::LogSource {
        application: Some(source.application.clone().into()),
        role: source.role.clone(),
        replica: source.replica,
        number: source.number,
        start: source.start,
        host: String::new(),
    }
}

/// The source that the wire names; `None` if it names no application.
pub(crate) fn read_source(wire: jobgraph::LogSource) -> Option<LogSource> {
    let jobgraph::LogSource { application, role, replica, number, start, .. } = wire;
    Some(LogSource { application: application.try_into().ok()?, role, replica, number, start })
}

/// Some output on its way into the record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogBatch {
    /// The chunks, in order.
    pub chunks: Vec<Chunk>,
    /// Whether nothing more will come from this source.
    pub complete: bool,
}

/// The offset that is acknowledged of a source that is complete.
pub const COMPLETE: u64 = u64::MAX;

/// An open log: batches go in, acknowledged offsets come out. When either end closes, the log
/// broke.
#[derive(Debug)]
pub struct Log {
    /// Takes a few batches, then waits for the record.
    pub batches: mpsc::Sender<LogBatch>,
    /// Everything below this offset is durable. At first this is where to go on from; [`COMPLETE`]
    /// once the record knows that nothing more comes.
    pub acknowledged: watch::Receiver<u64>,
    /// Carries both directions; the task is cut with the log.
    pub(crate) _pump: OwnedTask<()>,
}

/// The kind of process that a word in the record means.
fn kind_of(word: &str) -> Option<Kind> {
    [Kind::Cluster, Kind::Contender].into_iter().find(|kind| kind.as_str() == word)
}
