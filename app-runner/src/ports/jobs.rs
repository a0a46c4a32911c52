//! Jobs in a cluster, by `mainspring.engine.v1.JobsService`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use chassis::channel;
use chassis::clock::SharedClock;
use chassis::transport::{Endpoint, SharedTransport};
use client::jobs::{Jobs as Client, Savepoint};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use proto::{Digest, EpochFence, Incarnation, JobId, Reason, engine};

use super::PortResult;
use super::keyring::Keyring;
use crate::error::PortError;
use crate::model::Wish;

/// Jobs in the cluster of one incarnation. The leader adopts the cluster before any other call,
/// because only then does the cluster refuse the leaders before it.
#[async_trait]
pub trait Jobs: Send + Sync {
    /// A leader's first call to a cluster. It answers the jobs that the cluster knows. `submitted`
    /// are the jobs of the record that the cluster may know. All further calls to this incarnation
    /// carry the fence of this one.
    async fn adopt(
        &self,
        fence: &EpochFence,
        incarnation: Incarnation,
        endpoint: &str,
        submitted: &[JobId],
    ) -> PortResult<BTreeSet<JobId>>;
    /// Runs a stored graph. The cluster does not start a job again that it knows.
    async fn submit(&self, incarnation: Incarnation, job: &Submission) -> PortResult<()>;
    /// Asks a job to end. The cluster records the end.
    async fn cancel(&self, incarnation: Incarnation, job: JobId, reason: &str) -> PortResult<()>;
    /// Has a savepoint taken, once for each trigger id, and answers the savepoint's present state.
    async fn savepoint(
        &self,
        incarnation: Incarnation,
        wish: &Wish,
    ) -> PortResult<engine::SavepointResponse>;
    /// Tells of all jobs: their present state first, then their changes and progress.
    async fn watch(
        &self,
        incarnation: Incarnation,
    ) -> PortResult<BoxStream<'static, PortResult<engine::JobStatus>>>;
}

/// A stored graph that is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// The id of the job, which is the same in every attempt.
    pub job: JobId,
    /// The name of the job.
    pub name: String,
    /// The digest of the graph's stored bytes.
    pub graph: Digest,
    /// The size of the graph's stored bytes.
    pub graph_bytes: u64,
    /// All jobs of this generation. A target that holds parts of any other job is refused, because
    /// those parts belong to another application or generation.
    pub own: Vec<JobId>,
}

/// The clusters that this runner adopted, each with its client.
pub struct EngineJobs {
    transport: SharedTransport,
    clock: SharedClock,
    keyring: Keyring,
    adopted: Mutex<BTreeMap<Incarnation, Client>>,
}

impl EngineJobs {
    /// Calls clusters with the tokens that the record answered.
    pub fn new(transport: SharedTransport, clock: SharedClock, keyring: Keyring) -> Self {
        Self { transport, clock, keyring, adopted: Mutex::default() }
    }

    fn client(&self, incarnation: Incarnation) -> PortResult<Client> {
        let adopted = self.adopted.lock().unwrap_or_else(PoisonError::into_inner);
        adopted.get(&incarnation).cloned().ok_or_else(|| {
            PortError::refused(
                Reason::NotAdopted,
                format!("incarnation {incarnation} was not adopted by this runner"),
            )
        })
    }
}

#[async_trait]
impl Jobs for EngineJobs {
    async fn adopt(
        &self,
        fence: &EpochFence,
        incarnation: Incarnation,
        endpoint: &str,
        submitted: &[JobId],
    ) -> PortResult<BTreeSet<JobId>> {
        let endpoint: Endpoint = endpoint.parse().map_err(|error| {
            PortError::refused(
                Reason::ClusterNotReady,
                format!("incarnation {incarnation}: {error}"),
            )
        })?;
        let token = self.keyring.jobs(incarnation)?;
        let channel =
            channel::connect(self.transport.clone(), self.clock.clone(), endpoint, Some(token));
        let client = Client::new(channel, fence.clone());
        let known = client.adopt(incarnation, submitted).await?;
        self.adopted.lock().unwrap_or_else(PoisonError::into_inner).insert(incarnation, client);
        Ok(known.into_iter().filter_map(|job| job.job_id.parse().ok()).collect())
    }

    async fn submit(&self, incarnation: Incarnation, job: &Submission) -> PortResult<()> {
        self.client(incarnation)?
            .submit(job.job, &job.name, job.graph, job.graph_bytes, &job.own)
            .await?;
        Ok(())
    }

    async fn cancel(&self, incarnation: Incarnation, job: JobId, reason: &str) -> PortResult<()> {
        Ok(self.client(incarnation)?.cancel(job, reason).await?)
    }

    async fn savepoint(
        &self,
        incarnation: Incarnation,
        wish: &Wish,
    ) -> PortResult<engine::SavepointResponse> {
        let Wish { job, trigger, directory, stop, drain, format } = wish;
        let (job, trigger, stop, drain) = (*job, *trigger, *stop, *drain);
        let savepoint = Savepoint { job, trigger, directory, stop, drain, format };
        Ok(self.client(incarnation)?.savepoint(&savepoint).await?)
    }

    async fn watch(
        &self,
        incarnation: Incarnation,
    ) -> PortResult<BoxStream<'static, PortResult<engine::JobStatus>>> {
        let jobs = self.client(incarnation)?.watch().await?;
        Ok(jobs.map(|job| job.map_err(PortError::from)).boxed())
    }
}
