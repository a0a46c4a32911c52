//! The second implementation of [`Record`], which asks the store over the wire.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chassis::MAX_MESSAGE_BYTES;
use chassis::channel::GrpcChannel;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use proto::job::{Checkpoint, JobEnd, Savepoint};
use proto::jobgraph::record_service_client::RecordServiceClient;
use proto::{
    ApplicationRef, EpochFence, Incarnation, IncarnationFence, InvalidId, JobId, Place, Problem,
    Reason, api, jobgraph,
};
use record::{
    Answer, ApplicationEnd, Beats, ClusterRefused, Confirmed, EndRefused, GraphRefused, Holder,
    MainEnd, PinRefused, Record, Records, Standing,
};

use crate::boxed::Boxed;

/// How long a call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Client of the record; cheap to clone.
#[derive(Debug, Clone)]
pub struct RecordClient {
    inner: RecordServiceClient<GrpcChannel>,
}

impl RecordClient {
    /// A client over a channel that carries the credential of a contender, a cluster or the
    /// deployment.
    pub fn new(channel: GrpcChannel) -> Self {
        let inner = RecordServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Self { inner }
    }

    fn service(&self) -> RecordServiceClient<GrpcChannel> {
        self.inner.clone()
    }
}

fn call<T>(request: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(request);
    request.set_timeout(CALL_TIMEOUT);
    request
}

#[async_trait]
impl Record for RecordClient {
    async fn read(&self, application: &ApplicationRef) -> Answer<jobgraph::Record> {
        let request = jobgraph::ReadRecordRequest { application: Some(application.clone().into()) };
        Ok(self.service().read_record(call(request)).await?.into_inner().record.unwrap_or_default())
    }

    async fn watch(&self, application: &ApplicationRef) -> Answer<Records> {
        let request =
            jobgraph::WatchRecordRequest { application: Some(application.clone().into()) };
        let answers = self.service().watch_record(request).await?.into_inner();
        Ok(answers.map(|answer| Ok(answer?.record.unwrap_or_default())).boxed())
    }

    async fn begin_attempt(
        &self,
        fence: &EpochFence,
        holder: &Holder,
        cause: &str,
    ) -> Answer<jobgraph::BeginAttemptResponse> {
        let request = jobgraph::BeginAttemptRequest {
            fence: Some(fence.clone().into()),
            holder: holder.name.clone(),
            holder_pid: holder.pid,
            cause: cause.to_owned(),
            place: holder.place.clone().map(Into::into),
        };
        Ok(self.service().begin_attempt(call(request)).await?.into_inner())
    }

    async fn pin_artifacts(
        &self,
        fence: &EpochFence,
        artifacts: Vec<api::PinnedArtifact>,
    ) -> Answer<Vec<api::PinnedArtifact>, PinRefused> {
        let request =
            jobgraph::PinArtifactsRequest { fence: Some(fence.clone().into()), artifacts };
        Ok(self.service().pin_artifacts(call(request)).await?.into_inner().artifacts)
    }

    async fn begin_cluster(
        &self,
        fence: &EpochFence,
        mut request: jobgraph::BeginClusterRequest,
    ) -> Answer<jobgraph::BeginClusterResponse, ClusterRefused> {
        request.fence = Some(fence.clone().into());
        Ok(self.service().begin_cluster(call(request)).await?.into_inner())
    }

    async fn record_cluster(
        &self,
        fence: &EpochFence,
        mut request: jobgraph::RecordClusterRequest,
    ) -> Answer<()> {
        request.fence = Some(fence.clone().into());
        self.service().record_cluster(call(request)).await?;
        Ok(())
    }

    async fn main_starting(&self, fence: &EpochFence, tether_endpoint: &str) -> Answer<()> {
        let fence = Some(fence.clone().into());
        let request =
            jobgraph::MainStartingRequest { fence, tether_endpoint: tether_endpoint.to_owned() };
        self.service().main_starting(call(request)).await?;
        Ok(())
    }

    async fn main_running(&self, fence: &EpochFence, pid: u32) -> Answer<()> {
        let request = jobgraph::RecordMainRequest {
            fence: Some(fence.clone().into()),
            pid,
            ..Default::default()
        };
        self.service().record_main(call(request)).await?;
        Ok(())
    }

