//! The client of a cluster's `JobsService`: submitting, watching and cancelling jobs in the engine,
//! and their savepoints.

use chassis::MAX_MESSAGE_BYTES;
use chassis::channel::GrpcChannel;
use futures::{Stream, StreamExt as _};
use proto::engine::jobs_service_client::JobsServiceClient;
use proto::engine::{
    AdoptRequest, CancelRequest, JobStatus, SavepointRequest, SavepointResponse, SubmitRequest,
    WatchRequest,
};
use proto::{Digest, EpochFence, Incarnation, JobId, TriggerId};

use crate::error::CallError;

/// A savepoint of one job, as the engine is asked for it.
#[derive(Debug, Clone, Copy)]
pub struct Savepoint<'a> {
    /// The job that the savepoint is of.
    pub job: JobId,
    /// Identifies the request: a repeat with the same id starts no second savepoint.
    pub trigger: TriggerId,
    /// The directory that the savepoint goes to. If it is empty, the engine's settings decide.
    pub directory: &'a str,
    /// Whether the job ends with the savepoint.
    pub stop: bool,
    /// Whether the job's input is said to be over before the savepoint is taken.
    pub drain: bool,
    /// The format in the engine's own word. If it is empty, the engine takes its default.
    pub format: &'a str,
}

/// Client of the one process of a cluster that serves its jobs, for one leader. Every call may be
/// repeated.
#[derive(Debug, Clone)]
pub struct Jobs {
    inner: JobsServiceClient<GrpcChannel>,
    fence: EpochFence,
}

impl Jobs {
    /// A client over a channel that carries the incarnation's token; every call carries the
    /// leader's fence.
    pub fn new(channel: GrpcChannel, fence: EpochFence) -> Self {
        let inner = JobsServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Self { inner, fence }
    }

    /// A leader's first call: from its return the cluster refuses lower epochs. `submitted` are the
    /// jobs of the record that were submitted before and have no end. The answer lists the jobs
    /// that the cluster knows.
    pub async fn adopt(
        &self,
        incarnation: Incarnation,
        submitted: &[JobId],
    ) -> Result<Vec<JobStatus>, CallError> {
        let request = AdoptRequest {
            fence: Some(self.fence.clone().into()),
            incarnation: incarnation.get(),
            submitted_job_ids: submitted.iter().map(JobId::to_string).collect(),
        };
        Ok(self.inner.clone().adopt(request).await?.into_inner().jobs)
    }

    /// Runs a stored graph under its job id. The answer is `true` when the cluster knew the job and
    /// started nothing. `own_jobs` are the ids of all jobs of this generation; a target that holds
    /// parts of any other job is refused before the job runs.
    pub async fn submit(
        &self,
        job: JobId,
        name: &str,
        graph: Digest,
        size_bytes: u64,
        own_jobs: &[JobId],
    ) -> Result<bool, CallError> {
        let request = SubmitRequest {
            fence: Some(self.fence.clone().into()),
            job_id: job.to_string(),
            name: name.to_owned(),
            graph_digest: graph.to_string(),
            graph_size_bytes: size_bytes,
            own_job_ids: own_jobs.iter().map(JobId::to_string).collect(),
        };
        Ok(self.inner.clone().submit(request).await?.into_inner().already_known)
    }

    /// The present state of all jobs of the cluster, then their changes and progress.
    pub async fn watch(
        &self,
    ) -> Result<impl Stream<Item = Result<JobStatus, CallError>> + Send + use<>, CallError> {
        let request = WatchRequest { fence: Some(self.fence.clone().into()) };
        let answers = self.inner.clone().watch(request).await?.into_inner();
        Ok(answers.filter_map(|answer| async move {
            match answer {
                Ok(answer) => answer.job.map(Ok),
                Err(status) => Some(Err(status.into())),
            }
        }))
    }

    /// Asks a job to end as CANCELLED; the cluster records its end.
    pub async fn cancel(&self, job: JobId, reason: &str) -> Result<(), CallError> {
        let request = CancelRequest {
            fence: Some(self.fence.clone().into()),
            job_id: job.to_string(),
            reason: reason.to_owned(),
        };
        self.inner.clone().cancel(request).await?;
        Ok(())
    }

    /// Has a savepoint taken, once for each trigger id. The answer is the savepoint's present
    /// state. While that is pending, the caller asks again.
    pub async fn savepoint(
        &self,
        savepoint: &Savepoint<'_>,
    ) -> Result<SavepointResponse, CallError> {
        let request = SavepointRequest {
            fence: Some(self.fence.clone().into()),
            job_id: savepoint.job.to_string(),
            trigger_id: savepoint.trigger.to_string(),
            directory: savepoint.directory.to_owned(),
            stop: savepoint.stop,
            drain: savepoint.drain,
            format: savepoint.format.to_owned(),
        };
        Ok(self.inner.clone().savepoint(request).await?.into_inner())
    }
}
