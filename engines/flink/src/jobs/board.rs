//! The jobs of this cluster: what the JobManager knows of them, and what the record holds.

mod pace;
mod savepoints;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chassis::BoxError;
use chassis::clock::{Clock as _, SharedClock, timeout};
use chassis::tasks::Shutdown;
use client::error::CallError;
use client::payloads::Payloads;
use jobs_service::{Cluster, NewJob, OrderRefusal, Orders, Savepoint, Trigger};
use proto::engine::{EngineJobState, JobStatus};
use proto::job::Progress;
use proto::{EpochFence, IncarnationFence, JobId, Reason};
use record::Record;
use record::limits::MAX_GRAPH_BYTES;
use tokio::sync::watch;

use super::submission;
use crate::graph::JobGraph;
use crate::jobmanager::{JobManager, JobManagerError, Listed, Look, Stage, Taken};
use pace::Pace;

/// How long the last counters of a job may take.
const LAST_LOOK_WITHIN: Duration = Duration::from_secs(1);

/// The pause between two tries to get them. For so long the JobManager shows a job as it was
/// (launch.rs, `web.refresh-interval`).
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Which applications use the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tenancy {
    /// This application alone: every job there is its job, and none gets lost while the JobManager
    /// lives.
    Own,
    /// Other applications too, and the JobManager may forget a job. A job is this application's if
    /// the leader names it.
    Session,
}

/// All jobs of this application in this cluster; clones are the same.
///
/// The board is this engine's [`Cluster`], so that the leader's calls end here. What the board
/// knows of a job's state it has from the JobManager and, for recorded ends, from the record. Hence
/// a process that is started again knows the same jobs in the same states once it has asked both.
#[derive(Clone)]
pub(crate) struct Board(Arc<Inner>);

struct Inner {
    orders: Orders,
    tenancy: Tenancy,
    record: Arc<dyn Record>,
    payloads: Payloads,
    jobmanager: JobManager,
    clock: SharedClock,
    jobs: Mutex<BTreeMap<JobId, KnownJob>>,
    /// Only one submission at a time, because the JobManager must not get the same job twice.
    submitting: tokio::sync::Mutex<()>,
}

#[derive(Clone, Default, PartialEq)]
struct KnownJob {
    state: EngineJobState,
    progress: Progress,
    /// How many of Flink's restarts were seen.
    restarts_seen: u32,
    /// When the last restart was, in Flink's own milliseconds; 0 while there was none.
    restarted_at: i64,
    /// The root cause of that restart.
    last_failure: String,
}

impl Board {
    pub(crate) fn new(
        fence: IncarnationFence,
        tenancy: Tenancy,
        record: Arc<dyn Record>,
        payloads: Payloads,
        jobmanager: JobManager,
        clock: SharedClock,
    ) -> Self {
        let (orders, jobs, submitting) =
            (Orders::new(fence), Mutex::default(), tokio::sync::Mutex::default());
        Self(Arc::new(Inner {
            orders,
            tenancy,
            record,
            payloads,
            jobmanager,
            clock,
            jobs,
            submitting,
        }))
    }

    /// Which applications use the cluster.
    pub(super) fn tenancy(&self) -> Tenancy {
        self.0.tenancy
    }

    /// Notes that these jobs are this application's, whether or not they are there.
    fn expect(&self, submitted: Vec<JobId>) {
        let mut jobs = self.jobs();
        for job in submitted {
            jobs.entry(job).or_default();
        }
    }

    async fn known(&self, job: JobId) -> Result<bool, OrderRefusal> {
        self.refresh().await?;
        let listed = self.jobs().get(&job).is_some_and(|known| known.state != EngineJobState::Lost);
        Ok(listed || self.ended(job).await?)
    }

    async fn ended(&self, job: JobId) -> Result<bool, CallError> {
        Ok(self.0.record.read_checkpoints(self.0.orders.fence(), job).await?.ended)
    }

    /// Notes that the record holds the job's end.
    pub(super) fn end_recorded(&self, job: JobId) {
        self.set(job, EngineJobState::Ended);
    }

    /// Reads the last counters of a job, which the JobManager has for as long as the job's end is
    /// being recorded, and shows a moment late. The counters are for people, so that an end does
    /// not wait for them for long.
    pub(super) async fn look_once_more(&self, job: JobId) {
        let last = async {
            loop {
                match self.look_at(job).await {
                    Ok(true) => return,
                    Ok(false) => {}
                    Err(error) => tracing::debug!("{error}"),
                }
                self.0.clock.sleep(LOOK_AGAIN).await;
            }
        };
        if timeout(&self.0.clock, LAST_LOOK_WITHIN, last).await.is_err() {
            tracing::debug!({ chassis::telemetry::fields::JOB_ID } = %job, "its last counters are not known");
        }
    }

