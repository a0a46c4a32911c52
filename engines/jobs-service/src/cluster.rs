//! What an engine's cluster has to be.

use std::collections::HashSet;

use async_trait::async_trait;
use chassis::clock::SharedClock;
use client::error::CallError;
use proto::engine::JobStatus;
use proto::{Digest, Epoch, EpochFence, JobId, TriggerId};

use crate::orders::Orders;
use crate::refusal::Refusal;

/// The jobs of one incarnation; clones are the same. Orders come from the leader that [`Orders`] knows, and have been looked at.
#[async_trait]
pub trait Cluster: Clone + Send + Sync + 'static {
    /// Who may give orders here, and the sign that something has changed.
    fn orders(&self) -> &Orders;

    /// The time.
    fn clock(&self) -> &SharedClock;

    /// Whether the record knows this epoch as the leader.
    async fn leads(&self, fence: &EpochFence) -> Result<bool, CallError>;

    /// Finds out what runs here, before a new leader is told of it; `submitted` is what that leader knows to be here.
    async fn take_stock(&self, submitted: Vec<JobId>) -> Result<(), Refusal>;

    /// Starts a job unless it is known; `true` when it was.
    async fn submit(&self, job: Submission) -> Result<bool, Refusal>;

    /// Asks a job to end; one that has ended stays as it is.
    async fn cancel(&self, job: JobId) -> Result<(), Refusal>;

    /// Has a savepoint taken, once for each trigger id.
    async fn savepoint(&self, trigger: Trigger) -> Result<Savepoint, Refusal>;

    /// All jobs as they are known now.
    fn statuses(&self) -> Vec<JobStatus>;

    /// Whether counters move without a word to [`Orders`]: then they are looked at now and then.
    fn counts_silently(&self) -> bool;
}

/// A job that is to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// Which.
    pub id: JobId,
    /// For people.
    pub name: String,
    /// Its stored graph.
    pub graph: Digest,
    /// Of the leader that submits it.
    pub epoch: Epoch,
    /// All job ids of this generation; empty: targets are not looked at.
    pub own_job_ids: HashSet<String>,
}

/// A savepoint that is to be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// Of this job.
    pub job: JobId,
    /// Chosen by whoever asks: one savepoint is taken for each.
    pub id: TriggerId,
    /// Where to; empty: where the engine's settings say.
    pub directory: String,
    /// Stop the job with it.
    pub stop: bool,
    /// Say that the input is over first.
    pub drain: bool,
    /// `canonical` or `native`; empty: the engine's default.
    pub format: String,
    /// Of the leader that asks.
    pub epoch: Epoch,
}

/// What is known of a savepoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Savepoint {
    /// Not yet what becomes of it: ask again.
    Pending,
    /// Where it lies.
    Taken(String),
    /// That it was not taken, and why.
    Failed(String),
}