    async fn main_ended(&self, fence: &EpochFence, end: MainEnd) -> Answer<()> {
        let MainEnd { exit, stderr_tail, kills } = end;
        let request = jobgraph::RecordMainRequest {
            fence: Some(fence.clone().into()),
            pid: 0,
            ended: true,
            exit_code: exit.code,
            signal: exit.signal,
            signal_sender: exit.signal_sender,
            stderr_tail,
            kills,
        };
        self.service().record_main(call(request)).await?;
        Ok(())
    }

    async fn find_job(
        &self,
        fence: &EpochFence,
        mut request: jobgraph::FindJobRequest,
    ) -> Answer<JobId> {
        request.fence = Some(fence.clone().into());
        let answer = self.service().find_job(call(request)).await?.into_inner();
        let malformed = |invalid: InvalidId| Problem::new(Reason::Internal, invalid.to_string());
        Ok(answer.job_id.parse().map_err(malformed)?)
    }

    async fn put_job_graph(
        &self,
        fence: &EpochFence,
        mut request: jobgraph::PutJobGraphRequest,
    ) -> Answer<jobgraph::PutJobGraphResponse, GraphRefused> {
        request.fence = Some(fence.clone().into());
        Ok(self.service().put_job_graph(call(request)).await?.into_inner())
    }

    async fn job_submitted(
        &self,
        fence: &EpochFence,
        job: JobId,
        incarnation: Incarnation,
    ) -> Answer<()> {
        let request = jobgraph::RecordJobSubmittedRequest {
            fence: Some(fence.clone().into()),
            job_id: job.to_string(),
            incarnation: incarnation.get(),
        };
        self.service().record_job_submitted(call(request)).await?;
        Ok(())
    }

    async fn job_ended(
        &self,
        fence: &IncarnationFence,
        job: JobId,
        end: JobEnd,
    ) -> Answer<Standing<JobEnd>> {
        let request = jobgraph::RecordJobEndRequest {
            fence: Some(fence.clone().into()),
            job_id: job.to_string(),
            end: Some(end),
        };
        let answer = self.service().record_job_end(call(request)).await?.into_inner();
        Ok(Standing { recorded: answer.recorded, stands: answer.end.unwrap_or_default() })
    }

    async fn leader_job_ended(
        &self,
        fence: &EpochFence,
        job: JobId,
        end: JobEnd,
    ) -> Answer<Standing<JobEnd>> {
        let request = jobgraph::RecordLeaderJobEndRequest {
            fence: Some(fence.clone().into()),
            job_id: job.to_string(),
            end: Some(end),
        };
        let answer = self.service().record_leader_job_end(call(request)).await?.into_inner();
        Ok(Standing { recorded: answer.recorded, stands: answer.end.unwrap_or_default() })
    }

    async fn read_checkpoints(
        &self,
        fence: &IncarnationFence,
        job: JobId,
    ) -> Answer<jobgraph::ReadCheckpointsResponse> {
        let fence = Some(fence.clone().into());
        let request = jobgraph::ReadCheckpointsRequest { fence, job_id: job.to_string() };
        Ok(self.service().read_checkpoints(call(request)).await?.into_inner())
    }

    async fn add_checkpoint(
        &self,
        fence: &IncarnationFence,
        job: JobId,
        checkpoint: Checkpoint,
    ) -> Answer<()> {
        let request = jobgraph::AddCheckpointRequest {
            fence: Some(fence.clone().into()),
            job_id: job.to_string(),
            checkpoint: Some(checkpoint),
        };
        self.service().add_checkpoint(call(request)).await?;
        Ok(())
    }

    async fn remove_checkpoint(
        &self,
        fence: &IncarnationFence,
        job: JobId,
        checkpoint_id: u64,
    ) -> Answer<()> {
        let fence = Some(fence.clone().into());
        let request =
            jobgraph::RemoveCheckpointRequest { fence, job_id: job.to_string(), checkpoint_id };
        self.service().remove_checkpoint(call(request)).await?;
        Ok(())
    }

    async fn advance_checkpoint_id(
        &self,
        fence: &IncarnationFence,
        job: JobId,
        next_checkpoint_id: u64,
    ) -> Answer<u64> {
        let (fence, job_id) = (Some(fence.clone().into()), job.to_string());
        let request = jobgraph::AdvanceCheckpointIdRequest { fence, job_id, next_checkpoint_id };
        let answer = self.service().advance_checkpoint_id(call(request)).await?.into_inner();
        Ok(answer.next_checkpoint_id)
    }

