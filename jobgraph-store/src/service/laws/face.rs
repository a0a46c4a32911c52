//! The record as its callers see it, in the words of the laws. Asked of the service itself, or through the wire.

pub(crate) mod direct;
pub(crate) mod wired;

use async_trait::async_trait;
use bytes::Bytes;
use proto::{
    ApplicationRef, Digest, EpochFence, Incarnation, IncarnationFence, JobId, Reason, TriggerId, api, job,
    jobgraph,
};

/// An answer, or the reason of its refusal.
pub(crate) type Answer<T> = Result<T, Reason>;

/// What the laws ask.
#[async_trait]
pub(crate) trait Face: Send + Sync {
    async fn submit(&self, request: api::SubmitRequest) -> Answer<api::SubmitResponse>;
    async fn get(&self, application: &ApplicationRef) -> Answer<api::Application>;
    async fn list(&self, request: api::ListRequest) -> Answer<api::ListResponse>;
    async fn cancel(&self, application: &ApplicationRef) -> Answer<bool>;
    async fn abandon(&self, application: &ApplicationRef) -> Answer<()>;
    /// Whether it was forgotten before.
    async fn forget(&self, application: &ApplicationRef, seen_revision: u64) -> Answer<bool>;
    async fn events(&self, application: &ApplicationRef) -> Answer<Vec<api::Event>>;
    async fn begin_attempt(&self, fence: &EpochFence, holder: &str)
    -> Answer<jobgraph::BeginAttemptResponse>;
    async fn pin(
        &self,
        fence: &EpochFence,
        artifacts: Vec<api::PinnedArtifact>,
    ) -> Answer<Vec<api::PinnedArtifact>>;
    async fn begin_cluster(
        &self,
        fence: &EpochFence,
        request_id: &str,
    ) -> Answer<jobgraph::BeginClusterResponse>;
    async fn cluster_ready(&self, fence: &EpochFence, incarnation: Incarnation) -> Answer<()>;
    async fn main_starting(&self, fence: &EpochFence, tether: &str) -> Answer<()>;
    async fn main_running(&self, fence: &EpochFence, pid: u32) -> Answer<()>;
    async fn main_ended(&self, fence: &EpochFence, code: i32) -> Answer<()>;
    async fn put_graph(
        &self,
        fence: &EpochFence,
        request: jobgraph::PutJobGraphRequest,
    ) -> Answer<jobgraph::PutJobGraphResponse>;
    async fn submitted(&self, fence: &EpochFence, job: JobId, incarnation: Incarnation) -> Answer<()>;
    async fn job_ended(
        &self,
        fence: &IncarnationFence,
        job: JobId,
        end: job::JobEnd,
    ) -> Answer<(bool, job::JobEnd)>;
    async fn leader_ended(
        &self,
        fence: &EpochFence,
        job: JobId,
        end: job::JobEnd,
    ) -> Answer<(bool, job::JobEnd)>;
    /// Whether the job has ended, what is kept, the next id.
    async fn checkpoints(
        &self,
        fence: &IncarnationFence,
        job: JobId,
    ) -> Answer<(bool, Vec<job::Checkpoint>, u64)>;
    async fn add_checkpoint(&self, fence: &IncarnationFence, job: JobId, kept: job::Checkpoint)
    -> Answer<()>;
    async fn remove_checkpoint(&self, fence: &IncarnationFence, job: JobId, id: u64) -> Answer<()>;
    async fn advance_checkpoint_id(&self, fence: &IncarnationFence, job: JobId, next: u64) -> Answer<u64>;
    /// Whether it was asked for before.
    async fn ask_for_savepoints(
        &self,
        application: &ApplicationRef,
        request_id: &str,
        job: &str,
        stop: bool,
    ) -> Answer<bool>;
    async fn ask_at(&self, application: &ApplicationRef, request_id: &str, directory: &str) -> Answer<bool>;
    /// Whether it was recorded, and the pointer that stands.
    async fn savepoint_settled(
        &self,
        fence: &EpochFence,
        job: JobId,
        trigger: TriggerId,
        pointer: &str,
    ) -> Answer<(bool, String)>;
    /// What the cluster is to stop the job with.
    async fn stopping(&self, fence: &IncarnationFence, job: JobId) -> Answer<String>;
    async fn published(&self, fence: &EpochFence, job: JobId) -> Answer<()>;
    async fn end(&self, fence: &EpochFence, outcome: api::Outcome, desired: u64) -> Answer<api::Outcome>;
    async fn mark_clean(&self, fence: &EpochFence) -> Answer<()>;
    async fn journal(
        &self,
        fence: &EpochFence,
        key: &str,
        value: Option<Bytes>,
    ) -> Answer<(Option<Bytes>, bool)>;
    async fn append_event(&self, fence: &EpochFence, message: &str) -> Answer<()>;
    async fn put_payload(&self, bytes: Bytes) -> Answer<bool>;
    async fn read_payload(&self, digest: Digest) -> Answer<Bytes>;
}

fn event(message: &str) -> api::Event {
    api::Event { kind: "warning".into(), message: message.into(), ..Default::default() }
}

fn savepoint(trigger: TriggerId, pointer: &str) -> job::Savepoint {
    job::Savepoint { trigger_id: trigger.to_string(), pointer: pointer.into(), ..Default::default() }
}

fn ready(incarnation: Incarnation) -> jobgraph::RecordClusterRequest {
    jobgraph::RecordClusterRequest {
        incarnation: incarnation.get(),
        state: api::ClusterState::Ready.into(),
        jobs_endpoint: "unix:/jobs".into(),
        ..Default::default()
    }
}
