//! `mainspring.jobgraph.v1.RecordService`: leaders by the deployment's credential, clusters and main()s by their tokens.

use chassis::server::{require_attempt, require_deployment, require_incarnation};
use futures::StreamExt as _;
use proto::jobgraph::record_service_server::RecordService;
use proto::{
    ApplicationRef, EpochFence, Incarnation, IncarnationFence, InvalidId, JobId, api, fences, job, jobgraph,
};
use tonic::{Request, Response, Status, Streaming};

use super::{Answers, Wire, answers};
use crate::model::attempt::MainExit;
use crate::model::{Refusal, ending, job as job_model};

type Answer<T> = Result<Response<T>, Status>;

fn valid<T>(parsed: Result<T, InvalidId>) -> Result<T, Status> {
    parsed.map_err(|invalid| Refusal::from(invalid).into())
}

fn epoch(fence: Option<fences::EpochFence>) -> Result<EpochFence, Status> {
    valid(fence.try_into())
}

fn job_end(end: Option<job::JobEnd>) -> Result<job::JobEnd, Status> {
    end.ok_or_else(|| Refusal::RequestInvalid("end is not set".into()).into())
}

fn job_id(text: &str) -> Result<JobId, Status> {
    valid(text.parse())
}

/// An attempt reads its own application; `epoch` is not part of the question, so any attempt of the generation may.
fn may_read<T>(request: &Request<T>, application: &ApplicationRef) -> Result<(), Status> {
    let own = match chassis::server::principal(request)? {
        chassis::credential::Principal::Attempt { epoch, .. } => *epoch,
        _ => return require_deployment(request),
    };
    require_attempt(request, application.id.as_str(), application.generation.get(), own)
}

fn require_cluster<T>(request: &Request<T>, fence: &IncarnationFence) -> Result<(), Status> {
    let application = &fence.application;
    require_incarnation(
        request,
        application.id.as_str(),
        application.generation.get(),
        fence.incarnation.get(),
    )
}

/// A cluster asks about the epochs of its own application.
fn require_own_application<T>(request: &Request<T>, application: &ApplicationRef) -> Result<(), Status> {
    match chassis::server::principal(request)? {
        chassis::credential::Principal::Incarnation { incarnation, .. } => {
            require_incarnation(request, application.id.as_str(), application.generation.get(), *incarnation)
        }
        _ => require_deployment(request),
    }
}

#[tonic::async_trait]
impl RecordService for Wire {
    async fn read_record(
        &self,
        request: Request<jobgraph::ReadRecordRequest>,
    ) -> Answer<jobgraph::ReadRecordResponse> {
        let application = valid(request.get_ref().application.clone().try_into())?;
        may_read(&request, &application)?;
        let record = self.0.read_record(&application).await?;
        Ok(Response::new(jobgraph::ReadRecordResponse { record: Some(record) }))
    }

    type WatchRecordStream = Answers<jobgraph::WatchRecordResponse>;

    async fn watch_record(
        &self,
        request: Request<jobgraph::WatchRecordRequest>,
    ) -> Answer<Self::WatchRecordStream> {
        let application = valid(request.get_ref().application.clone().try_into())?;
        may_read(&request, &application)?;
        let records = self.0.watch_record(&application).await?;
        Ok(Response::new(answers(records, |record| jobgraph::WatchRecordResponse { record: Some(record) })))
    }

    async fn begin_attempt(
        &self,
        request: Request<jobgraph::BeginAttemptRequest>,
    ) -> Answer<jobgraph::BeginAttemptResponse> {
        require_deployment(&request)?;
        let jobgraph::BeginAttemptRequest { fence, holder, holder_pid, cause } = request.into_inner();
        Ok(Response::new(self.0.begin_attempt(&epoch(fence)?, &holder, holder_pid, &cause).await?))
    }

    async fn pin_artifacts(
        &self,
        request: Request<jobgraph::PinArtifactsRequest>,
    ) -> Answer<jobgraph::PinArtifactsResponse> {
        require_deployment(&request)?;
        let jobgraph::PinArtifactsRequest { fence, artifacts } = request.into_inner();
        let artifacts = self.0.pin_artifacts(&epoch(fence)?, &artifacts).await?;
        Ok(Response::new(jobgraph::PinArtifactsResponse { artifacts }))
    }

