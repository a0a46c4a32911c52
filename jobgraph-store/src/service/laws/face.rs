//! The record as its callers see it, in the words of the laws. The laws ask the service itself, or
//! ask through the wire; they ask one store, or several stores in turn.

pub(crate) mod direct;
pub(crate) mod wired;

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ::record::{ApplicationEnd, Confirmed, Error, Holder, MainEnd, MainExit, Record, Refused};
use async_trait::async_trait;
use bytes::Bytes;
use proto::{
    ApplicationRef, Digest, Epoch, EpochFence, Incarnation, IncarnationFence, JobId, Place,
    PlaceUid, Reason, TriggerId, api, job, jobgraph,
};

/// An answer, or the reason of its refusal.
pub(crate) type Answer<T> = Result<T, Reason>;

/// What the laws ask of the record, and of the verbs that stand beside it.
///
/// Over several stores, each call goes to the next one. So whatever a caller does in two calls, it
/// does through two stores.
#[derive(Clone)]
pub(crate) struct Face {
    stores: Vec<Store>,
    /// How many calls there were.
    calls: Arc<AtomicUsize>,
}

/// One store, as its callers reach it.
#[derive(Clone)]
struct Store {
    record: Arc<dyn Record>,
    beside: Arc<dyn Beside>,
}

/// What clients ask, and the payloads that are put: calls without a fence.
#[async_trait]
pub(crate) trait Beside: Send + Sync {
    async fn submit(&self, request: api::SubmitRequest) -> Answer<api::SubmitResponse>;
    async fn get(&self, application: &ApplicationRef) -> Answer<api::Application>;
    async fn list(&self, request: api::ListRequest) -> Answer<api::ListResponse>;
    async fn cancel(&self, application: &ApplicationRef) -> Answer<bool>;
    async fn abandon(&self, application: &ApplicationRef) -> Answer<()>;
    /// Answers whether the generation was forgotten before.
    async fn forget(&self, application: &ApplicationRef, seen_revision: u64) -> Answer<bool>;
    async fn events(&self, application: &ApplicationRef) -> Answer<Vec<api::Event>>;
    /// Answers whether the savepoints were asked for before.
    async fn ask_for_savepoints(
        &self,
        application: &ApplicationRef,
        request_id: &str,
        job: &str,
        stop: bool,
    ) -> Answer<bool>;
    async fn ask_at(
        &self,
        application: &ApplicationRef,
        request_id: &str,
        directory: &str,
    ) -> Answer<bool>;
    /// Keeps a process as lifecycle does, fenced by the epoch if there is one.
    async fn put_process(&self, process: jobgraph::Process, epoch: Option<Epoch>) -> Answer<()>;
    async fn list_processes(&self, key_prefix: &str) -> Answer<Vec<jobgraph::Process>>;
    async fn delete_processes(&self, key_prefix: &str) -> Answer<()>;
    /// Answers how many processes were forgotten, and the applications with a cluster's.
    async fn give_up(&self, place: PlaceUid) -> Answer<(usize, Vec<ApplicationRef>)>;
    async fn put_payload(&self, bytes: Bytes) -> Answer<bool>;
    async fn read_payload(&self, digest: Digest) -> Answer<Bytes>;
}

impl Deref for Face {
    type Target = dyn Beside;

    fn deref(&self) -> &Self::Target {
        &*self.next().beside
    }
}

fn why<R: Refused>(error: Error<R>) -> Reason {
    error.reason().unwrap_or_else(|| panic!("no reason in {error:?}"))
}

impl Face {
    pub(crate) fn new(record: impl Record + 'static, beside: impl Beside + 'static) -> Self {
        let store = Store { record: Arc::new(record), beside: Arc::new(beside) };
        Self { stores: vec![store], calls: Arc::default() }
    }

