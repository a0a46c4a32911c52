//! `mainspring.jobgraph.v1.RecordService`: for contenders and clusters, each for its own
//! application.

use ::record::{ApplicationEnd, Confirmed, Holder, MainEnd, MainExit, Record, Standing};
use chassis::server::{check_own, principal, require_incarnation, require_own};
use futures::StreamExt as _;
use proto::jobgraph::record_service_server::RecordService;
use proto::{
    EpochFence, Incarnation, IncarnationFence, InvalidId, JobId, Place, api, fences, job, jobgraph,
};
use tonic::{Request, Response, Status, Streaming};

use super::{Answer, Answers, Wire};
use crate::model::Refusal;

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

fn require_cluster<T>(request: &Request<T>, fence: &IncarnationFence) -> Result<(), Status> {
    let application = &fence.application;
    require_incarnation(
        request,
        application.id.as_str(),
        application.generation.get(),
        fence.incarnation.get(),
    )
}

/// The fence of a leader's write, after a check that the caller belongs to the fence's application.
fn led<T>(request: &Request<T>, fence: Option<fences::EpochFence>) -> Result<EpochFence, Status> {
    let fence = epoch(fence)?;
    require_own(request, &fence.application)?;
    Ok(fence)
}

#[tonic::async_trait]
impl RecordService for Wire {
    async fn read_record(
        &self,
        request: Request<jobgraph::ReadRecordRequest>,
    ) -> Answer<jobgraph::ReadRecordResponse> {
        let application = valid(request.get_ref().application.clone().try_into())?;
        require_own(&request, &application)?;
        let record = self.0.read(&application).await?;
        Ok(Response::new(jobgraph::ReadRecordResponse { record: Some(record) }))
    }

    type WatchRecordStream = Answers<jobgraph::WatchRecordResponse>;

    async fn watch_record(
        &self,
        request: Request<jobgraph::WatchRecordRequest>,
    ) -> Answer<Self::WatchRecordStream> {
        let application = valid(request.get_ref().application.clone().try_into())?;
        require_own(&request, &application)?;
        let records = Record::watch(&self.0, &application).await?;
        let answers =
            records.map(|record| Ok(jobgraph::WatchRecordResponse { record: Some(record?) }));
        Ok(Response::new(Box::pin(answers)))
    }

    async fn begin_attempt(
        &self,
        request: Request<jobgraph::BeginAttemptRequest>,
    ) -> Answer<jobgraph::BeginAttemptResponse> {
        let fence = led(&request, request.get_ref().fence.clone())?;
        let jobgraph::BeginAttemptRequest { holder, holder_pid, cause, place, .. } =
            request.into_inner();
        let holder = Holder::new(holder, holder_pid).at(valid(Place::read(place))?);
        let mut begun = self.0.begin_attempt(&fence, &holder, &cause).await?;
        if begun.disposition() != jobgraph::Disposition::Clean {
            let application = begun.record.as_ref().and_then(|record| record.application.as_ref());
            let cluster = application.and_then(|application| application.cluster.as_ref());
            let incarnation = cluster.map_or(0, |cluster| cluster.incarnation);
            begun.tokens = Some(self.1.for_attempt(&fence, Incarnation(incarnation)));
        }
        Ok(Response::new(begun))
    }

    async fn pin_artifacts(
        &self,
        request: Request<jobgraph::PinArtifactsRequest>,
    ) -> Answer<jobgraph::PinArtifactsResponse> {
        let fence = led(&request, request.get_ref().fence.clone())?;
        let jobgraph::PinArtifactsRequest { artifacts, .. } = request.into_inner();
        let artifacts = self.0.pin_artifacts(&fence, artifacts).await?;
        Ok(Response::new(jobgraph::PinArtifactsResponse { artifacts }))
    }

    async fn begin_cluster(
        &self,
        request: Request<jobgraph::BeginClusterRequest>,
    ) -> Answer<jobgraph::BeginClusterResponse> {
        let fence = led(&request, request.get_ref().fence.clone())?;
        let begun = self.0.begin_cluster(&fence, request.into_inner()).await?;
        let jobs_token = self.1.for_jobs(&fence.application, Incarnation(begun.incarnation));
        Ok(Response::new(jobgraph::BeginClusterResponse { jobs_token, ..begun }))
    }

    async fn record_cluster(
        &self,
        request: Request<jobgraph::RecordClusterRequest>,
    ) -> Answer<jobgraph::RecordClusterResponse> {
        let fence = led(&request, request.get_ref().fence.clone())?;
        self.0.record_cluster(&fence, request.into_inner()).await?;
        Ok(Response::new(jobgraph::RecordClusterResponse {}))
    }

    async fn main_starting(
        &self,
        request: Request<jobgraph::MainStartingRequest>,
    ) -> Answer<jobgraph::MainStartingResponse> {
        let fence = led(&request, request.get_ref().fence.clone())?;
        let jobgraph::MainStartingRequest { tether_endpoint, .. } = request.into_inner();
        self.0.main_starting(&fence, &tether_endpoint).await?;
        Ok(Response::new(jobgraph::MainStartingResponse {}))
    }

