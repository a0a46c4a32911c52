//! The clients that everybody uses ask, through a socket.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chassis::channel::connect;
use chassis::clock::{SharedClock, SystemClock};
use chassis::credential::{DeploymentKey, Principal};
use chassis::server::{Authenticator, Limits, Serve};
use chassis::tasks::Shutdown;
use chassis::transport::{Endpoint, OsTransport, SharedTransport};
use client::applications::Applications;
use client::error::CallError;
use client::payloads::Payloads;
use client::record::Record;
use futures::TryStreamExt as _;
use proto::{
    ApplicationRef, Digest, EpochFence, Incarnation, IncarnationFence, JobId, Reason, TriggerId, api, job,
    jobgraph,
};

use super::{Answer, Face, event, ready, savepoint};
use crate::blobs::Blobs;
use crate::service::Service;
use crate::store::Metadata;

/// The clients, and the server that they call.
pub(crate) struct Wired {
    applications: Applications,
    record: Record,
    payloads: Payloads,
    shutdown: Shutdown,
    _directory: tempfile::TempDir,
}

impl Wired {
    pub(crate) async fn new(metadata: Arc<dyn Metadata>, blobs: Arc<dyn Blobs>) -> Self {
        let clock: SharedClock = Arc::new(SystemClock);
        let transport: SharedTransport = Arc::new(OsTransport);
        let directory = tempfile::tempdir().expect("a temporary directory");
        let endpoint = Endpoint::Unix(directory.path().join("store.sock"));
        let key = DeploymentKey::generate();
        let shutdown = Shutdown::new();
        let server = chassis::server::bind(Serve {
            name: "jobgraph-store",
            endpoints: vec![endpoint.clone()],
            transport: transport.clone(),
            clock: clock.clone(),
            authenticator: Authenticator::new(key.clone()),
            routes: crate::grpc::routes(&Service::new(metadata, blobs, clock.clone()), &key),
            shutdown: shutdown.clone(),
            limits: Limits::default(),
        });
        tokio::spawn(server.await.expect("a free socket").run());
        let channel = connect(transport, clock, endpoint, Some(key.mint(&Principal::Deployment)));
        Self {
            applications: Applications::new(channel.clone()),
            record: Record::new(channel.clone()),
            payloads: Payloads::new(channel),
            shutdown,
            _directory: directory,
        }
    }
}

impl Drop for Wired {
    fn drop(&mut self) {
        self.shutdown.begin();
    }
}

fn said(error: CallError) -> Reason {
    error.reason().unwrap_or_else(|| panic!("no reason in {error:?}"))
}

#[async_trait]
impl Face for Wired {
    async fn submit(&self, request: api::SubmitRequest) -> Answer<api::SubmitResponse> {
        self.applications.submit(request).await.map_err(said)
    }

    async fn get(&self, application: &ApplicationRef) -> Answer<api::Application> {
        self.applications.get(&application.id, Some(application.generation)).await.map_err(said)
    }

    async fn list(&self, request: api::ListRequest) -> Answer<api::ListResponse> {
        self.applications.list(request).await.map_err(said)
    }

    async fn cancel(&self, application: &ApplicationRef) -> Answer<bool> {
        let cancel =
            self.applications.cancel(&application.id, Some(application.generation), "enough", "me@here");
        Ok(cancel.await.map_err(said)?.1)
    }

    async fn abandon(&self, application: &ApplicationRef) -> Answer<()> {
        let abandon =
            self.applications.abandon(&application.id, Some(application.generation), "enough", "me@here");
        abandon.await.map_err(said)?;
        Ok(())
    }

    async fn forget(&self, application: &ApplicationRef, seen_revision: u64) -> Answer<bool> {
        let forget = self.applications.forget(&application.id, application.generation, seen_revision, false);
        Ok(forget.await.map_err(said)?.forgotten_earlier)
    }

    async fn events(&self, application: &ApplicationRef) -> Answer<Vec<api::Event>> {
        let (application_id, generation) = (application.id.to_string(), application.generation.get());
        let request = api::EventsRequest { application_id, generation, ..Default::default() };
        self.applications.events(request).await.map_err(said)?.try_collect().await.map_err(said)
    }

    async fn begin_attempt(
        &self,
        fence: &EpochFence,
        holder: &str,
    ) -> Answer<jobgraph::BeginAttemptResponse> {
        self.record.begin_attempt(fence, holder, 1, "").await.map_err(said)
    }

    async fn pin(
        &self,
        fence: &EpochFence,
        artifacts: Vec<api::PinnedArtifact>,
    ) -> Answer<Vec<api::PinnedArtifact>> {
        self.record.pin_artifacts(fence, artifacts).await.map_err(said)
    }

    async fn begin_cluster(
        &self,
        fence: &EpochFence,
        request_id: &str,
    ) -> Answer<jobgraph::BeginClusterResponse> {
        let request = jobgraph::BeginClusterRequest { request_id: request_id.into(), ..Default::default() };
        self.record.begin_cluster(fence, request).await.map_err(said)
    }

    async fn cluster_ready(&self, fence: &EpochFence, incarnation: Incarnation) -> Answer<()> {
        self.record.record_cluster(fence, ready(incarnation)).await.map_err(said)
    }

    async fn main_starting(&self, fence: &EpochFence, tether: &str) -> Answer<()> {
        self.record.main_starting(fence, tether).await.map_err(said)
    }

    async fn main_running(&self, fence: &EpochFence, pid: u32) -> Answer<()> {
        self.record.main_running(fence, pid).await.map_err(said)
    }

