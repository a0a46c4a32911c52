//! `JobsService`: translates between proto and a cluster.

mod status;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use chassis::MAX_MESSAGE_BYTES;
use chassis::clock::Clock as _;
use chassis::tasks::{Feed, fed};
use futures::Stream;
use proto::engine::jobs_service_server::{JobsService, JobsServiceServer};
use proto::engine::{
    AdoptRequest, AdoptResponse, CancelRequest, CancelResponse, EngineJobState, JobStatus,
    SavepointRequest, SavepointResponse, SavepointState, SubmitRequest, SubmitResponse,
    WatchRequest, WatchResponse,
};
use proto::{EpochFence, Incarnation, JobId};
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::cluster::{Cluster, NewJob, Savepoint, Trigger};
use crate::orders::NotTaken;
use crate::refusal::OrderRefusal;

/// The pause between looks at counters that move, which makes at most four reports a second.
const REPORT_EVERY: Duration = Duration::from_millis(250);
/// How many statuses wait for a slow watcher; further reports are held back, not dropped.
const QUEUE: usize = 64;

/// The service over a cluster.
pub fn routes(cluster: impl Cluster) -> Routes {
    let service = JobsServiceServer::new(Service(cluster))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    Routes::new(service)
}

struct Service<C>(C);

impl<C: Cluster> Service<C> {
    /// The fence of the call, if its leader is to be obeyed.
    fn obeyed(&self, fence: Option<proto::fences::EpochFence>) -> Result<EpochFence, OrderRefusal> {
        let fence = fence.try_into()?;
        self.0.orders().check(&fence)?;
        Ok(fence)
    }

    async fn take_over(&self, request: AdoptRequest) -> Result<Vec<JobStatus>, OrderRefusal> {
        let (cluster, orders) = (&self.0, self.0.orders());
        let fence: EpochFence = request.fence.try_into()?;
        let submitted =
            request.submitted_job_ids.iter().map(|id| id.parse()).collect::<Result<_, _>>()?;
        orders.may_adopt(&fence, Incarnation(request.incarnation))?;
        if !cluster.leads(&fence).await? {
            return Err(NotTaken::NotLeader(fence.epoch).into());
        }
        cluster.take_stock(submitted).await?;
        orders.adopt(fence.epoch)?;
        tracing::info!({ chassis::telemetry::fields::EPOCH } = fence.epoch.get(), "adopted");
        let is_here = |job: &JobStatus| job.state() != EngineJobState::Lost;
        Ok(cluster.statuses().into_iter().filter(is_here).collect())
    }

    async fn start(&self, request: SubmitRequest) -> Result<bool, OrderRefusal> {
        let fence = self.obeyed(request.fence)?;
        let job = NewJob {
            id: request.job_id.parse()?,
            name: request.name,
            graph: request.graph_digest.parse()?,
            epoch: fence.epoch,
            own_job_ids: request.own_job_ids.into_iter().collect(),
        };
        self.0.submit(job).await
    }

    async fn end(&self, request: CancelRequest) -> Result<(), OrderRefusal> {
        self.obeyed(request.fence)?;
        let job: JobId = request.job_id.parse()?;
        self.0.cancel(job).await?;
        tracing::info!({ chassis::telemetry::fields::JOB_ID } = %job, reason = %request.reason, "asked to cancel");
        Ok(())
    }

    async fn save(&self, request: SavepointRequest) -> Result<Savepoint, OrderRefusal> {
        let fence = self.obeyed(request.fence)?;
        let trigger = Trigger {
            job: request.job_id.parse()?,
            id: request.trigger_id.parse()?,
            directory: request.directory,
            stop: request.stop,
            drain: request.drain,
            format: request.format,
            epoch: fence.epoch,
        };
        self.0.savepoint(trigger).await
    }
}

type Watched = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

#[tonic::async_trait]
impl<C: Cluster> JobsService for Service<C> {
    type WatchStream = Watched;

    async fn adopt(
        &self,
        request: Request<AdoptRequest>,
    ) -> Result<Response<AdoptResponse>, Status> {
        let jobs = self.take_over(request.into_inner()).await?;
        Ok(Response::new(AdoptResponse { jobs }))
    }

    async fn submit(
        &self,
        request: Request<SubmitRequest>,
    ) -> Result<Response<SubmitResponse>, Status> {
        let already_known = self.start(request.into_inner()).await?;
        Ok(Response::new(SubmitResponse { already_known }))
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Watched>, Status> {
        let fence = self.obeyed(request.into_inner().fence)?;
        let cluster = self.0.clone();
        let changes =
            fed("watch of jobs", QUEUE, |feed| async move { report(cluster, fence, &feed).await });
        Ok(Response::new(Box::pin(changes)))
    }

    async fn cancel(
        &self,
        request: Request<CancelRequest>,
    ) -> Result<Response<CancelResponse>, Status> {
        self.end(request.into_inner()).await?;
        Ok(Response::new(CancelResponse {}))
    }

    async fn savepoint(
        &self,
        request: Request<SavepointRequest>,
    ) -> Result<Response<SavepointResponse>, Status> {
        let (state, pointer, message) = match self.save(request.into_inner()).await? {
            Savepoint::Pending => (SavepointState::Pending, String::new(), String::new()),
            Savepoint::Taken(pointer) => (SavepointState::Taken, pointer, String::new()),
            Savepoint::Failed(message) => (SavepointState::Failed, String::new(), message),
        };
        Ok(Response::new(SavepointResponse { state: state.into(), pointer, message }))
    }
}

/// Sends the present statuses and every change of them, until another leader takes over.
async fn report<C: Cluster>(
    cluster: C,
    fence: EpochFence,
    feed: &Feed<WatchResponse>,
) -> Result<(), Status> {
    let mut changes = cluster.orders().changes();
    let mut sent: BTreeMap<String, JobStatus> = BTreeMap::new();
    loop {
        changes.borrow_and_update();
        cluster.orders().check(&fence).map_err(OrderRefusal::from)?;
        for job in cluster.statuses() {
            if sent.get(&job.job_id) == Some(&job) {
                continue;
            }
            sent.insert(job.job_id.clone(), job.clone());
            feed.send(WatchResponse { job: Some(job) }).await;
        }
        let tick = async {
            if cluster.counts_silently() {
                cluster.clock().sleep(REPORT_EVERY).await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return Ok(()) },
            () = tick => {}
        }
    }
}
