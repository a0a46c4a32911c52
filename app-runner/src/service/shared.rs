//! What the driver, the steps and the watchers of one attempt share.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use chassis::clock::{Boot, Clock as _};
use chassis::tasks::Tasks;
use client::election::Lease;
use futures::FutureExt as _;
use proto::{ApplicationRef, EpochFence, Incarnation, JobId, api, engine, job, jobgraph};
use tokio::sync::{mpsc, watch};

use super::leading::Begun;
use super::retry::patiently;
use super::watchers::deaths::{Recent, Restarts};
use crate::error::PortError;
use crate::model::Fact;
use crate::ports::election::Turns;
use crate::ports::engine::{AttemptId, EngineInfo};
use crate::ports::main_process::LiveMain;
use crate::ports::substrate::{Death, Deaths, ReadyCluster};
use crate::ports::{PortResult, Ports};

/// How many facts may be on their way to the driver. Senders wait when the queue is full.
pub(super) const INBOX: usize = 256;

pub(super) struct Shared {
    pub(super) ports: Ports,
    pub(super) holder: String,
    pub(super) fence: EpochFence,
    /// An instant after the record has taken the beginning of this attempt.
    pub(super) since: Boot,
    pub(super) spec: api::ApplicationSpec,
    pub(super) secrets: BTreeMap<String, String>,
    /// The latest record that this process has seen.
    pub(super) record: watch::Sender<Arc<jobgraph::Record>>,
    pub(super) inbox: mpsc::Sender<Fact>,
    /// The work that runs beside the driver: it ends with the attempt, and the attempt ends when
    /// one of these tasks fails.
    pub(super) tasks: Tasks,
    pub(super) lease: watch::Receiver<Lease>,
    /// The contenders that wait for the leadership.
    pub(super) standbys: watch::Receiver<Vec<String>>,
    /// What the leader does right now, one line for the beat.
    pub(super) activity: watch::Sender<String>,
    pub(super) progress: watch::Sender<BTreeMap<JobId, job::Progress>>,
    /// Why running jobs were last restarted.
    pub(super) failures: watch::Sender<BTreeMap<JobId, String>>,
    /// The processes of the cluster that have died and were started again.
    pub(super) deaths: watch::Sender<Deaths>,
    /// The cluster that takes this leader's calls.
    pub(super) live: watch::Sender<Option<Incarnation>>,
    /// Whether main() may begin jobs.
    pub(super) accepting: watch::Sender<bool>,
    pub(super) directory: OnceLock<PathBuf>,
    pub(super) execution_endpoint: OnceLock<String>,
    pub(super) engine: OnceLock<EngineInfo>,
    pub(super) artifacts: OnceLock<Vec<engine::LocalArtifact>>,
    pub(super) described: OnceLock<(engine::Plan, engine::DescribeMainResponse)>,
    ready: Mutex<BTreeMap<Incarnation, ReadyCluster>>,
    main: Mutex<Option<Arc<dyn LiveMain>>>,
    stderr_tail: Mutex<String>,
    asked_by: Mutex<AskedBy>,
    complaints: Mutex<BTreeMap<String, String>>,
    restarts: Mutex<Restarts>,
    recent_deaths: Mutex<Recent>,
}

/// What the elector says of this leadership as time goes on.
pub(super) struct Tenure {
    pub(super) lease: watch::Receiver<Lease>,
    pub(super) standbys: watch::Receiver<Vec<String>>,
    /// The renewals that are due, each for a turn of the driver's loop.
    pub(super) turns: Turns,
}

impl Shared {
    pub(super) fn new(
        ports: Ports,
        holder: String,
        fence: EpochFence,
        begun: Begun,
        tenure: &Tenure,
        inbox: mpsc::Sender<Fact>,
        tasks: Tasks,
    ) -> Self {
        let Begun { record, secrets, .. } = begun;
        let spec = record
            .application
            .as_ref()
            .and_then(|application| application.spec.clone())
            .unwrap_or_default();
        Self {
            since: ports.clock.boot(),
            ports,
            holder,
            fence,
            spec,
            secrets,
            record: watch::Sender::new(record),
            inbox,
            tasks,
            lease: tenure.lease.clone(),
            standbys: tenure.standbys.clone(),
            activity: watch::Sender::default(),
            progress: watch::Sender::default(),
            failures: watch::Sender::default(),
            deaths: watch::Sender::default(),
            live: watch::Sender::default(),
            accepting: watch::Sender::new(true),
            directory: OnceLock::new(),
            execution_endpoint: OnceLock::new(),
            engine: OnceLock::new(),
            artifacts: OnceLock::new(),
            described: OnceLock::new(),
            ready: Mutex::default(),
            main: Mutex::default(),
            stderr_tail: Mutex::default(),
            asked_by: Mutex::default(),
            complaints: Mutex::default(),
            restarts: Mutex::default(),
            recent_deaths: Mutex::default(),
        }
    }