    async fn begin_cluster(
        &self,
        request: Request<jobgraph::BeginClusterRequest>,
    ) -> Answer<jobgraph::BeginClusterResponse> {
        require_deployment(&request)?;
        let request = request.into_inner();
        let begun = self.0.begin_cluster(&epoch(request.fence.clone())?, &request).await?;
        let (incarnation, barren_incarnations) = (begun.incarnation.get(), begun.barren);
        Ok(Response::new(jobgraph::BeginClusterResponse { incarnation, barren_incarnations }))
    }

    async fn record_cluster(
        &self,
        request: Request<jobgraph::RecordClusterRequest>,
    ) -> Answer<jobgraph::RecordClusterResponse> {
        require_deployment(&request)?;
        let request = request.into_inner();
        self.0.record_cluster(&epoch(request.fence.clone())?, &request).await?;
        Ok(Response::new(jobgraph::RecordClusterResponse {}))
    }

    async fn main_starting(
        &self,
        request: Request<jobgraph::MainStartingRequest>,
    ) -> Answer<jobgraph::MainStartingResponse> {
        require_deployment(&request)?;
        let jobgraph::MainStartingRequest { fence, tether_endpoint } = request.into_inner();
        self.0.main_starting(&epoch(fence)?, &tether_endpoint).await?;
        Ok(Response::new(jobgraph::MainStartingResponse {}))
    }

    async fn record_main(
        &self,
        request: Request<jobgraph::RecordMainRequest>,
    ) -> Answer<jobgraph::RecordMainResponse> {
        require_deployment(&request)?;
        let request = request.into_inner();
        let fence = epoch(request.fence)?;
        if request.ended {
            let jobgraph::RecordMainRequest { exit_code, signal, signal_sender, .. } = request;
            let exit = MainExit { code: exit_code, signal, signal_sender };
            self.0.main_ended(&fence, exit, &request.stderr_tail, request.kills).await?;
        } else {
            self.0.main_running(&fence, request.pid).await?;
        }
        Ok(Response::new(jobgraph::RecordMainResponse {}))
    }

    async fn find_job(
        &self,
        request: Request<jobgraph::FindJobRequest>,
    ) -> Answer<jobgraph::FindJobResponse> {
        require_deployment(&request)?;
        let request = request.into_inner();
        let job = self.0.find_job(&epoch(request.fence.clone())?, request).await?;
        Ok(Response::new(jobgraph::FindJobResponse { job_id: job.to_string() }))
    }

    async fn put_job_graph(
        &self,
        request: Request<jobgraph::PutJobGraphRequest>,
    ) -> Answer<jobgraph::PutJobGraphResponse> {
        require_deployment(&request)?;
        let request = request.into_inner();
        let put = self.0.put_job_graph(&epoch(request.fence.clone())?, &request).await?;
        let job_model::Put { job, found, diverged, by_position, .. } = put;
        Ok(Response::new(jobgraph::PutJobGraphResponse { job: Some(job), found, diverged, by_position }))
    }

    async fn record_job_submitted(
        &self,
        request: Request<jobgraph::RecordJobSubmittedRequest>,
    ) -> Answer<jobgraph::RecordJobSubmittedResponse> {
        require_deployment(&request)?;
        let jobgraph::RecordJobSubmittedRequest { fence, job_id: id, incarnation } = request.into_inner();
        self.0.job_submitted(&epoch(fence)?, job_id(&id)?, Incarnation(incarnation)).await?;
        Ok(Response::new(jobgraph::RecordJobSubmittedResponse {}))
    }

    async fn record_job_end(
        &self,
        request: Request<jobgraph::RecordJobEndRequest>,
    ) -> Answer<jobgraph::RecordJobEndResponse> {
        let fence: IncarnationFence = valid(request.get_ref().fence.clone().try_into())?;
        require_cluster(&request, &fence)?;
        let jobgraph::RecordJobEndRequest { job_id: id, end, .. } = request.into_inner();
        let (recorded, end) = self.0.job_ended(&fence, job_id(&id)?, &job_end(end)?).await?;
        Ok(Response::new(jobgraph::RecordJobEndResponse { recorded, end: Some(end) }))
    }

