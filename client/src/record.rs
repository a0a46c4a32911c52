//! The fenced record, as leaders and clusters write it. Every write may be repeated after a lost answer: the answer is the
//! same and nothing changes. Nothing is retried here, because only the caller knows until when it may act.

use std::time::Duration;

use bytes::Bytes;
use chassis::MAX_MESSAGE_BYTES;
use chassis::channel::GrpcChannel;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use proto::job::{Checkpoint, JobEnd, Savepoint};
use proto::jobgraph::record_service_client::RecordServiceClient;
use proto::jobgraph::{
    AddCheckpointRequest, AdvanceCheckpointIdRequest, AppendEventsRequest, BeatRequest, BeginAttemptRequest,
    BeginAttemptResponse, BeginClusterRequest, BeginClusterResponse, ConfirmEpochRequest,
    ConfirmIncarnationRequest, FindJobRequest, JournalRequest, JournalResponse, MainStartingRequest,
    MarkCleanRequest, PinArtifactsRequest, PutJobGraphRequest, PutJobGraphResponse, ReadCheckpointsRequest,
    ReadCheckpointsResponse, ReadRecordRequest, Record as FullRecord, RecordApplicationEndRequest,
    RecordApplicationEndResponse, RecordClusterRequest, RecordJobEndRequest, RecordJobSubmittedRequest,
    RecordLeaderJobEndRequest, RecordMainRequest, RecordPublishedRequest, RecordSavepointRequest,
    RemoveCheckpointRequest, RequestSavepointRequest, WatchRecordRequest,
};
use proto::{ApplicationRef, EpochFence, Incarnation, IncarnationFence, JobId, api};

use crate::error::CallError;

/// How long a call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Client of the record; cheap to clone.
#[derive(Debug, Clone)]
pub struct Record {
    inner: RecordServiceClient<GrpcChannel>,
}

/// The end of a job that stands, and whether it is the one that was given.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// This end was recorded, now or by an earlier call with the same content.
    pub recorded: bool,
    /// The end that stands.
    pub end: JobEnd,
}

/// Whether a fence holds, and the number that does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confirmed {
    /// It is the current one.
    pub holds: bool,
    /// The current one.
    pub current: u64,
}

/// How main() ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MainExit {
    /// Its code, if it exited.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Who sent that, for people; empty where nobody knows.
    pub signal_sender: String,
}

fn call<T>(request: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(request);
    request.set_timeout(CALL_TIMEOUT);
    request
}

impl Record {
    /// A client over a channel that carries the credential of a leader (the deployment's), a cluster or an attempt.
    pub fn new(channel: GrpcChannel) -> Self {
        let inner = RecordServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Self { inner }
    }

    /// The record of one generation now.
    pub async fn read(&self, application: &ApplicationRef) -> Result<FullRecord, CallError> {
        let request = ReadRecordRequest { application: Some(application.clone().into()) };
        Ok(self.inner.clone().read_record(call(request)).await?.into_inner().record.unwrap_or_default())
    }

    /// The record now and again after each change; ends when the generation is clean.
    pub async fn watch(
        &self,
        application: &ApplicationRef,
    ) -> Result<impl Stream<Item = Result<FullRecord, CallError>> + Send + Unpin + use<>, CallError> {
        let request = WatchRecordRequest { application: Some(application.clone().into()) };
        let answers = self.inner.clone().watch_record(request).await?.into_inner();
        Ok(answers.map(|answer| Ok(answer?.record.unwrap_or_default())))
    }

    /// The first write of a leader: from its return no lower epoch commits.
    pub async fn begin_attempt(
        &self,
        fence: &EpochFence,
        holder: &str,
        holder_pid: u32,
        cause: &str,
    ) -> Result<BeginAttemptResponse, CallError> {
        let request = BeginAttemptRequest {
            fence: Some(fence.clone().into()),
            holder: holder.to_owned(),
            holder_pid,
            cause: cause.to_owned(),
        };
        Ok(self.inner.clone().begin_attempt(call(request)).await?.into_inner())
    }

