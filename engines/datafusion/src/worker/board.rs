//! The jobs of one incarnation, in this process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chassis::clock::{Boot, Clock as _, SharedClock};
use chassis::tasks::Tasks;
use client::error::CallError;
use client::payloads::Payloads;
use jobs_service::{Cluster, NewJob, OrderRefusal, Orders, Savepoint, Trigger};
use proto::engine::{EngineJobState, JobStatus};
use proto::{EpochFence, JobId, Reason};
use record::Record;
use record::limits::MAX_GRAPH_BYTES;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::job::{self, Run, Workshop};
use super::queries::Queries;
use crate::error::GraphError;
use crate::execute::ProgressGauge;
use crate::graph::JobGraph;
use crate::wire;

/// What this engine answers a caller that asks for a savepoint.
const NO_SAVEPOINTS: &str = "the datafusion engine has no savepoints: its jobs end by themselves, and one that is lost runs again from its inputs";

/// All jobs of this process, which the leader submits, watches and cancels; clones are the same.
///
/// A job stays listed after its end, so that a leader which adopts the cluster later learns of the
/// end too. Nothing of this list survives the process: its death begins a new incarnation, which
/// gets its jobs from the leader anew.
#[derive(Clone)]
pub(crate) struct Board(Arc<Inner>);

struct Inner {
    orders: Orders,
    workshop: Arc<Workshop>,
    jobs: Mutex<BTreeMap<JobId, Job>>,
}

struct Job {
    state: EngineJobState,
    progress: ProgressGauge,
    cancel: CancellationToken,
    began: Boot,
    /// When it stopped running.
    finished: Option<Boot>,
}

impl Board {
    pub(crate) fn new(
        config: Config,
        queries: Queries,
        record: Arc<dyn Record>,
        payloads: Payloads,
        clock: SharedClock,
        tasks: Tasks,
    ) -> Self {
        let turns = Arc::new(Semaphore::new(config.jobs_at_once.max(1)));
        let orders = Orders::new(config.cluster.fence());
        let workshop = Workshop { config, queries, record, payloads, clock, tasks, turns };
        Self(Arc::new(Inner { orders, workshop: Arc::new(workshop), jobs: Mutex::default() }))
    }
}

#[async_trait]
impl Cluster for Board {
    fn orders(&self) -> &Orders {
        &self.0.orders
    }

    fn clock(&self) -> &SharedClock {
        &self.0.workshop.clock
    }

    async fn leads(&self, fence: &EpochFence) -> Result<bool, CallError> {
        Ok(self.0.workshop.record.confirm_epoch(fence).await?.holds)
    }

    /// Does nothing, because this process knows every job that it has begun.
    async fn take_stock(&self, _submitted: Vec<JobId>) -> Result<(), OrderRefusal> {
        Ok(())
    }

    async fn submit(&self, job: NewJob) -> Result<bool, OrderRefusal> {
        if self.0.jobs().contains_key(&job.id) {
            return Ok(true);
        }
        let bytes = self.0.workshop.payloads.get_bytes(job.graph, MAX_GRAPH_BYTES).await?;
        let graph = JobGraph::decode(&bytes)?;
        let progress = ProgressGauge::default();
        let cancel = CancellationToken::new();
        {
            // The leader may have changed, or repeated the call, while the graph was read. A later
            // leader that adopts from here on learns of the job, because the statuses are read
            // after its epoch is taken.
            let mut jobs = self.0.jobs();
            if jobs.contains_key(&job.id) {
                return Ok(true);
            }
            self.0.orders.not_superseded(job.epoch)?;
            let entry = Job {
                state: EngineJobState::Starting,
                progress: progress.clone(),
                cancel: cancel.clone(),
                began: self.0.workshop.clock.boot(),
                finished: None,
            };
            jobs.insert(job.id, entry);
        }
        self.0.orders.changed();
        let (inner, id) = (self.0.clone(), job.id);
        let tell = move |state| inner.set(id, state);
        job::spawn(
            self.0.workshop.clone(),
            job,
            Run { graph, progress, cancel, tell: Box::new(tell) },
        );
        Ok(false)
    }

    async fn cancel(&self, job: JobId) -> Result<(), OrderRefusal> {
        self.0.jobs().get(&job).ok_or(OrderRefusal::UnknownJob(job))?.cancel.cancel();
        Ok(())
    }

    async fn savepoint(&self, _trigger: Trigger) -> Result<Savepoint, OrderRefusal> {
        Err(OrderRefusal::Never {
            reason: Reason::SavepointUnsupported,
            message: NO_SAVEPOINTS.to_owned(),
        })
    }

    fn statuses(&self) -> Vec<JobStatus> {
        let now = self.0.workshop.clock.boot();
        let status = |(id, job): (&JobId, &Job)| {
            let elapsed = job.finished.unwrap_or(now).saturating_duration_since(job.began);
            JobStatus {
                job_id: id.to_string(),
                state: job.state.into(),
                progress: Some(wire::progress(job.progress.snapshot(), elapsed)),
                ..JobStatus::default()
            }
        };
        self.0.jobs().iter().map(status).collect()
    }

    fn counts_silently(&self) -> bool {
        self.0.jobs().values().any(|job| job.finished.is_none())
    }
}

impl Inner {
    fn set(&self, id: JobId, to: EngineJobState) {
        let now = self.workshop.clock.boot();
        if let Some(job) = self.jobs().get_mut(&id) {
            job.state = to;
            if matches!(to, EngineJobState::Ending | EngineJobState::Ended) {
                job.finished.get_or_insert(now);
            }
        }
        self.orders.changed();
    }

    fn jobs(&self) -> MutexGuard<'_, BTreeMap<JobId, Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<GraphError> for OrderRefusal {
    fn from(error: GraphError) -> Self {
        Self::Never { reason: error.reason(), message: error.to_string() }
    }
}
