//! `JobsService`: proto to and from the board.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use chassis::clock::Clock as _;
use chassis::status::Problem;
use futures::Stream;
use http::StatusCode;
use proto::engine::jobs_service_server::JobsService;
use proto::engine::{
    AdoptRequest, AdoptResponse, CancelRequest, CancelResponse, JobStatus, SavepointRequest,
    SavepointResponse, SavepointState, SubmitRequest, SubmitResponse, WatchRequest, WatchResponse,
};
use proto::{EpochFence, Incarnation, InvalidId, JobId, Reason};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status};

use super::board::{Board, Refusal, Submitted};
use crate::jobmanager::{JobManagerError, Taken, Trigger};

/// The least time between two reports.
const REPORT_EVERY: Duration = Duration::from_millis(250);
/// How long a refused caller should wait when the store or the JobManager is away.
const RETRY: Duration = Duration::from_millis(200);
/// Statuses that wait for a slow watcher; beyond that reports are held back, not dropped.
const QUEUE: usize = 64;

pub(super) struct Service {
    board: Board,
}

impl Service {
    pub(super) fn new(board: Board) -> Self {
        Self { board }
    }
}

type Watched = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

#[tonic::async_trait]
impl JobsService for Service {
    type WatchStream = Watched;

    async fn adopt(&self, request: Request<AdoptRequest>) -> Result<Response<AdoptResponse>, Status> {
        let request = request.into_inner();
        let fence: EpochFence = request.fence.try_into().map_err(malformed)?;
        let submitted = request.submitted_job_ids.iter().map(|id| id.parse()).collect::<Result<_, _>>();
        let submitted = submitted.map_err(malformed)?;
        let jobs =
            self.board.adopt(fence, Incarnation(request.incarnation), submitted).await.map_err(refused)?;
        Ok(Response::new(AdoptResponse { jobs }))
    }

    async fn submit(&self, request: Request<SubmitRequest>) -> Result<Response<SubmitResponse>, Status> {
        let request = request.into_inner();
        let fence: EpochFence = request.fence.try_into().map_err(malformed)?;
        self.board.check(&fence).map_err(refused)?;
        let job = Submitted {
            id: request.job_id.parse().map_err(malformed)?,
            graph: request.graph_digest.parse().map_err(malformed)?,
            epoch: fence.epoch,
        };
        let already_known = self.board.submit(job).await.map_err(refused)?;
        Ok(Response::new(SubmitResponse { already_known }))
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Watched>, Status> {
        let fence: EpochFence = request.into_inner().fence.try_into().map_err(malformed)?;
        self.board.check(&fence).map_err(refused)?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        // Ends by itself when the watcher is gone or superseded: its channel is closed.
        tokio::spawn(report(self.board.clone(), fence, sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn cancel(&self, request: Request<CancelRequest>) -> Result<Response<CancelResponse>, Status> {
        let request = request.into_inner();
        let fence: EpochFence = request.fence.try_into().map_err(malformed)?;
        self.board.check(&fence).map_err(refused)?;
        let job: JobId = request.job_id.parse().map_err(malformed)?;
        self.board.cancel(job).await.map_err(refused)?;
        tracing::info!({ chassis::telemetry::fields::JOB_ID } = %job, reason = %request.reason, "asked to cancel");
        Ok(Response::new(CancelResponse {}))
    }

    async fn savepoint(
        &self,
        request: Request<SavepointRequest>,
    ) -> Result<Response<SavepointResponse>, Status> {
        let request = request.into_inner();
        let fence: EpochFence = request.fence.try_into().map_err(malformed)?;
        self.board.check(&fence).map_err(refused)?;
        let trigger = Trigger {
            job: request.job_id.parse().map_err(malformed)?,
            id: request.trigger_id.parse().map_err(malformed)?,
            directory: request.directory,
            stop: request.stop,
            drain: request.drain,
            format: request.format,
        };
        let said = match self.board.savepoint(&trigger).await {
            Ok(None) => answer(SavepointState::Pending, String::new(), String::new()),
            Ok(Some(Taken::At(pointer))) => answer(SavepointState::Taken, pointer, String::new()),
            Ok(Some(Taken::Failed(message))) => answer(SavepointState::Failed, String::new(), message),
            // Flink's word about this savepoint, such as a directory that it cannot use.
            Err(Refusal::JobManager(JobManagerError::Refused { status, message }))
                if status != StatusCode::SERVICE_UNAVAILABLE && status != StatusCode::NOT_FOUND =>
            {
                answer(SavepointState::Failed, String::new(), message)
            }
            Err(refusal) => return Err(refused(refusal)),
        };
        Ok(Response::new(said))
    }
}

fn answer(state: SavepointState, pointer: String, message: String) -> SavepointResponse {
    SavepointResponse { state: state.into(), pointer, message }
}

/// Sends what changed until the watcher leaves or another leader takes over.
async fn report(board: Board, fence: EpochFence, sender: mpsc::Sender<Result<WatchResponse, Status>>) {
    let mut changes = board.changes();
    let mut sent: BTreeMap<String, JobStatus> = BTreeMap::new();
    loop {
        changes.borrow_and_update();
        if let Err(refusal) = board.check(&fence) {
            let _ = sender.send(Err(self::refused(refusal))).await;
            return;
        }
        for job in board.statuses() {
            if sent.get(&job.job_id) == Some(&job) {
                continue;
            }
            sent.insert(job.job_id.clone(), job.clone());
            if sender.send(Ok(WatchResponse { job: Some(job) })).await.is_err() {
                return;
            }
        }
        let next = async {
            board.clock().sleep(REPORT_EVERY).await;
            changes.changed().await
        };
        tokio::select! {
            () = sender.closed() => return,
            changed = next => if changed.is_err() { return },
        }
    }
}

fn malformed(error: InvalidId) -> Status {
    Problem::new(Code::InvalidArgument, Reason::IdMalformed, error.to_string()).into_status()
}

fn refused(refusal: Refusal) -> Status {
    let text = refusal.to_string();
    let problem = |code, reason| Problem::new(code, reason, text.clone());
    match refusal {
        Refusal::NotHere { .. } => problem(Code::FailedPrecondition, Reason::IncarnationSuperseded),
        Refusal::NotAdopted(_) => problem(Code::FailedPrecondition, Reason::NotAdopted),
        Refusal::Superseded { .. } | Refusal::NotLeader(_) => {
            problem(Code::FailedPrecondition, Reason::EpochSuperseded)
        }
        Refusal::UnknownJob(_) => problem(Code::NotFound, Reason::JobNotFound),
        Refusal::Graph(_) => problem(Code::InvalidArgument, Reason::GraphUnreadable),
        Refusal::JobManager(JobManagerError::Refused { status, .. })
            if status != StatusCode::SERVICE_UNAVAILABLE && status != StatusCode::NOT_FOUND =>
        {
            problem(Code::InvalidArgument, Reason::GraphUnreadable)
        }
        Refusal::JobManager(_) => problem(Code::Unavailable, Reason::ClusterNotReady).retry_after(RETRY),
        Refusal::Record(error) if error.is_retryable() || error.reason().is_none() => {
            problem(Code::Unavailable, Reason::StoreUnavailable).retry_after(RETRY)
        }
        // A refusal of the store's own, such as an epoch that it does not know, is passed on as it is.
        Refusal::Record(error) => return error.status().clone(),
    }
    .into_status()
}
