//! The jobs of one incarnation, and which leader may give orders.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chassis::clock::{Boot, Clock as _, SharedClock};
use chassis::tasks::Tasks;
use client::error::CallError;
use proto::engine::{EngineJobState, JobStatus};
use proto::{Epoch, EpochFence, Incarnation, JobId};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::job::{self, Run, Submitted, Workshop};
use super::queries::Queries;
use super::record::Record;
use crate::error::GraphError;
use crate::execute::ProgressGauge;
use crate::graph::JobGraph;
use crate::wire;

/// Why a call was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// The call is for another application or another life of its cluster.
    #[error("this is the cluster of {ours}, the call is for {theirs}")]
    NotHere {
        /// Who this is.
        ours: String,
        /// Who was meant.
        theirs: String,
    },
    /// No leader of this epoch has adopted this cluster.
    #[error("epoch {0} has not adopted this cluster: Adopt comes first")]
    NotAdopted(Epoch),
    /// A later leader gives the orders.
    #[error("epoch {theirs} is superseded by {ours}")]
    Superseded {
        /// Who gives the orders.
        ours: Epoch,
        /// Who called.
        theirs: Epoch,
    },
    /// The record says that this epoch does not lead.
    #[error("the record does not know epoch {0} as the leader")]
    NotLeader(Epoch),
    /// The job is not known here.
    #[error("job {0} is not known to this cluster")]
    UnknownJob(JobId),
    /// The graph cannot be run.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The record did not answer as hoped.
    #[error(transparent)]
    Record(#[from] CallError),
}

/// All jobs of this process; clones are the same.
#[derive(Clone)]
pub(crate) struct Jobs(Arc<Inner>);

struct Inner {
    workshop: Arc<Workshop>,
    state: Mutex<State>,
    /// Moves whenever a job's state or the epoch does.
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    epoch: Option<Epoch>,
    jobs: BTreeMap<JobId, Job>,
}

struct Job {
    state: EngineJobState,
    progress: ProgressGauge,
    cancel: CancellationToken,
    began: Boot,
    /// Set when it stopped running.
    finished: Option<Boot>,
}

impl Jobs {
    pub(crate) fn new(
        config: Config,
        queries: Queries,
        record: Arc<dyn Record>,
        clock: SharedClock,
        tasks: Tasks,
    ) -> Self {
        let turns = Arc::new(Semaphore::new(config.jobs_at_once.max(1)));
        let (changes, _) = watch::channel(0);
        let workshop = Arc::new(Workshop { config, queries, record, clock, tasks, turns });
        Self(Arc::new(Inner { workshop, state: Mutex::default(), changes }))
    }

    pub(crate) fn clock(&self) -> &SharedClock {
        &self.0.workshop.clock
    }

    /// Takes orders from this epoch from now on, once the record has confirmed it.
    pub(crate) async fn adopt(
        &self,
        fence: EpochFence,
        incarnation: Incarnation,
    ) -> Result<Vec<JobStatus>, Refusal> {
        let own = self.0.workshop.config.fence();
        if fence.application != own.application || incarnation != own.incarnation {
            return Err(Refusal::NotHere {
                ours: format!("{} incarnation {}", own.application, own.incarnation),
                theirs: format!("{} incarnation {incarnation}", fence.application),
            });
        }
        let epoch = fence.epoch;
        self.not_superseded(epoch)?;
        if !self.0.workshop.record.holds(fence).await? {
            return Err(Refusal::NotLeader(epoch));
        }
        {
            let mut state = self.0.state();
            // Another, later leader may have been confirmed meanwhile.
            if let Some(ours) = state.epoch.filter(|ours| *ours > epoch) {
                return Err(Refusal::Superseded { ours, theirs: epoch });
            }
            state.epoch = Some(epoch);
        }
        self.0.changed();
        tracing::info!({ chassis::telemetry::fields::EPOCH } = epoch.get(), "adopted");
        Ok(self.statuses())
    }

    /// Only the epoch that adopted this cluster gives orders.
    pub(crate) fn check(&self, fence: &EpochFence) -> Result<(), Refusal> {
        let own = self.0.workshop.config.fence().application;
        if fence.application != own {
            return Err(Refusal::NotHere { ours: own.to_string(), theirs: fence.application.to_string() });
        }
        self.not_superseded(fence.epoch)?;
        match self.0.state().epoch {
            Some(ours) if ours == fence.epoch => Ok(()),
            _ => Err(Refusal::NotAdopted(fence.epoch)),
        }
    }

    fn not_superseded(&self, theirs: Epoch) -> Result<(), Refusal> {
        match self.0.state().epoch {
            Some(ours) if ours > theirs => Err(Refusal::Superseded { ours, theirs }),
            _ => Ok(()),
        }
    }

    /// Starts a job unless it is known; `true` when it was.
    pub(crate) async fn submit(&self, job: Submitted) -> Result<bool, Refusal> {
        if self.0.state().jobs.contains_key(&job.id) {
            return Ok(true);
        }
        let bytes = self.0.workshop.record.graph(job.graph).await?;
        let graph = JobGraph::decode(&bytes)?;
        let progress = ProgressGauge::default();
        let cancel = CancellationToken::new();
        {
            let mut state = self.0.state();
            // The leader may have changed, or sent it twice, while the graph was read.
            if state.jobs.contains_key(&job.id) {
                return Ok(true);
            }
            if let Some(ours) = state.epoch.filter(|ours| *ours != job.epoch) {
                return Err(Refusal::Superseded { ours, theirs: job.epoch });
            }
            let entry = Job {
                state: EngineJobState::Starting,
                progress: progress.clone(),
                cancel: cancel.clone(),
                began: self.0.workshop.clock.boot(),
                finished: None,
            };
            state.jobs.insert(job.id, entry);
        }
        self.0.changed();
        let (inner, id) = (self.0.clone(), job.id);
        let tell = move |state| inner.set(id, state);
        job::spawn(self.0.workshop.clone(), job, Run { graph, progress, cancel, tell: Box::new(tell) });
        Ok(false)
    }

    /// Asks a job to end; one that has ended stays as it is.
    pub(crate) fn cancel(&self, job: JobId) -> Result<(), Refusal> {
        let state = self.0.state();
        let job = state.jobs.get(&job).ok_or(Refusal::UnknownJob(job))?;
        job.cancel.cancel();
        Ok(())
    }

    /// All jobs as they are now.
    pub(crate) fn statuses(&self) -> Vec<JobStatus> {
        let now = self.0.workshop.clock.boot();
        let state = self.0.state();
        let status = |(id, job): (&JobId, &Job)| {
            let elapsed = job.finished.unwrap_or(now).saturating_duration_since(job.began);
            JobStatus {
                job_id: id.to_string(),
                state: job.state.into(),
                progress: Some(wire::progress(job.progress.snapshot(), elapsed)),
                ..JobStatus::default()
            }
        };
        state.jobs.iter().map(status).collect()
    }

    /// Whether counters may be moving.
    pub(crate) fn any_running(&self) -> bool {
        self.0.state().jobs.values().any(|job| job.finished.is_none())
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }
}

impl Inner {
    fn set(&self, id: JobId, to: EngineJobState) {
        let now = self.workshop.clock.boot();
        if let Some(job) = self.state().jobs.get_mut(&id) {
            job.state = to;
            if matches!(to, EngineJobState::Ending | EngineJobState::Ended) {
                job.finished.get_or_insert(now);
            }
        }
        self.changed();
    }

    fn changed(&self) {
        self.changes.send_modify(|revision| *revision += 1);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