    /// The stores of both faces.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.stores.extend(other.stores);
        self
    }

    fn next(&self) -> &Store {
        &self.stores[self.calls.fetch_add(1, Ordering::Relaxed) % self.stores.len()]
    }

    fn record(&self) -> &dyn Record {
        &*self.next().record
    }

    pub(crate) async fn begin_attempt(
        &self,
        fence: &EpochFence,
        holder: &str,
    ) -> Answer<jobgraph::BeginAttemptResponse> {
        self.begin_attempt_at(fence, holder, None).await
    }

    pub(crate) async fn begin_attempt_at(
        &self,
        fence: &EpochFence,
        holder: &str,
        place: Option<&Place>,
    ) -> Answer<jobgraph::BeginAttemptResponse> {
        let holder = Holder::new(holder, 1).at(place.cloned());
        self.record().begin_attempt(fence, &holder, "").await.map_err(why)
    }

    pub(crate) async fn read(&self, application: &ApplicationRef) -> Answer<jobgraph::Record> {
        self.record().read(application).await.map_err(why)
    }

    pub(crate) async fn confirm_incarnation(&self, fence: &IncarnationFence) -> Answer<Confirmed> {
        self.record().confirm_incarnation(fence).await.map_err(why)
    }

    pub(crate) async fn pin(
        &self,
        fence: &EpochFence,
        artifacts: Vec<api::PinnedArtifact>,
    ) -> Answer<Vec<api::PinnedArtifact>> {
        self.record().pin_artifacts(fence, artifacts).await.map_err(why)
    }

    pub(crate) async fn begin_cluster(
        &self,
        fence: &EpochFence,
        request_id: &str,
    ) -> Answer<jobgraph::BeginClusterResponse> {
        self.begin_cluster_at(fence, request_id, None).await
    }

    pub(crate) async fn begin_cluster_at(
        &self,
        fence: &EpochFence,
        request_id: &str,
        place: Option<&Place>,
    ) -> Answer<jobgraph::BeginClusterResponse> {
        let request = jobgraph::BeginClusterRequest {
            request_id: request_id.into(),
            place: place.cloned().map(Into::into),
            ..Default::default()
        };
        self.record().begin_cluster(fence, request).await.map_err(why)
    }

    pub(crate) async fn cluster_ready(
        &self,
        fence: &EpochFence,
        incarnation: Incarnation,
    ) -> Answer<()> {
        self.cluster_is(fence, incarnation, api::ClusterState::Ready).await
    }

    pub(crate) async fn cluster_is(
        &self,
        fence: &EpochFence,
        incarnation: Incarnation,
        state: api::ClusterState,
    ) -> Answer<()> {
        let request = jobgraph::RecordClusterRequest {
            incarnation: incarnation.get(),
            state: state.into(),
            jobs_endpoint: "unix:/jobs".into(),
            ..Default::default()
        };
        self.record().record_cluster(fence, request).await.map_err(why)
    }

    pub(crate) async fn main_starting(&self, fence: &EpochFence, tether: &str) -> Answer<()> {
        self.record().main_starting(fence, tether).await.map_err(why)
    }

    pub(crate) async fn main_running(&self, fence: &EpochFence, pid: u32) -> Answer<()> {
        self.record().main_running(fence, pid).await.map_err(why)
    }

    pub(crate) async fn main_ended(&self, fence: &EpochFence, code: i32) -> Answer<()> {
        let exit = MainExit { code: Some(code), ..MainExit::default() };
        self.record().main_ended(fence, MainEnd { exit, ..MainEnd::default() }).await.map_err(why)
    }

    pub(crate) async fn put_graph(
        &self,
        fence: &EpochFence,
        request: jobgraph::PutJobGraphRequest,
    ) -> Answer<jobgraph::PutJobGraphResponse> {
        self.record().put_job_graph(fence, request).await.map_err(why)
    }

    pub(crate) async fn submitted(
        &self,
        fence: &EpochFence,
        job: JobId,
        incarnation: Incarnation,
    ) -> Answer<()> {
        self.record().job_submitted(fence, job, incarnation).await.map_err(why)
    }

    pub(crate) async fn job_ended(
        &self,
        fence: &IncarnationFence,
        job: JobId,
        end: job::JobEnd,
    ) -> Answer<(bool, job::JobEnd)> {
        let standing = self.record().job_ended(fence, job, end).await.map_err(why)?;
        Ok((standing.recorded, standing.stands))
    }

    pub(crate) async fn leader_ended(
        &self,
        fence: &EpochFence,
        job: JobId,
        end: job::JobEnd,
    ) -> Answer<(bool, job::JobEnd)> {
        let standing = self.record().leader_job_ended(fence, job, end).await.map_err(why)?;
        Ok((standing.recorded, standing.stands))
    }

    /// Answers whether the job has ended, the checkpoints that are kept, and the next id.
    pub(crate) async fn checkpoints(
        &self,
        fence: &IncarnationFence,
        job: JobId,
    ) -> Answer<(bool, Vec<job::Checkpoint>, u64)> {
        let resume = self.record().read_checkpoints(fence, job).await.map_err(why)?;
        Ok((resume.ended, resume.checkpoints, resume.next_checkpoint_id))
    }

    pub(crate) async fn add_checkpoint(
        &self,
        fence: &IncarnationFence,
        job: JobId,
        kept: job::Checkpoint,
    ) -> Answer<()> {
        self.record().add_checkpoint(fence, job, kept).await.map_err(why)
    }

    pub(crate) async fn remove_checkpoint(
        &self,
        fence: &IncarnationFence,
        job: JobId,
        id: u64,
    ) -> Answer<()> {
        self.record().remove_checkpoint(fence, job, id).await.map_err(why)
    }

    pub(crate) async fn advance_checkpoint_id(
        &self,
        fence: &IncarnationFence,
        job: JobId,
        next: u64,
    ) -> Answer<u64> {
        self.record().advance_checkpoint_id(fence, job, next).await.map_err(why)
    }

    /// Answers whether this result was recorded, and the pointer that stands.
    pub(crate) async fn savepoint_settled(
        &self,
        fence: &EpochFence,
        job: JobId,
        trigger: TriggerId,
        pointer: &str,
    ) -> Answer<(bool, String)> {
        let trigger_id = trigger.to_string();
        let savepoint =
            job::Savepoint { trigger_id, pointer: pointer.into(), ..Default::default() };
        let settled = self.record().savepoint_settled(fence, job, savepoint).await.map_err(why)?;
        Ok((settled.recorded, settled.stands.pointer))
    }

    /// Answers the savepoint that the cluster is to stop the job with.
    pub(crate) async fn stopping(&self, fence: &IncarnationFence, job: JobId) -> Answer<String> {
        Ok(self.record().read_checkpoints(fence, job).await.map_err(why)?.stop_trigger_id)
    }

    pub(crate) async fn published(&self, fence: &EpochFence, job: JobId) -> Answer<()> {
        self.record().published(fence, job).await.map_err(why)
    }

    pub(crate) async fn end(
        &self,
        fence: &EpochFence,
        outcome: api::Outcome,
        desired: u64,
    ) -> Answer<api::Outcome> {
        let end = ApplicationEnd { outcome, ..ApplicationEnd::default() };
        Ok(self.record().end(fence, end, desired).await.map_err(why)?.outcome)
    }

    pub(crate) async fn mark_clean(&self, fence: &EpochFence) -> Answer<()> {
        self.record().mark_clean(fence, Vec::new()).await.map_err(why)
    }

    pub(crate) async fn journal(
        &self,
        fence: &EpochFence,
        key: &str,
        value: Option<Bytes>,
    ) -> Answer<(Option<Bytes>, bool)> {
        let step = self.record().journal(fence, key, value).await.map_err(why)?;
        Ok((step.value, step.found))
    }

    pub(crate) async fn append_event(&self, fence: &EpochFence, message: &str) -> Answer<()> {
        let event =
            api::Event { kind: "warning".into(), message: message.into(), ..Default::default() };
        self.record().append_events(fence, vec![event], Vec::new()).await.map_err(why)
    }
}