    async fn read_checkpoints(
        &self,
        request: Request<jobgraph::ReadCheckpointsRequest>,
    ) -> Answer<jobgraph::ReadCheckpointsResponse> {
        let fence: IncarnationFence = valid(request.get_ref().fence.clone().try_into())?;
        require_cluster(&request, &fence)?;
        let resume = self.0.read_checkpoints(&fence, job_id(&request.get_ref().job_id)?).await?;
        Ok(Response::new(jobgraph::ReadCheckpointsResponse {
            ended: resume.ended,
            checkpoints: resume.checkpoints,
            next_checkpoint_id: resume.next_id,
            stop_trigger_id: resume.stopping.map(|trigger| trigger.to_string()).unwrap_or_default(),
        }))
    }

    async fn add_checkpoint(
        &self,
        request: Request<jobgraph::AddCheckpointRequest>,
    ) -> Answer<jobgraph::AddCheckpointResponse> {
        let fence: IncarnationFence = valid(request.get_ref().fence.clone().try_into())?;
        require_cluster(&request, &fence)?;
        let jobgraph::AddCheckpointRequest { job_id: id, checkpoint, .. } = request.into_inner();
        self.0.add_checkpoint(&fence, job_id(&id)?, &checkpoint.unwrap_or_default()).await?;
        Ok(Response::new(jobgraph::AddCheckpointResponse {}))
    }

    async fn remove_checkpoint(
        &self,
        request: Request<jobgraph::RemoveCheckpointRequest>,
    ) -> Answer<jobgraph::RemoveCheckpointResponse> {
        let fence: IncarnationFence = valid(request.get_ref().fence.clone().try_into())?;
        require_cluster(&request, &fence)?;
        let jobgraph::RemoveCheckpointRequest { job_id: id, checkpoint_id, .. } = request.into_inner();
        self.0.remove_checkpoint(&fence, job_id(&id)?, checkpoint_id).await?;
        Ok(Response::new(jobgraph::RemoveCheckpointResponse {}))
    }

    async fn advance_checkpoint_id(
        &self,
        request: Request<jobgraph::AdvanceCheckpointIdRequest>,
    ) -> Answer<jobgraph::AdvanceCheckpointIdResponse> {
        let fence: IncarnationFence = valid(request.get_ref().fence.clone().try_into())?;
        require_cluster(&request, &fence)?;
        let jobgraph::AdvanceCheckpointIdRequest { job_id: id, next_checkpoint_id, .. } =
            request.into_inner();
        let next_checkpoint_id =
            self.0.advance_checkpoint_id(&fence, job_id(&id)?, next_checkpoint_id).await?;
        Ok(Response::new(jobgraph::AdvanceCheckpointIdResponse { next_checkpoint_id }))
    }

    async fn record_leader_job_end(
        &self,
        request: Request<jobgraph::RecordLeaderJobEndRequest>,
    ) -> Answer<jobgraph::RecordLeaderJobEndResponse> {
        require_deployment(&request)?;
        let jobgraph::RecordLeaderJobEndRequest { fence, job_id: id, end } = request.into_inner();
        let (recorded, end) =
            self.0.job_ended_by_leader(&epoch(fence)?, job_id(&id)?, &job_end(end)?).await?;
        Ok(Response::new(jobgraph::RecordLeaderJobEndResponse { recorded, end: Some(end) }))
    }

    async fn request_savepoint(
        &self,
        request: Request<jobgraph::RequestSavepointRequest>,
    ) -> Answer<jobgraph::RequestSavepointResponse> {
        require_deployment(&request)?;
        let jobgraph::RequestSavepointRequest { fence, wish } = request.into_inner();
        let wish = wish.unwrap_or_default();
        // Which jobs are meant and when it was asked for is ours to say; one of main()'s jobs has to be.
        job_id(&wish.job)?;
        let wish = api::SavepointWish { job_ids: Vec::new(), requested_at: None, ..wish };
        let accepted_earlier = self.0.ask_for_savepoint(&epoch(fence)?, &wish).await?;
        Ok(Response::new(jobgraph::RequestSavepointResponse { accepted_earlier }))
    }

    async fn record_savepoint(
        &self,
        request: Request<jobgraph::RecordSavepointRequest>,
    ) -> Answer<jobgraph::RecordSavepointResponse> {
        require_deployment(&request)?;
        let jobgraph::RecordSavepointRequest { fence, job_id: id, savepoint } = request.into_inner();
        let result = savepoint.unwrap_or_default();
        let (recorded, stands) = self.0.savepoint_settled(&epoch(fence)?, job_id(&id)?, &result).await?;
        Ok(Response::new(jobgraph::RecordSavepointResponse { recorded, savepoint: Some(stands) }))
    }