    /// Pins what is not pinned yet; answers all that is pinned: the record wins.
    pub async fn pin_artifacts(
        &self,
        fence: &EpochFence,
        artifacts: Vec<api::PinnedArtifact>,
    ) -> Result<Vec<api::PinnedArtifact>, CallError> {
        let request = PinArtifactsRequest { fence: Some(fence.clone().into()), artifacts };
        Ok(self.inner.clone().pin_artifacts(call(request)).await?.into_inner().artifacts)
    }

    /// A new incarnation; the request's fence is filled in.
    pub async fn begin_cluster(
        &self,
        fence: &EpochFence,
        mut request: BeginClusterRequest,
    ) -> Result<BeginClusterResponse, CallError> {
        request.fence = Some(fence.clone().into());
        Ok(self.inner.clone().begin_cluster(call(request)).await?.into_inner())
    }

    /// What became of the current incarnation; the request's fence is filled in.
    pub async fn record_cluster(
        &self,
        fence: &EpochFence,
        mut request: RecordClusterRequest,
    ) -> Result<(), CallError> {
        request.fence = Some(fence.clone().into());
        self.inner.clone().record_cluster(call(request)).await?;
        Ok(())
    }

    /// main() is about to be started under this tether.
    pub async fn main_starting(&self, fence: &EpochFence, tether_endpoint: &str) -> Result<(), CallError> {
        let fence = Some(fence.clone().into());
        let request = MainStartingRequest { fence, tether_endpoint: tether_endpoint.to_owned() };
        self.inner.clone().main_starting(call(request)).await?;
        Ok(())
    }

    /// main() runs.
    pub async fn main_running(&self, fence: &EpochFence, pid: u32) -> Result<(), CallError> {
        let request = RecordMainRequest { fence: Some(fence.clone().into()), pid, ..Default::default() };
        self.inner.clone().record_main(call(request)).await?;
        Ok(())
    }

    /// main() has ended; the first recorded end of an execution stays. `stderr_tail`: its last lines, at most 4 KiB.
    pub async fn main_ended(
        &self,
        fence: &EpochFence,
        exit: MainExit,
        stderr_tail: &str,
    ) -> Result<(), CallError> {
        self.main_gone(fence, exit, stderr_tail, 0).await
    }

    /// Somebody else has killed main(), and it is executed again. `kills`: how often in this generation, this time included.
    pub async fn main_killed(
        &self,
        fence: &EpochFence,
        exit: MainExit,
        stderr_tail: &str,
        kills: u32,
    ) -> Result<(), CallError> {
        self.main_gone(fence, exit, stderr_tail, kills).await
    }

    async fn main_gone(
        &self,
        fence: &EpochFence,
        exit: MainExit,
        stderr_tail: &str,
        kills: u32,
    ) -> Result<(), CallError> {
        let request = RecordMainRequest {
            fence: Some(fence.clone().into()),
            pid: 0,
            ended: true,
            exit_code: exit.code,
            signal: exit.signal,
            stderr_tail: stderr_tail.to_owned(),
            signal_sender: exit.signal_sender,
            kills,
        };
        self.inner.clone().record_main(call(request)).await?;
        Ok(())
    }

    /// Which job a call will be for; the request's fence is filled in.
    pub async fn find_job(
        &self,
        fence: &EpochFence,
        mut request: FindJobRequest,
    ) -> Result<JobId, CallError> {
        request.fence = Some(fence.clone().into());
        let answer = self.inner.clone().find_job(call(request)).await?.into_inner();
        answer
            .job_id
            .parse()
            .map_err(|error: proto::InvalidId| tonic::Status::internal(error.to_string()).into())
    }

    /// Keeps a job's graph under its static id if it has none; the request's fence is filled in.
    pub async fn put_job_graph(
        &self,
        fence: &EpochFence,
        mut request: PutJobGraphRequest,
    ) -> Result<PutJobGraphResponse, CallError> {
        request.fence = Some(fence.clone().into());
        Ok(self.inner.clone().put_job_graph(call(request)).await?.into_inner())
    }