    async fn request_savepoint(
        &self,
        fence: &EpochFence,
        wish: api::SavepointWish,
    ) -> Answer<bool> {
        let request = jobgraph::RequestSavepointRequest {
            fence: Some(fence.clone().into()),
            wish: Some(wish),
        };
        Ok(self.service().request_savepoint(call(request)).await?.into_inner().accepted_earlier)
    }

    async fn savepoint_settled(
        &self,
        fence: &EpochFence,
        job: JobId,
        savepoint: Savepoint,
    ) -> Answer<Standing<Savepoint>> {
        let request = jobgraph::RecordSavepointRequest {
            fence: Some(fence.clone().into()),
            job_id: job.to_string(),
            savepoint: Some(savepoint),
        };
        let answer = self.service().record_savepoint(call(request)).await?.into_inner();
        Ok(Standing { recorded: answer.recorded, stands: answer.savepoint.unwrap_or_default() })
    }

    async fn published(&self, fence: &EpochFence, job: JobId) -> Answer<()> {
        let fence = Some(fence.clone().into());
        let request = jobgraph::RecordPublishedRequest { fence, job_id: job.to_string() };
        self.service().record_published(call(request)).await?;
        Ok(())
    }

    async fn end(
        &self,
        fence: &EpochFence,
        end: ApplicationEnd,
        desired_revision: u64,
    ) -> Answer<ApplicationEnd, EndRefused> {
        let request = jobgraph::RecordApplicationEndRequest {
            fence: Some(fence.clone().into()),
            outcome: end.outcome.into(),
            reason: end.reason,
            message: end.message,
            desired_revision,
        };
        let stands = self.service().record_application_end(call(request)).await?.into_inner();
        let outcome = stands.outcome();
        Ok(ApplicationEnd { outcome, reason: stands.reason, message: stands.message })
    }

    async fn mark_clean(&self, fence: &EpochFence, leftovers: Vec<String>) -> Answer<()> {
        let request = jobgraph::MarkCleanRequest { fence: Some(fence.clone().into()), leftovers };
        self.service().mark_clean(call(request)).await?;
        Ok(())
    }

    async fn journal(
        &self,
        fence: &EpochFence,
        key: &str,
        value: Option<Bytes>,
    ) -> Answer<jobgraph::JournalResponse> {
        let fence = Some(fence.clone().into());
        let request = jobgraph::JournalRequest { fence, key: key.to_owned(), value };
        Ok(self.service().journal(call(request)).await?.into_inner())
    }

    async fn append_events(
        &self,
        fence: &EpochFence,
        events: Vec<api::Event>,
        conditions: Vec<api::Condition>,
    ) -> Answer<()> {
        let request =
            jobgraph::AppendEventsRequest { fence: Some(fence.clone().into()), events, conditions };
        self.service().append_events(call(request)).await?;
        Ok(())
    }

    async fn beat(
        &self,
        fence: &EpochFence,
        beats: BoxStream<'static, jobgraph::BeatRequest>,
    ) -> Answer<Beats> {
        let fence = fence.clone();
        let beats = beats
            .map(move |beat| jobgraph::BeatRequest { fence: Some(fence.clone().into()), ..beat });
        let answers = self.service().beat(Boxed(beats.boxed())).await?.into_inner();
        Ok(answers.map(|answer| Ok(answer?.holds)).boxed())
    }

    async fn confirm_epoch(&self, fence: &EpochFence) -> Answer<Confirmed> {
        let request = jobgraph::ConfirmEpochRequest { fence: Some(fence.clone().into()) };
        let answer = self.service().confirm_epoch(call(request)).await?.into_inner();
        let (holds, current) = (answer.holds, answer.current_epoch);
        Ok(Confirmed { holds, current, ..Confirmed::default() })
    }

    async fn confirm_incarnation(&self, fence: &IncarnationFence) -> Answer<Confirmed> {
        let request = jobgraph::ConfirmIncarnationRequest { fence: Some(fence.clone().into()) };
        let answer = self.service().confirm_incarnation(call(request)).await?.into_inner();
        let malformed = |invalid: InvalidId| Problem::new(Reason::Internal, invalid.to_string());
        Ok(Confirmed {
            holds: answer.current,
            current: answer.current_incarnation,
            place: Place::read(answer.place).map_err(malformed)?,
            application_ended: answer.application_ended,
            leader_place: Place::read(answer.leader_place).map_err(malformed)?,
        })
    }
}
