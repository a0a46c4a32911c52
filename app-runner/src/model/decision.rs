//! What an attempt does.

use proto::{Incarnation, JobId};

use super::failure::Failure;
use super::record::{JobOutcome, Outcome, Wish};

/// One thing that should be under way. Equal decisions are the same thing: it is begun once.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// The program and its artifacts, verified, into the working directory.
    Fetch,
    /// Digests into the record, bytes before them.
    Pin,
    /// The engine's `describe` process.
    StartDescribe,
    /// The plan of the cluster, and how main() is launched.
    Describe,
    /// A new incarnation, after a pause that grows with `deaths`.
    BeginCluster {
        /// Why; empty for the first.
        cause: String,
        /// Incarnations that this attempt saw dying.
        deaths: u32,
    },
    /// The processes of an incarnation.
    Provision {
        /// Which.
        incarnation: Incarnation,
    },
    /// The leader's first call to the cluster.
    Adopt {
        /// Which.
        incarnation: Incarnation,
        /// Where it serves jobs.
        endpoint: String,
    },
    /// The incarnation is ready: into the record.
    RecordReady {
        /// Which.
        incarnation: Incarnation,
        /// Where it serves jobs.
        endpoint: String,
    },
    /// The incarnation is gone: into the record.
    RecordGone {
        /// Which.
        incarnation: Incarnation,
        /// Why.
        message: String,
    },
    /// A stored job into the cluster.
    Submit {
        /// Which.
        job: JobId,
        /// Where to.
        incarnation: Incarnation,
    },
    /// Asks the cluster to end a job.
    CancelJob {
        /// Which.
        job: JobId,
        /// Where.
        incarnation: Incarnation,
        /// Why, for people.
        reason: String,
    },
    /// Has the cluster take a savepoint that somebody asked for; then what became of it into the record.
    Savepoint {
        /// What was asked for.
        wish: Wish,
        /// Where.
        incarnation: Incarnation,
    },
    /// A savepoint that nobody can take any more: into the record.
    RefuseSavepoint {
        /// What was asked for.
        wish: Wish,
        /// Why not.
        why: Failure,
    },
    /// The time that cancelled jobs have to record their ends.
    CancelBound {
        /// The cluster that they run in.
        incarnation: Incarnation,
    },
    /// An end that only the leader can know.
    EndJob {
        /// Which.
        job: JobId,
        /// How.
        outcome: JobOutcome,
        /// Why.
        why: Failure,
    },
    /// Staged files to their final names, then the record.
    Publish {
        /// Which job's.
        job: JobId,
    },
    /// Ends every tree of an earlier attempt.
    EndPrevious,
    /// MainStarting, then main() under its tether.
    StartMain,
    /// Ends main() and its tree.
    StopMain,
    /// main() has ended: into the record.
    RecordMainEnd,
    /// Somebody else has killed main(): into the record, as no end.
    RecordMainKill {
        /// How often in this generation, this one included.
        kills: u32,
    },
    /// main() is left to the next attempt, after a pause that grows with `kills`.
    ExecuteAgain {
        /// The last one included.
        kills: u32,
    },
    /// The application's end.
    RecordEnd {
        /// How.
        outcome: Outcome,
        /// Stable reason; empty for a success.
        why: Failure,
        /// Desired state that this was decided on.
        desired_revision: u64,
    },
    /// Ends all processes of an incarnation.
    Teardown {
        /// Which.
        incarnation: Incarnation,
    },
    /// Removes staging that nobody will commit.
    Sweep,
    /// Ends the `describe` process.
    EndDescribe,
    /// The fetcher may evict the artifacts.
    Release,
    /// Working directories and sockets of the attempts.
    RemoveWork,
    /// Nothing is left to do.
    MarkClean {
        /// What could not be removed.
        leftovers: Vec<String>,
    },
    /// The attempt is over.
    Leave(Leave),
}

/// How an attempt is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leave {
    /// The application is clean: resign and exit with its code.
    Clean(Outcome),
    /// A later leader has begun: stop at once.
    Superseded,
    /// The lease is lost: end main(), campaign anew.
    LeaseLost(String),
    /// main() cannot be told from here any more: end it by its owner mark, resign, campaign anew.
    MainLost(String),
    /// Somebody else has killed main(), and the record knows: resign, campaign anew.
    MainKilled,
    /// The process was asked to end.
    Shutdown,
    /// Whatever this process asks for is refused to it, and will be: end main(), resign, leave it to others.
    Refused(Failure),
}

impl Decision {
    /// It may be cut off when it is no longer wanted: it began nothing that somebody would have to end.
    pub fn may_be_dropped(&self) -> bool {
        matches!(
            self,
            Self::Fetch
                | Self::Pin
                | Self::Describe
                | Self::BeginCluster { .. }
                | Self::Provision { .. }
                | Self::Adopt { .. }
                | Self::RecordReady { .. }
                | Self::Submit { .. }
                | Self::CancelJob { .. }
                | Self::Savepoint { .. }
                | Self::RefuseSavepoint { .. }
                | Self::CancelBound { .. }
                | Self::EndJob { .. }
                | Self::Publish { .. }
                | Self::RecordEnd { .. }
                | Self::ExecuteAgain { .. }
                | Self::Teardown { .. }
                | Self::Sweep
        )
    }
}