    /// The job was given to this incarnation.
    pub async fn job_submitted(
        &self,
        fence: &EpochFence,
        job: JobId,
        incarnation: Incarnation,
    ) -> Result<(), CallError> {
        let request = RecordJobSubmittedRequest {
            fence: Some(fence.clone().into()),
            job_id: job.to_string(),
            incarnation: incarnation.get(),
        };
        self.inner.clone().record_job_submitted(call(request)).await?;
        Ok(())
    }

    /// The cluster's word that a job ended: the commit point of its output.
    pub async fn job_ended(
        &self,
        fence: &IncarnationFence,
        job: JobId,
        end: JobEnd,
    ) -> Result<Standing, CallError> {
        let request = RecordJobEndRequest {
            fence: Some(fence.clone().into()),
            job_id: job.to_string(),
            end: Some(end),
        };
        let answer = self.inner.clone().record_job_end(call(request)).await?.into_inner();
        Ok(Standing { recorded: answer.recorded, end: answer.end.unwrap_or_default() })
    }

    /// What a job resumes from: its kept checkpoints, the counter of their ids, and whether it has ended.
    pub async fn read_checkpoints(
        &self,
        fence: &IncarnationFence,
        job: JobId,
    ) -> Result<ReadCheckpointsResponse, CallError> {
        let request = ReadCheckpointsRequest { fence: Some(fence.clone().into()), job_id: job.to_string() };
        Ok(self.inner.clone().read_checkpoints(call(request)).await?.into_inner())
    }

    /// Keeps a checkpoint's pointer: the next incarnation resumes from it.
    pub async fn add_checkpoint(
        &self,
        fence: &IncarnationFence,
        job: JobId,
        checkpoint: Checkpoint,
    ) -> Result<(), CallError> {
        let request = AddCheckpointRequest {
            fence: Some(fence.clone().into()),
            job_id: job.to_string(),
            checkpoint: Some(checkpoint),
        };
        self.inner.clone().add_checkpoint(call(request)).await?;
        Ok(())
    }

    /// Forgets a checkpoint, if it is kept: only after this returned may its files be discarded.
    pub async fn remove_checkpoint(
        &self,
        fence: &IncarnationFence,
        job: JobId,
        checkpoint_id: u64,
    ) -> Result<(), CallError> {
        let fence = Some(fence.clone().into());
        let request = RemoveCheckpointRequest { fence, job_id: job.to_string(), checkpoint_id };
        self.inner.clone().remove_checkpoint(call(request)).await?;
        Ok(())
    }

    /// Raises the counter of checkpoint ids; answers the one that stands, which is never lower than it was.
    pub async fn advance_checkpoint_id(
        &self,
        fence: &IncarnationFence,
        job: JobId,
        next_checkpoint_id: u64,
    ) -> Result<u64, CallError> {
        let fence = Some(fence.clone().into());
        let request = AdvanceCheckpointIdRequest { fence, job_id: job.to_string(), next_checkpoint_id };
        Ok(self.inner.clone().advance_checkpoint_id(call(request)).await?.into_inner().next_checkpoint_id)
    }

    /// An end that only a leader can know; never a success.
    pub async fn leader_job_ended(
        &self,
        fence: &EpochFence,
        job: JobId,
        end: JobEnd,
    ) -> Result<Standing, CallError> {
        let request = RecordLeaderJobEndRequest {
            fence: Some(fence.clone().into()),
            job_id: job.to_string(),
            end: Some(end),
        };
        let answer = self.inner.clone().record_leader_job_end(call(request)).await?.into_inner();
        Ok(Standing { recorded: answer.recorded, end: answer.end.unwrap_or_default() })
    }

    /// Asks for a savepoint for main(); durable when this returns.
    pub async fn request_savepoint(
        &self,
        fence: &EpochFence,
        wish: api::SavepointWish,
    ) -> Result<(), CallError> {
        let request = RequestSavepointRequest { fence: Some(fence.clone().into()), wish: Some(wish) };
        self.inner.clone().request_savepoint(call(request)).await?;
        Ok(())
    }