    pub(super) fn application(&self) -> &ApplicationRef {
        &self.fence.application
    }

    /// Whether the application's end is recorded, as far as the latest record says.
    pub(super) fn has_ended(&self) -> bool {
        self.record.borrow().application.as_ref().is_some_and(|known| known.terminal)
    }

    /// Keeps a record unless a newer one is kept.
    pub(super) fn keep_record(&self, newer: &Arc<jobgraph::Record>) {
        let revision = |record: &jobgraph::Record| {
            record.application.as_ref().map_or(0, |known| known.revision)
        };
        self.record.send_if_modified(|kept| {
            let replace = revision(newer) >= revision(kept);
            if replace {
                *kept = newer.clone();
            }
            replace
        });
    }

    /// Tells the driver a fact, from a task that carries out no decision.
    pub(super) async fn tell(&self, fact: Fact) {
        // Sending fails only when the attempt is over, and then the fact changes nothing any more.
        let _ = self.inbox.send(fact).await;
    }

    /// Begins work of the attempt that ends by itself.
    pub(super) fn spawn(&self, name: &str, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_job(name, work.map(Ok::<(), Infallible>));
    }

    /// Waits while the lease's deadline is past, because the same epoch may be confirmed again. An
    /// error once the lease is lost.
    pub(super) async fn confirmed(&self) -> PortResult<()> {
        let over = |cause: &str| PortError::away(format!("this leadership is over: {cause}"));
        let mut lease = self.lease.clone();
        loop {
            match &*lease.borrow_and_update() {
                Lease::Until(until) if self.ports.clock.boot() < *until => return Ok(()),
                Lease::Until(_) => {}
                Lease::Lost(cause) => return Err(over(cause)),
            }
            lease.changed().await.map_err(|_| over("the campaign has ended"))?;
        }
    }

    /// Repeats a call until it is answered with a result or a refusal, and begins no try past the
    /// lease's deadline. The store's fence stands behind this: a call that is on its way when the
    /// deadline comes may still arrive.
    pub(super) async fn patiently<T, E, F, Fut>(&self, what: &str, mut call: F) -> PortResult<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Into<PortError>,
    {
        patiently(&self.ports.clock, what, || {
            // The call begins when it is first polled, so not before the lease is confirmed.
            let call = call();
            async {
                match self.confirmed().await {
                    Ok(()) => call.await.map(Ok).map_err(Into::into),
                    // The end of the leadership is an answer in itself, which is not repeated.
                    Err(over) => Ok::<_, PortError>(Err(over)),
                }
            }
        })
        .await?
    }

    /// Reads the record anew: its watch shows a write a moment after the writer was answered.
    pub(super) async fn refresh(&self) -> PortResult<Arc<jobgraph::Record>> {
        let record = self
            .patiently("read the record", || self.ports.record.read(self.application()))
            .await?;
        let record = Arc::new(record);
        self.keep_record(&record);
        Ok(record)
    }

    pub(super) fn attempt_id(&self) -> AttemptId {
        let submitted = self.record.borrow().traceparent.clone();
        AttemptId {
            fence: self.fence.clone(),
            engine: self.spec.engine.clone(),
            directory: self.directory.get().cloned().unwrap_or_default(),
            execution: self.execution_endpoint.get().cloned().unwrap_or_default(),
            traceparent: chassis::telemetry::trace::current_traceparent().unwrap_or(submitted),
        }
    }

    /// Where clusters keep what outlives them.
    pub(super) fn checkpoints_directory(&self) -> String {
        self.ports.workspace.checkpoints(self.application()).to_string_lossy().into_owned()
    }

    /// Where outputs of relative targets go.
    pub(super) fn output_directory(&self) -> PathBuf {
        if self.spec.output.is_empty() {
            self.ports.workspace.outputs(self.application())
        } else {
            PathBuf::from(&self.spec.output)
        }
    }

    /// The latest incarnation of the application; 0 before the first one.
    pub(super) fn latest_incarnation(&self) -> Incarnation {
        let record = self.record.borrow();
        let cluster = record.application.as_ref().and_then(|known| known.cluster.as_ref());
        Incarnation(cluster.map_or(0, |cluster| cluster.incarnation))
    }