    async fn main_ended(&self, fence: &EpochFence, code: i32) -> Answer<()> {
        let exit = client::record::MainExit { code: Some(code), ..Default::default() };
        self.record.main_ended(fence, exit, "").await.map_err(said)
    }

    async fn put_graph(
        &self,
        fence: &EpochFence,
        request: jobgraph::PutJobGraphRequest,
    ) -> Answer<jobgraph::PutJobGraphResponse> {
        self.record.put_job_graph(fence, request).await.map_err(said)
    }

    async fn submitted(&self, fence: &EpochFence, job: JobId, incarnation: Incarnation) -> Answer<()> {
        self.record.job_submitted(fence, job, incarnation).await.map_err(said)
    }

    async fn job_ended(
        &self,
        fence: &IncarnationFence,
        job: JobId,
        end: job::JobEnd,
    ) -> Answer<(bool, job::JobEnd)> {
        let standing = self.record.job_ended(fence, job, end).await.map_err(said)?;
        Ok((standing.recorded, standing.end))
    }

    async fn leader_ended(
        &self,
        fence: &EpochFence,
        job: JobId,
        end: job::JobEnd,
    ) -> Answer<(bool, job::JobEnd)> {
        let standing = self.record.leader_job_ended(fence, job, end).await.map_err(said)?;
        Ok((standing.recorded, standing.end))
    }

    async fn checkpoints(
        &self,
        fence: &IncarnationFence,
        job: JobId,
    ) -> Answer<(bool, Vec<job::Checkpoint>, u64)> {
        let resume = self.record.read_checkpoints(fence, job).await.map_err(said)?;
        Ok((resume.ended, resume.checkpoints, resume.next_checkpoint_id))
    }

    async fn add_checkpoint(
        &self,
        fence: &IncarnationFence,
        job: JobId,
        kept: job::Checkpoint,
    ) -> Answer<()> {
        self.record.add_checkpoint(fence, job, kept).await.map_err(said)
    }

    async fn remove_checkpoint(&self, fence: &IncarnationFence, job: JobId, id: u64) -> Answer<()> {
        self.record.remove_checkpoint(fence, job, id).await.map_err(said)
    }

    async fn advance_checkpoint_id(&self, fence: &IncarnationFence, job: JobId, next: u64) -> Answer<u64> {
        self.record.advance_checkpoint_id(fence, job, next).await.map_err(said)
    }

    async fn ask_for_savepoints(
        &self,
        application: &ApplicationRef,
        request_id: &str,
        job: &str,
        stop: bool,
    ) -> Answer<bool> {
        let (application_id, generation) = (application.id.to_string(), application.generation.get());
        let request_id = request_id.to_owned();
        let answer = if stop {
            // A stop is of all jobs: of one it is other content than any of these.
            let request = api::StopRequest { application_id, generation, request_id, ..Default::default() };
            self.applications.stop(request).await
        } else {
            let job = job.to_owned();
            let request = api::RequestSavepointRequest {
                application_id,
                generation,
                request_id,
                job,
                ..Default::default()
            };
            self.applications.request_savepoint(request).await
        };
        Ok(answer.map_err(said)?.1)
    }

    async fn ask_at(&self, application: &ApplicationRef, request_id: &str, directory: &str) -> Answer<bool> {
        let request = api::RequestSavepointRequest {
            application_id: application.id.to_string(),
            generation: application.generation.get(),
            request_id: request_id.to_owned(),
            directory: directory.to_owned(),
            ..Default::default()
        };
        Ok(self.applications.request_savepoint(request).await.map_err(said)?.1)
    }

    async fn savepoint_settled(
        &self,
        fence: &EpochFence,
        job: JobId,
        trigger: TriggerId,
        pointer: &str,
    ) -> Answer<(bool, String)> {
        let settled = self.record.savepoint_settled(fence, job, savepoint(trigger, pointer)).await;
        let (recorded, stands) = settled.map_err(said)?;
        Ok((recorded, stands.pointer))
    }

    async fn stopping(&self, fence: &IncarnationFence, job: JobId) -> Answer<String> {
        Ok(self.record.read_checkpoints(fence, job).await.map_err(said)?.stop_trigger_id)
    }

    async fn published(&self, fence: &EpochFence, job: JobId) -> Answer<()> {
        self.record.published(fence, job).await.map_err(said)
    }

    async fn end(&self, fence: &EpochFence, outcome: api::Outcome, desired: u64) -> Answer<api::Outcome> {
        Ok(self.record.end(fence, outcome, "", "", desired).await.map_err(said)?.outcome())
    }

    async fn mark_clean(&self, fence: &EpochFence) -> Answer<()> {
        self.record.mark_clean(fence, Vec::new()).await.map_err(said)
    }

    async fn journal(
        &self,
        fence: &EpochFence,
        key: &str,
        value: Option<Bytes>,
    ) -> Answer<(Option<Bytes>, bool)> {
        let answer = self.record.journal(fence, key, value).await.map_err(said)?;
        Ok((answer.value, answer.found))
    }

    async fn append_event(&self, fence: &EpochFence, message: &str) -> Answer<()> {
        self.record.append_events(fence, vec![event(message)], vec![]).await.map_err(said)
    }

    async fn put_payload(&self, bytes: Bytes) -> Answer<bool> {
        self.payloads.put_bytes(Digest::of(&bytes), bytes).await.map_err(said)
    }

    async fn read_payload(&self, digest: Digest) -> Answer<Bytes> {
        self.payloads.get_bytes(digest, usize::MAX).await.map_err(said)
    }
}