    async fn record_main(
        &self,
        request: Request<jobgraph::RecordMainRequest>,
    ) -> Answer<jobgraph::RecordMainResponse> {
        let fence = led(&request, request.get_ref().fence.clone())?;
        let request = request.into_inner();
        if request.ended {
            let jobgraph::RecordMainRequest {
                exit_code,
                signal,
                signal_sender,
                stderr_tail,
                kills,
                ..
            } = request;
            let exit = MainExit { code: exit_code, signal, signal_sender };
            self.0.main_ended(&fence, MainEnd { exit, stderr_tail, kills }).await?;
        } else {
            self.0.main_running(&fence, request.pid).await?;
        }
        Ok(Response::new(jobgraph::RecordMainResponse {}))
    }

    async fn find_job(
        &self,
        request: Request<jobgraph::FindJobRequest>,
    ) -> Answer<jobgraph::FindJobResponse> {
        let fence = led(&request, request.get_ref().fence.clone())?;
        let request = request.into_inner();
        let job = self.0.find_job(&fence, request).await?;
        Ok(Response::new(jobgraph::FindJobResponse { job_id: job.to_string() }))
    }

    async fn put_job_graph(
        &self,
        request: Request<jobgraph::PutJobGraphRequest>,
    ) -> Answer<jobgraph::PutJobGraphResponse> {
        let fence = led(&request, request.get_ref().fence.clone())?;
        Ok(Response::new(self.0.put_job_graph(&fence, request.into_inner()).await?))
    }

    async fn record_job_submitted(
        &self,
        request: Request<jobgraph::RecordJobSubmittedRequest>,
    ) -> Answer<jobgraph::RecordJobSubmittedResponse> {
        let fence = led(&request, request.get_ref().fence.clone())?;
        let jobgraph::RecordJobSubmittedRequest { job_id: id, incarnation, .. } =
            request.into_inner();
        self.0.job_submitted(&fence, job_id(&id)?, Incarnation(incarnation)).await?;
        Ok(Response::new(jobgraph::RecordJobSubmittedResponse {}))
    }

    async fn record_job_end(
        &self,
        request: Request<jobgraph::RecordJobEndRequest>,
    ) -> Answer<jobgraph::RecordJobEndResponse> {
        let fence: IncarnationFence = valid(request.get_ref().fence.clone().try_into())?;
        require_cluster(&request, &fence)?;
        let jobgraph::RecordJobEndRequest { job_id: id, end, .. } = request.into_inner();
        let ended = self.0.job_ended(&fence, job_id(&id)?, job_end(end)?).await?;
        let Standing { recorded, stands } = ended;
        Ok(Response::new(jobgraph::RecordJobEndResponse { recorded, end: Some(stands) }))
    }

    async fn read_checkpoints(
        &self,
        request: Request<jobgraph::ReadCheckpointsRequest>,
    ) -> Answer<jobgraph::ReadCheckpointsResponse> {
        let fence: IncarnationFence = valid(request.get_ref().fence.clone().try_into())?;
        require_cluster(&request, &fence)?;
        let resume = self.0.read_checkpoints(&fence, job_id(&request.get_ref().job_id)?).await?;
        Ok(Response::new(resume))
    }

    async fn add_checkpoint(
        &self,
        request: Request<jobgraph::AddCheckpointRequest>,
    ) -> Answer<jobgraph::AddCheckpointResponse> {
        let fence: IncarnationFence = valid(request.get_ref().fence.clone().try_into())?;
        require_cluster(&request, &fence)?;
        let jobgraph::AddCheckpointRequest { job_id: id, checkpoint, .. } = request.into_inner();
        self.0.add_checkpoint(&fence, job_id(&id)?, checkpoint.unwrap_or_default()).await?;
        Ok(Response::new(jobgraph::AddCheckpointResponse {}))
    }

    async fn remove_checkpoint(
        &self,
        request: Request<jobgraph::RemoveCheckpointRequest>,
    ) -> Answer<jobgraph::RemoveCheckpointResponse> {
        let fence: IncarnationFence = valid(request.get_ref().fence.clone().try_into())?;
        require_cluster(&request, &fence)?;
        let jobgraph::RemoveCheckpointRequest { job_id: id, checkpoint_id, .. } =
            request.into_inner();
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
        let fence = led(&request, request.get_ref().fence.clone())?;
        let jobgraph::RecordLeaderJobEndRequest { job_id: id, end, .. } = request.into_inner();
        let ended = self.0.leader_job_ended(&fence, job_id(&id)?, job_end(end)?).await?;
        let Standing { recorded, stands } = ended;
        Ok(Response::new(jobgraph::RecordLeaderJobEndResponse { recorded, end: Some(stands) }))
    }

    async fn request_savepoint(
        &self,
        request: Request<jobgraph::RequestSavepointRequest>,
    ) -> Answer<jobgraph::RequestSavepointResponse> {
        let fence = led(&request, request.get_ref().fence.clone())?;
        let jobgraph::RequestSavepointRequest { wish, .. } = request.into_inner();
        let wish = wish.unwrap_or_default();
        // The store says which jobs are meant and when the savepoint was asked for; the caller has
        // to name one of main()'s jobs.
        job_id(&wish.job)?;
        let wish = api::SavepointWish { job_ids: Vec::new(), requested_at: None, ..wish };
        let accepted_earlier = self.0.request_savepoint(&fence, wish).await?;
        Ok(Response::new(jobgraph::RequestSavepointResponse { accepted_earlier }))
    }