    pub(super) fn ready(&self, incarnation: Incarnation) -> Option<ReadyCluster> {
        lock(&self.ready).get(&incarnation).cloned()
    }

    pub(super) fn keep_ready(&self, incarnation: Incarnation, cluster: ReadyCluster) {
        lock(&self.ready).insert(incarnation, cluster);
    }

    pub(super) fn main(&self) -> Option<Arc<dyn LiveMain>> {
        lock(&self.main).clone()
    }

    pub(super) fn keep_main(&self, main: Arc<dyn LiveMain>) {
        *lock(&self.main) = Some(main);
    }

    pub(super) fn stderr_tail(&self) -> String {
        lock(&self.stderr_tail).clone()
    }

    pub(super) fn keep_stderr_tail(&self, tail: &str) {
        tail.clone_into(&mut lock(&self.stderr_tail));
    }

    /// Notes that a process of the cluster has died.
    pub(super) fn note_death(&self, death: &Death) {
        lock(&self.recent_deaths).note(self.ports.clock.boot(), death);
    }

    /// The processes of the cluster that have died just now, one sentence each.
    pub(super) fn recent_deaths(&self) -> Vec<String> {
        lock(&self.recent_deaths).before(self.ports.clock.boot())
    }

    /// Whether `text` differs from what was said about `subject` last. What fails and is tried
    /// again is said once, not once a try.
    pub(super) fn is_news(&self, subject: &str, text: &str) -> bool {
        lock(&self.complaints)
            .insert(subject.to_owned(), text.to_owned())
            .is_none_or(|said| said != text)
    }

    /// Whether a restart of a job for this cause is to be told.
    pub(super) fn tells_restart(&self, job: JobId, cause: &str) -> bool {
        lock(&self.restarts).note(job, cause)
    }

    /// The trace context of the execute() that asked for a job in this attempt.
    pub(super) fn asked_by(&self, job: JobId) -> Option<String> {
        let asked = lock(&self.asked_by);
        if let Some(known) = asked.jobs.get(&job) {
            return Some(known.clone());
        }
        // The watch may show the job before the call that stored it is answered. An unnamed call is
        // alone.
        let name = self.job(job)?.name;
        asked.calls.get(&name).or_else(|| asked.calls.get("")).cloned()
    }

    /// Notes that the current call is about to store a job of this name.
    pub(super) fn asks(&self, name: &str) {
        if let Some(traceparent) = chassis::telemetry::trace::current_traceparent() {
            lock(&self.asked_by).calls.insert(name.to_owned(), traceparent);
        }
    }

    /// Notes that the call that stored a job of this name was answered with this id.
    pub(super) fn asked_for(&self, name: &str, job: JobId) {
        let mut asked = lock(&self.asked_by);
        if let Some(traceparent) = asked.calls.remove(name) {
            asked.jobs.insert(job, traceparent);
        }
    }

    /// Whether savepoints are wished for under this request id, as far as the latest record says.
    pub(super) fn is_wished(&self, request_id: &str) -> bool {
        let record = self.record.borrow();
        let desired =
            record.application.iter().filter_map(|application| application.desired.as_ref());
        desired.flat_map(|desired| &desired.savepoints).any(|wish| wish.request_id == request_id)
    }

    /// All jobs of this generation.
    pub(super) fn own_jobs(&self) -> Vec<JobId> {
        let record = self.record.borrow();
        let jobs = record.application.iter().flat_map(|application| &application.jobs);
        jobs.filter_map(|job| job.job_id.parse().ok()).collect()
    }

    /// The jobs without an end that a cluster may know.
    pub(super) fn submitted_jobs(&self) -> Vec<JobId> {
        let record = self.record.borrow();
        let jobs = record.application.iter().flat_map(|application| &application.jobs);
        let submitted = jobs.filter(|job| job.end.is_none() && job.submissions > 0);
        submitted.filter_map(|job| job.job_id.parse().ok()).collect()
    }

    /// A job as the latest record has it.
    pub(super) fn job(&self, job: JobId) -> Option<api::Job> {
        let id = job.to_string();
        let record = self.record.borrow();
        record.application.as_ref()?.jobs.iter().find(|job| job.job_id == id).cloned()
    }
}

/// The trace contexts of the execute() calls of one attempt; empty where calls are not traced.
#[derive(Default)]
struct AskedBy {
    /// By the name in the call, until the record has said which job the name means.
    calls: BTreeMap<String, String>,
    jobs: BTreeMap<JobId, String>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