    /// The last counters of a job.
    pub(super) fn progress(&self, job: JobId) -> Progress {
        self.jobs().get(&job).map(|known| known.progress).unwrap_or_default()
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.orders.changes()
    }

    /// Asks the JobManager again and again while jobs run.
    pub(super) async fn follow(self, shutdown: Shutdown) -> Result<(), BoxError> {
        let (mut states, mut pace) = (self.states(), Pace::new(self.0.clock.boot()));
        loop {
            tokio::select! {
                () = self.0.clock.sleep(pace.pause(self.0.clock.boot())) => {}
                () = shutdown.begun() => return Ok(()),
            }
            let now = self.states();
            if now != states {
                states = now;
                pace.changed(self.0.clock.boot());
            }
            let running = self.running();
            if running.is_empty() {
                continue;
            }
            if let Err(error) = self.refresh().await {
                tracing::debug!("{error}");
                continue;
            }
            if !pace.counts(self.0.clock.boot()) {
                continue;
            }
            for job in running {
                if let Err(error) = self.look_at(job).await {
                    tracing::debug!("{error}");
                }
            }
        }
    }

    /// Reads the counters of a job, and the cause of a restart if Flink restarted it since the last
    /// look; `true` if the counters are the last ones.
    async fn look_at(&self, job: JobId) -> Result<bool, JobManagerError> {
        let Look { mut progress, restarted_at, is_over } = self.0.jobmanager.look(job).await?;
        let before = self.jobs().get(&job).map_or(0, |known| known.restarted_at);
        let failure =
            if restarted_at > before { self.0.jobmanager.failure(job).await? } else { None };
        self.update(job, |known| {
            // Two looks may be under way at once.
            if restarted_at > known.restarted_at {
                known.restarts_seen += 1;
                known.restarted_at = restarted_at;
            }
            // Flink's count comes seconds late, and is gone once the job has ended; the count here
            // misses restarts between two looks. Neither of the two is ever too high.
            progress.restarts =
                progress.restarts.max(known.restarts_seen).max(known.progress.restarts);
            known.progress = progress;
            known.last_failure = failure.unwrap_or_else(|| std::mem::take(&mut known.last_failure));
        });
        Ok(is_over)
    }

    fn states(&self) -> BTreeMap<JobId, EngineJobState> {
        self.jobs().iter().map(|(id, known)| (*id, known.state)).collect()
    }

    fn running(&self) -> Vec<JobId> {
        self.those(|state| !matches!(state, EngineJobState::Ended | EngineJobState::Lost))
    }

    /// The jobs that Flink has ended and the record has not.
    pub(super) fn ending(&self) -> Vec<JobId> {
        self.those(|state| state == EngineJobState::Ending)
    }

    fn those(&self, wanted: impl Fn(EngineJobState) -> bool) -> Vec<JobId> {
        self.jobs().iter().filter(|(_, known)| wanted(known.state)).map(|(id, _)| *id).collect()
    }

    /// Takes over what the JobManager lists.
    async fn refresh(&self) -> Result<(), OrderRefusal> {
        let listed = self.0.jobmanager.jobs().await?;
        self.take_over(&listed).await?;
        if self.0.tenancy == Tenancy::Session {
            self.look_for_missing(&listed).await?;
        }
        Ok(())
    }

    /// Finds lost jobs. A job that is not listed was submitted a moment ago, or is lost, so that
    /// the JobManager is asked for it by name.
    async fn look_for_missing(&self, listed: &[Listed]) -> Result<(), OrderRefusal> {
        for job in self.running() {
            let text = job.to_string();
            if !listed.iter().any(|listed| listed.jid == text)
                && self.0.jobmanager.stage(job).await? == Stage::Unknown
            {
                tracing::warn!({ chassis::telemetry::fields::JOB_ID } = %job, "the session cluster does not know the job any more");
                self.set(job, EngineJobState::Lost);
            }
        }
        Ok(())
    }

    fn is_ours(&self, job: JobId) -> bool {
        self.0.tenancy == Tenancy::Own || self.jobs().contains_key(&job)
    }

    async fn take_over(&self, listed: &[Listed]) -> Result<(), OrderRefusal> {
        for listed in listed {
            let Some(id) = listed.jid.parse::<JobId>().ok().filter(|id| self.is_ours(*id)) else {
                continue;
            };
            let before = self.jobs().get(&id).map(|known| known.state);
            let now = if before == Some(EngineJobState::Ended) {
                continue;
            } else if listed.is_terminal() {
                // Flink shows the end before the record has it; after a restart of this process the
                // record knows best.
                let recorded = before.is_none() && self.ended(id).await?;
                if recorded { EngineJobState::Ended } else { EngineJobState::Ending }
            } else if listed.is_starting()
                || (listed.waits_for_slots() && before != Some(EngineJobState::Running))
            {
                EngineJobState::Starting
            } else {
                EngineJobState::Running
            };
            self.set(id, now);
        }
        Ok(())
    }

