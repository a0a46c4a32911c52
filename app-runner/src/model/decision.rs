//! What an attempt does: the steps that the model asks for and the driver carries out.

use proto::{Incarnation, JobId};

use super::failure::Failure;
use super::recorded::{JobOutcome, Outcome, Wish};

/// One step that should be under way. Two equal decisions are the same step, which the driver
/// begins only once. A decision carries everything that tells one step from another, so that a step
/// for another incarnation, job or reason is a new one.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Fetches the program and its artifacts, verified, into the working directory.
    Fetch,
    /// Pins the artifacts: their bytes go into the store first, then their digests into the record.
    Pin,
    /// Starts the engine's `describe` process.
    StartDescribe,
    /// Asks the engine for the plan of the cluster and for how main() is launched.
    Describe,
    /// Begins a new incarnation, after a pause that grows with `deaths`, and after the end of the
    /// present one where that is on another host and its outputs are not gated.
    BeginCluster {
        /// Why a new incarnation is needed; empty for the first one of the generation.
        cause: String,
        /// The incarnations that this attempt saw dying.
        deaths: u32,
    },
    /// Has the substrate start the processes of an incarnation.
    Provision {
        /// The incarnation whose processes are started.
        incarnation: Incarnation,
    },
    /// Makes the leader's first call to the cluster, which from then on takes calls of this epoch.
    Adopt {
        /// The incarnation that is called.
        incarnation: Incarnation,
        /// Where the incarnation serves jobs.
        endpoint: String,
        /// How many such calls in a row it has not answered.
        doubts: u32,
    },
    /// Records that an incarnation is ready.
    RecordReady {
        /// The incarnation that is ready.
        incarnation: Incarnation,
        /// Where the incarnation serves jobs.
        endpoint: String,
    },
    /// Records that an incarnation is gone.
    RecordGone {
        /// The incarnation that is gone.
        incarnation: Incarnation,
        /// Why the incarnation could not go on, for people.
        message: String,
    },
    /// Submits a stored job to the cluster.
    Submit {
        /// The job that is submitted.
        job: JobId,
        /// The incarnation that takes the job.
        incarnation: Incarnation,
    },
    /// Asks the cluster to end a job.
    CancelJob {
        /// The job that is to end.
        job: JobId,
        /// The incarnation that runs the job.
        incarnation: Incarnation,
        /// Why the job is to end, for people.
        reason: String,
    },
    /// Has the cluster take a savepoint that a user or main() asked for, then records its result.
    Savepoint {
        /// What was asked for.
        wish: Wish,
        /// The incarnation that runs the job.
        incarnation: Incarnation,
    },
    /// Records that a savepoint was not taken, because no cluster can take it any more.
    RefuseSavepoint {
        /// What was asked for.
        wish: Wish,
        /// Why the savepoint was not taken.
        why: Failure,
    },
    /// Waits for the time that cancelled jobs have to record their ends.
    CancelBound {
        /// The incarnation that runs the jobs.
        incarnation: Incarnation,
    },
    /// Records an end that only the leader can know.
    EndJob {
        /// The job that has ended.
        job: JobId,
        /// How the job ended.
        outcome: JobOutcome,
        /// Why the job ended so.
        why: Failure,
    },
    /// Moves a job's staged files to their final names, then records the publication.
    Publish {
        /// The job whose output is published.
        job: JobId,
    },
    /// Ends every process tree of an earlier attempt on this host.
    EndPrevious,
    /// Records that main() starts, then starts it under its tether.
    StartMain,
    /// Ends main() and its process tree.
    StopMain,
    /// Records that main() has ended.
    RecordMainEnd,
    /// Records that main() was killed from outside, which is not the end of main().
    RecordMainKill {
        /// How often main() was killed in this generation, this time included.
        kills: u32,
    },
    /// Leaves main() to the next attempt, after a pause that grows with `kills`.
    ExecuteAgain {
        /// How often main() was killed in this generation, the last time included.
        kills: u32,
    },
    /// Records the application's end.
    RecordEnd {
        /// How the application ended.
        outcome: Outcome,
        /// The stable reason and its text; [`Failure::none`] for a success.
        why: Failure,
        /// The revision of the desired state that the end was decided on: the record refuses an end
        /// that was decided on an older one.
        desired_revision: u64,
    },
    /// Ends all processes of an incarnation.
    Teardown {
        /// The incarnation whose processes end.
        incarnation: Incarnation,
    },
    /// Waits until the lifecycles of other hosts have ended what they ran of earlier incarnations.
    AwaitPlaces,
    /// Removes staged output that no job will commit, and checkpoints that are not to outlive their
    /// jobs.
    Sweep,
    /// Ends the `describe` process.
    EndDescribe,
    /// Tells the fetcher that it may evict the artifacts.
    Release,
    /// Removes the working directories and sockets of the attempts.
    RemoveWork,
    /// Records that nothing is left to do.
    MarkClean {
        /// What could not be removed, one line each.
        leftovers: Vec<String>,
    },
    /// The attempt is over.
    Leave(Leave),
}

/// How an attempt is over. The contender decides by it whether to end main(), to resign and to
/// campaign again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leave {
    /// The application is clean: the contender resigns and exits with the application's code.
    Clean(Outcome),
    /// A later leader has begun: the contender ends its processes at once and campaigns again.
    Superseded,
    /// The lease is lost: the contender ends main() and campaigns again.
    LeaseLost(String),
    /// The tether does not tell about main() any more: the contender ends main() by its owner mark,
    /// resigns and campaigns again.
    MainLost(String),
    /// main() was killed from outside, and the record says so: the contender resigns and campaigns
    /// again.
    MainKilled,
    /// This process was asked to end.
    Shutdown,
    /// The record refuses every call of this process and will go on refusing: the contender ends
    /// main(), resigns and leaves the application to other contenders.
    Refused(Failure),
}

impl Decision {
    /// Whether the step may be cut off once it is not wanted any more: it leaves nothing behind
    /// that this process would have to end.
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
                | Self::AwaitPlaces
                | Self::Sweep
        )
    }
}