    async fn record_savepoint(
        &self,
        request: Request<jobgraph::RecordSavepointRequest>,
    ) -> Answer<jobgraph::RecordSavepointResponse> {
        let fence = led(&request, request.get_ref().fence.clone())?;
        let jobgraph::RecordSavepointRequest { job_id: id, savepoint, .. } = request.into_inner();
        let result = savepoint.unwrap_or_default();
        let settled = self.0.savepoint_settled(&fence, job_id(&id)?, result).await?;
        let Standing { recorded, stands } = settled;
        Ok(Response::new(jobgraph::RecordSavepointResponse { recorded, savepoint: Some(stands) }))
    }

    async fn record_published(
        &self,
        request: Request<jobgraph::RecordPublishedRequest>,
    ) -> Answer<jobgraph::RecordPublishedResponse> {
        let fence = led(&request, request.get_ref().fence.clone())?;
        let jobgraph::RecordPublishedRequest { job_id: id, .. } = request.into_inner();
        self.0.published(&fence, job_id(&id)?).await?;
        Ok(Response::new(jobgraph::RecordPublishedResponse {}))
    }

    async fn record_application_end(
        &self,
        request: Request<jobgraph::RecordApplicationEndRequest>,
    ) -> Answer<jobgraph::RecordApplicationEndResponse> {
        let fence = led(&request, request.get_ref().fence.clone())?;
        let jobgraph::RecordApplicationEndRequest {
            outcome,
            reason,
            message,
            desired_revision,
            ..
        } = request.into_inner();
        let outcome = api::Outcome::try_from(outcome).unwrap_or_default();
        let end = ApplicationEnd { outcome, reason, message };
        let ApplicationEnd { outcome, reason, message } =
            self.0.end(&fence, end, desired_revision).await?;
        Ok(Response::new(jobgraph::RecordApplicationEndResponse {
            outcome: outcome.into(),
            reason,
            message,
        }))
    }

    async fn mark_clean(
        &self,
        request: Request<jobgraph::MarkCleanRequest>,
    ) -> Answer<jobgraph::MarkCleanResponse> {
        let fence = led(&request, request.get_ref().fence.clone())?;
        let jobgraph::MarkCleanRequest { leftovers, .. } = request.into_inner();
        self.0.mark_clean(&fence, leftovers).await?;
        Ok(Response::new(jobgraph::MarkCleanResponse {}))
    }

    async fn journal(
        &self,
        request: Request<jobgraph::JournalRequest>,
    ) -> Answer<jobgraph::JournalResponse> {
        let fence = led(&request, request.get_ref().fence.clone())?;
        let jobgraph::JournalRequest { key, value, .. } = request.into_inner();
        Ok(Response::new(self.0.journal(&fence, &key, value).await?))
    }

    async fn append_events(
        &self,
        request: Request<jobgraph::AppendEventsRequest>,
    ) -> Answer<jobgraph::AppendEventsResponse> {
        let fence = led(&request, request.get_ref().fence.clone())?;
        let jobgraph::AppendEventsRequest { events, conditions, .. } = request.into_inner();
        self.0.append_events(&fence, events, conditions).await?;
        Ok(Response::new(jobgraph::AppendEventsResponse {}))
    }

    type BeatStream = Answers<jobgraph::BeatResponse>;

    async fn beat(
        &self,
        request: Request<Streaming<jobgraph::BeatRequest>>,
    ) -> Answer<Self::BeatStream> {
        let (service, caller) = (self.0.clone(), principal(&request)?.clone());
        let beats = request.into_inner().then(move |beat| {
            let (service, caller) = (service.clone(), caller.clone());
            async move {
                let beat = beat?;
                let fence = epoch(beat.fence.clone())?;
                check_own(&caller, &fence.application)?;
                let holds = service.heard(&fence, &beat).await?;
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
        require_own(&request, &fence.application)?;
        let Confirmed { holds, current, .. } = self.0.confirm_epoch(&fence).await?;
        Ok(Response::new(jobgraph::ConfirmEpochResponse { holds, current_epoch: current }))
    }

    async fn confirm_incarnation(
        &self,
        request: Request<jobgraph::ConfirmIncarnationRequest>,
    ) -> Answer<jobgraph::ConfirmIncarnationResponse> {
        let fence: IncarnationFence = valid(request.get_ref().fence.clone().try_into())?;
        require_cluster(&request, &fence)?;
        let Confirmed { holds, current, place, application_ended, leader_place } =
            self.0.confirm_incarnation(&fence).await?;
        Ok(Response::new(jobgraph::ConfirmIncarnationResponse {
            current: holds,
            current_incarnation: current,
            place: place.map(Into::into),
            application_ended,
            leader_place: leader_place.map(Into::into),
        }))
    }
}