    fn set(&self, job: JobId, to: EngineJobState) {
        self.update(job, |known| {
            // A recorded end is not undone by an older answer that was on its way.
            if known.state != EngineJobState::Ended {
                known.state = to;
            }
        });
    }

    fn update(&self, job: JobId, change: impl FnOnce(&mut KnownJob)) {
        let changed = {
            let mut jobs = self.jobs();
            let known = jobs.entry(job).or_default();
            let before = known.clone();
            change(known);
            *known != before
        };
        if changed {
            self.0.orders.changed();
        }
    }

    fn jobs(&self) -> MutexGuard<'_, BTreeMap<JobId, KnownJob>> {
        self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Cluster for Board {
    fn orders(&self) -> &Orders {
        &self.0.orders
    }

    fn clock(&self) -> &SharedClock {
        &self.0.clock
    }

    async fn leads(&self, fence: &EpochFence) -> Result<bool, CallError> {
        Ok(self.0.record.confirm_epoch(fence).await?.holds)
    }

    /// Asks what the JobManager knows. A JobManager that cannot be asked is no reason to call a job
    /// lost, so that this is an error. In a session cluster, which may be away for longer than a
    /// leader is patient, a submitted job counts as known until the JobManager denies it.
    async fn take_stock(&self, submitted: Vec<JobId>) -> Result<(), OrderRefusal> {
        match self.0.tenancy {
            Tenancy::Own => self.refresh().await,
            Tenancy::Session => {
                self.expect(submitted);
                let _ = self.refresh().await.inspect_err(|error| tracing::warn!("{error}"));
                Ok(())
            }
        }
    }

    /// Hands a job to the JobManager unless the JobManager has it or its end is recorded; `true` in
    /// these two cases.
    async fn submit(&self, job: NewJob) -> Result<bool, OrderRefusal> {
        let _alone = self.0.submitting.lock().await;
        if self.known(job.id).await? {
            return Ok(true);
        }
        let bytes = self.0.payloads.get_bytes(job.graph, MAX_GRAPH_BYTES).await?;
        let graph = JobGraph::decode(&bytes)?;
        let form = submission::form(&graph, &self.0.payloads);
        // The leader may have changed while this call waited, and its successor would know nothing
        // of the job.
        self.0.orders.not_superseded(job.epoch)?;
        let submitted = self.0.jobmanager.submit(&form.content_type, form.body).await;
        if let Err(error) = submitted {
            // The answer may have been lost, and the JobManager refuses a job that it has: the list
            // says which it is.
            if self.known(job.id).await? {
                return Ok(true);
            }
            if let Some(unreadable) = form.unreadable.get() {
                return Err(unreadable.clone().into());
            }
            return Err(if error.is_final() {
                OrderRefusal::Never { reason: Reason::GraphUnreadable, message: error.to_string() }
            } else {
                error.into()
            });
        }
        tracing::info!({ chassis::telemetry::fields::JOB_ID } = %job.id, "submitted to the JobManager");
        self.set(job.id, EngineJobState::Starting);
        Ok(false)
    }

    /// Asks a job to end; a job that has ended stays as it is.
    async fn cancel(&self, job: JobId) -> Result<(), OrderRefusal> {
        match self.0.jobmanager.cancel(job).await {
            Err(JobManagerError::Refused { status: http::StatusCode::NOT_FOUND, .. }) => {
                if self.ended(job).await? { Ok(()) } else { Err(OrderRefusal::UnknownJob(job)) }
            }
            answered => Ok(answered?),
        }
    }

    async fn savepoint(&self, trigger: Trigger) -> Result<Savepoint, OrderRefusal> {
        Ok(match self.take(&trigger).await? {
            None => Savepoint::Pending,
            Some(Taken::At(pointer)) => Savepoint::Taken(pointer),
            Some(Taken::Failed(message)) => Savepoint::Failed(message),
        })
    }

    fn statuses(&self) -> Vec<JobStatus> {
        let status = |(id, known): (&JobId, &KnownJob)| JobStatus {
            job_id: id.to_string(),
            state: known.state.into(),
            progress: Some(Progress {
                waiting: known.state == EngineJobState::Starting,
                ..known.progress
            }),
            last_failure: known.last_failure.clone(),
        };
        self.jobs().iter().map(status).collect()
    }

    fn counts_silently(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests;