    /// What became of a savepoint that was asked for; answers the result that stands, and whether it is this one.
    pub async fn savepoint_settled(
        &self,
        fence: &EpochFence,
        job: JobId,
        savepoint: Savepoint,
    ) -> Result<(bool, Savepoint), CallError> {
        let request = RecordSavepointRequest {
            fence: Some(fence.clone().into()),
            job_id: job.to_string(),
            savepoint: Some(savepoint),
        };
        let answer = self.inner.clone().record_savepoint(call(request)).await?.into_inner();
        Ok((answer.recorded, answer.savepoint.unwrap_or_default()))
    }

    /// All outputs of a committed end stand at their final names.
    pub async fn published(&self, fence: &EpochFence, job: JobId) -> Result<(), CallError> {
        let request = RecordPublishedRequest { fence: Some(fence.clone().into()), job_id: job.to_string() };
        self.inner.clone().record_published(call(request)).await?;
        Ok(())
    }

    /// The application's end, decided on this revision of desired state; answers the end that stands.
    pub async fn end(
        &self,
        fence: &EpochFence,
        outcome: api::Outcome,
        reason: &str,
        message: &str,
        desired_revision: u64,
    ) -> Result<RecordApplicationEndResponse, CallError> {
        let request = RecordApplicationEndRequest {
            fence: Some(fence.clone().into()),
            outcome: outcome.into(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            desired_revision,
        };
        Ok(self.inner.clone().record_application_end(call(request)).await?.into_inner())
    }

    /// Nothing is left to do, but for what was given up.
    pub async fn mark_clean(&self, fence: &EpochFence, leftovers: Vec<String>) -> Result<(), CallError> {
        let request = MarkCleanRequest { fence: Some(fence.clone().into()), leftovers };
        self.inner.clone().mark_clean(call(request)).await?;
        Ok(())
    }

    /// One step of `once(key, …)`: reads its value, or keeps this one if there is none.
    pub async fn journal(
        &self,
        fence: &EpochFence,
        key: &str,
        value: Option<Bytes>,
    ) -> Result<JournalResponse, CallError> {
        let request = JournalRequest { fence: Some(fence.clone().into()), key: key.to_owned(), value };
        Ok(self.inner.clone().journal(call(request)).await?.into_inner())
    }

    /// Adds events to the application's past, and what is seen of it now.
    pub async fn append_events(
        &self,
        fence: &EpochFence,
        events: Vec<api::Event>,
        conditions: Vec<api::Condition>,
    ) -> Result<(), CallError> {
        let request = AppendEventsRequest { fence: Some(fence.clone().into()), events, conditions };
        self.inner.clone().append_events(call(request)).await?;
        Ok(())
    }

    /// Sends beats (each with its fence); answers whether the epoch still holds, once per beat.
    pub async fn beat(
        &self,
        beats: impl Stream<Item = BeatRequest> + Send + 'static,
    ) -> Result<BoxStream<'static, Result<bool, CallError>>, CallError> {
        let answers = self.inner.clone().beat(beats).await?.into_inner();
        Ok(answers.map(|answer| Ok(answer?.holds)).boxed())
    }

    /// Whether this epoch is the one that writes.
    pub async fn confirm_epoch(&self, fence: &EpochFence) -> Result<Confirmed, CallError> {
        let request = ConfirmEpochRequest { fence: Some(fence.clone().into()) };
        let answer = self.inner.clone().confirm_epoch(call(request)).await?.into_inner();
        Ok(Confirmed { holds: answer.holds, current: answer.current_epoch })
    }

    /// Whether this incarnation is the current one.
    pub async fn confirm_incarnation(&self, fence: &IncarnationFence) -> Result<Confirmed, CallError> {
        let request = ConfirmIncarnationRequest { fence: Some(fence.clone().into()) };
        let answer = self.inner.clone().confirm_incarnation(call(request)).await?.into_inner();
        Ok(Confirmed { holds: answer.current, current: answer.current_incarnation })
    }
}