    async fn record_published(
        &self,
        request: Request<jobgraph::RecordPublishedRequest>,
    ) -> Answer<jobgraph::RecordPublishedResponse> {
        require_deployment(&request)?;
        let jobgraph::RecordPublishedRequest { fence, job_id: id } = request.into_inner();
        self.0.published(&epoch(fence)?, job_id(&id)?).await?;
        Ok(Response::new(jobgraph::RecordPublishedResponse {}))
    }

    async fn record_application_end(
        &self,
        request: Request<jobgraph::RecordApplicationEndRequest>,
    ) -> Answer<jobgraph::RecordApplicationEndResponse> {
        require_deployment(&request)?;
        let jobgraph::RecordApplicationEndRequest { fence, outcome, reason, message, desired_revision } =
            request.into_inner();
        let outcome = api::Outcome::try_from(outcome).unwrap_or_default();
        let end =
            self.0.end(&epoch(fence)?, ending::End { outcome, reason, message }, desired_revision).await?;
        let ending::End { outcome, reason, message } = end;
        Ok(Response::new(jobgraph::RecordApplicationEndResponse { outcome: outcome.into(), reason, message }))
    }

    async fn mark_clean(
        &self,
        request: Request<jobgraph::MarkCleanRequest>,
    ) -> Answer<jobgraph::MarkCleanResponse> {
        require_deployment(&request)?;
        let jobgraph::MarkCleanRequest { fence, leftovers } = request.into_inner();
        self.0.mark_clean(&epoch(fence)?, &leftovers).await?;
        Ok(Response::new(jobgraph::MarkCleanResponse {}))
    }

    async fn journal(&self, request: Request<jobgraph::JournalRequest>) -> Answer<jobgraph::JournalResponse> {
        require_deployment(&request)?;
        let jobgraph::JournalRequest { fence, key, value } = request.into_inner();
        let (value, found) = self.0.journal(&epoch(fence)?, &key, value).await?;
        Ok(Response::new(jobgraph::JournalResponse { value, found }))
    }

    async fn append_events(
        &self,
        request: Request<jobgraph::AppendEventsRequest>,
    ) -> Answer<jobgraph::AppendEventsResponse> {
        require_deployment(&request)?;
        let jobgraph::AppendEventsRequest { fence, events, conditions } = request.into_inner();
        self.0.append_events(&epoch(fence)?, &events, &conditions).await?;
        Ok(Response::new(jobgraph::AppendEventsResponse {}))
    }

    type BeatStream = Answers<jobgraph::BeatResponse>;

    async fn beat(&self, request: Request<Streaming<jobgraph::BeatRequest>>) -> Answer<Self::BeatStream> {
        require_deployment(&request)?;
        let service = self.0.clone();
        let beats = request.into_inner().then(move |beat| {
            let service = service.clone();
            async move {
                let beat = beat?;
                let holds = service.beat(&epoch(beat.fence.clone())?, &beat).await?;
                Ok(jobgraph::BeatResponse { holds })
            }
        });
        Ok(Response::new(Box::pin(beats)))
    }

    async fn confirm_epoch(
        &self,
        request: Request<jobgraph::ConfirmEpochRequest>,
    ) -> Answer<jobgraph::ConfirmEpochResponse> {
        let fence = epoch(request.get_ref().fence.clone())?;
        require_own_application(&request, &fence.application)?;
        let (holds, current_epoch) = self.0.confirm_epoch(&fence).await?;
        Ok(Response::new(jobgraph::ConfirmEpochResponse { holds, current_epoch }))
    }

    async fn confirm_incarnation(
        &self,
        request: Request<jobgraph::ConfirmIncarnationRequest>,
    ) -> Answer<jobgraph::ConfirmIncarnationResponse> {
        let fence: IncarnationFence = valid(request.get_ref().fence.clone().try_into())?;
        require_cluster(&request, &fence)?;
        let (current, current_incarnation) = self.0.confirm_incarnation(&fence).await?;
        Ok(Response::new(jobgraph::ConfirmIncarnationResponse { current, current_incarnation }))
    }
}
