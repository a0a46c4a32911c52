//! The seam of an engine: what its cluster has to be able to do.

use std::collections::HashSet;

use async_trait::async_trait;
use chassis::clock::SharedClock;
use client::error::CallError;
use proto::engine::JobStatus;
use proto::{Digest, Epoch, EpochFence, JobId, TriggerId};

use crate::orders::Orders;
use crate::refusal::OrderRefusal;

/// The jobs of one incarnation of an application's cluster, as an engine runs them. Clones are the
/// same cluster.
///
/// The process that serves `JobsService` implements this once for its engine, and hands it to
/// [`crate::routes`], which calls it for one leader after another. Whether a caller may give orders
/// is decided before an order gets here: the service compares the call's fence with [`Orders`],
/// which the implementation owns and shows by [`Cluster::orders`]. A leader can be
/// superseded while a method waits, so that an implementation which is about to act after a wait
/// asks [`Orders::not_superseded`] once more.
///
/// A leader repeats a call whose answer it has lost, and a later leader repeats what an earlier one
/// has asked. Hence ids are the caller's: a job is started once for each job id, and a savepoint is
/// taken once for each trigger id. Every change of a job's state is told by [`Orders::changed`],
/// which wakes the watching leader.
#[async_trait]
pub trait Cluster: Clone + Send + Sync + 'static {
    /// Which leader may give orders here, and the sign that something has changed.
    fn orders(&self) -> &Orders;

    /// The clock that reports are paced by.
    fn clock(&self) -> &SharedClock;

    /// Asks the record whether this epoch leads.
    async fn leads(&self, fence: &EpochFence) -> Result<bool, CallError>;

    /// Finds out what runs here, before a new leader is told of it. `submitted` are the jobs that
    /// this leader knows to have been submitted here and not to have ended.
    async fn take_stock(&self, submitted: Vec<JobId>) -> Result<(), OrderRefusal>;

    /// Starts a job unless its id is known; `true` if it was known.
    async fn submit(&self, job: NewJob) -> Result<bool, OrderRefusal>;

    /// Asks a job to end; a job that has ended stays as it is.
    async fn cancel(&self, job: JobId) -> Result<(), OrderRefusal>;

    /// Has a savepoint taken, once for each trigger id; a repeat answers what became of the first.
    async fn savepoint(&self, trigger: Trigger) -> Result<Savepoint, OrderRefusal>;

    /// All jobs in their present state.
    fn statuses(&self) -> Vec<JobStatus>;

    /// Whether counters move without a word to [`Orders`], so that a watch has to look at them now
    /// and then.
    fn counts_silently(&self) -> bool;
}

/// A job that is to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    /// The job's id, which the leader has chosen.
    pub id: JobId,
    /// The job's name, for people.
    pub name: String,
    /// The digest of its graph in the store.
    pub graph: Digest,
    /// The epoch of the leader that submits it.
    pub epoch: Epoch,
    /// All job ids of this generation. Empty means that targets are not searched for the parts of
    /// others.
    pub own_job_ids: HashSet<String>,
}

/// A savepoint that is to be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// The job that the savepoint is of.
    pub job: JobId,
    /// Chosen by the caller: one savepoint is taken for each id.
    pub id: TriggerId,
    /// Where the savepoint goes; empty means the place that the engine's settings name.
    pub directory: String,
    /// Whether the job is stopped with it.
    pub stop: bool,
    /// Whether the job is told first that its input is over.
    pub drain: bool,
    /// `canonical` or `native`; empty means the engine's default.
    pub format: String,
    /// The epoch of the leader that asks.
    pub epoch: Epoch,
}

/// What is known of a savepoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Savepoint {
    /// The outcome is not known yet: the caller asks again.
    Pending,
    /// The savepoint was taken, and lies here.
    Taken(String),
    /// The savepoint was not taken, for this reason.
    Failed(String),
}
