//! `JobsService`: proto to and from the worker's jobs.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use chassis::clock::Clock as _;
use chassis::status::Problem;
use futures::Stream;
use proto::engine::jobs_service_server::JobsService;
use proto::engine::{
    AdoptRequest, AdoptResponse, CancelRequest, CancelResponse, JobStatus, SavepointRequest,
    SavepointResponse, SubmitRequest, SubmitResponse, WatchRequest, WatchResponse,
};
use proto::{EpochFence, Incarnation, InvalidId, JobId, Reason};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status};

use super::job::Submitted;
use super::jobs::{Jobs, Refusal};

/// At most four reports of progress a second.
const REPORT_EVERY: Duration = Duration::from_millis(250);
/// How long a refused caller should wait when the store is away.
const RETRY: Duration = Duration::from_millis(200);
/// Statuses that wait for a slow watcher; beyond that reports are held back, not dropped.
const QUEUE: usize = 64;

pub(super) struct Service {
    jobs: Jobs,
}

impl Service {
    pub(super) fn new(jobs: Jobs) -> Self {
        Self { jobs }
    }
}

type Watched = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

#[tonic::async_trait]
impl JobsService for Service {
    type WatchStream = Watched;

    async fn adopt(&self, request: Request<AdoptRequest>) -> Result<Response<AdoptResponse>, Status> {
        let request = request.into_inner();
        let fence: EpochFence = request.fence.try_into().map_err(malformed)?;
        let jobs = self.jobs.adopt(fence, Incarnation(request.incarnation)).await.map_err(refused)?;
        Ok(Response::new(AdoptResponse { jobs }))
    }

    async fn submit(&self, request: Request<SubmitRequest>) -> Result<Response<SubmitResponse>, Status> {
        let request = request.into_inner();
        let fence: EpochFence = request.fence.try_into().map_err(malformed)?;
        self.jobs.check(&fence).map_err(refused)?;
        let job = Submitted {
            id: request.job_id.parse().map_err(malformed)?,
            name: request.name,
            graph: request.graph_digest.parse().map_err(malformed)?,
            epoch: fence.epoch,
            own_job_ids: request.own_job_ids.into_iter().collect(),
        };
        let already_known = self.jobs.submit(job).await.map_err(refused)?;
        Ok(Response::new(SubmitResponse { already_known }))
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Watched>, Status> {
        let fence: EpochFence = request.into_inner().fence.try_into().map_err(malformed)?;
        self.jobs.check(&fence).map_err(refused)?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        // Ends by itself when the watcher is gone or superseded: its channel is closed.
        tokio::spawn(report(self.jobs.clone(), fence, sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn cancel(&self, request: Request<CancelRequest>) -> Result<Response<CancelResponse>, Status> {
        let request = request.into_inner();
        let fence: EpochFence = request.fence.try_into().map_err(malformed)?;
        self.jobs.check(&fence).map_err(refused)?;
        let job: JobId = request.job_id.parse().map_err(malformed)?;
        self.jobs.cancel(job).map_err(refused)?;
        tracing::info!({ chassis::telemetry::fields::JOB_ID } = %job, reason = %request.reason, "asked to cancel");
        Ok(Response::new(CancelResponse {}))
    }

    async fn savepoint(
        &self,
        request: Request<SavepointRequest>,
    ) -> Result<Response<SavepointResponse>, Status> {
        let fence: EpochFence = request.into_inner().fence.try_into().map_err(malformed)?;
        self.jobs.check(&fence).map_err(refused)?;
        Err(Problem::new(Code::FailedPrecondition, Reason::SavepointUnsupported, NO_SAVEPOINTS).into_status())
    }
}

/// What this engine says to whoever asks for a savepoint.
const NO_SAVEPOINTS: &str = "the datafusion engine has no savepoints: its jobs end by themselves, and one that is lost runs again from its inputs";

/// Sends what changed until the watcher leaves or another leader takes over.
async fn report(jobs: Jobs, fence: EpochFence, sender: mpsc::Sender<Result<WatchResponse, Status>>) {
    let mut changes = jobs.changes();
    let mut sent: BTreeMap<String, JobStatus> = BTreeMap::new();
    loop {
        changes.borrow_and_update();
        if let Err(refusal) = jobs.check(&fence) {
            let _ = sender.send(Err(self::refused(refusal))).await;
            return;
        }
        for job in jobs.statuses() {
            if sent.get(&job.job_id) == Some(&job) {
                continue;
            }
            sent.insert(job.job_id.clone(), job.clone());
            if sender.send(Ok(WatchResponse { job: Some(job) })).await.is_err() {
                return;
            }
        }
        let tick = async {
            if jobs.any_running() {
                jobs.clock().sleep(REPORT_EVERY).await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = sender.closed() => return,
            changed = changes.changed() => if changed.is_err() { return },
            () = tick => {}
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
        Refusal::Graph(error) => problem(Code::InvalidArgument, error.reason()),
        Refusal::Record(error) if error.is_retryable() || error.reason().is_none() => {
            problem(Code::Unavailable, Reason::StoreUnavailable).retry_after(RETRY)
        }
        // A refusal of the store's own, such as an epoch that it does not know, is passed on as it is.
        Refusal::Record(error) => return error.status().clone(),
    }
    .into_status()
}
