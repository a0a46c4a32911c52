//! All ports in one process: a record with its fences, an elector, a cluster and a main() that is a function. For tests and
//! simulations; what it keeps, it keeps in memory.

mod cluster;
mod election;
mod main;
mod record;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use chassis::clock::{Clock as _, SharedClock};
use client::describe::Subject;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{StreamExt as _, stream};
use proto::{ApplicationRef, Digest, Epoch, EpochFence, JobId, Reason, api, job, jobgraph};
use tokio::sync::{mpsc, watch};

use super::artifacts::{Artifacts, Fetched, Wanted};
use super::election::Lease;
use super::engine::{AttemptId, Engine, EngineInfo};
use super::record::Payloads;
use super::workspace::Workspace;
use super::{PortResult, Ports};
use crate::error::PortError;
use crate::service::execution::Execution;

/// A main(): answers the exit code.
pub type Program = Arc<dyn Fn(Started) -> BoxFuture<'static, i32> + Send + Sync>;

/// What a main() is started with.
pub struct Started {
    /// The attempt's `ExecutionService`, when the host itself is the attempt's front.
    pub execution: Option<Execution>,
    /// As a process would get it.
    pub environment: BTreeMap<String, String>,
}

/// What a job of a given name does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Ends SUCCEEDED with one output.
    Succeed,
    /// Ends FAILED.
    Fail,
    /// Runs until it is cancelled.
    Run,
}

/// Of the one application.
pub const UID: &str = "00112233445566778899aabbccddeeff";

/// One host with one application; clones are the same host.
#[derive(Clone)]
pub struct World {
    state: Arc<Mutex<State>>,
    changes: watch::Sender<Arc<jobgraph::Record>>,
    news_held: watch::Sender<bool>,
    clock: SharedClock,
    program: Program,
}

struct State {
    epoch: Epoch,
    lease: Option<(Epoch, watch::Sender<Lease>)>,
    /// Renewals that wait for the holder's loop.
    due: Option<mpsc::Sender<()>>,
    record: jobgraph::Record,
    calls: BTreeMap<String, String>,
    payloads: BTreeMap<Digest, Bytes>,
    journal: BTreeMap<String, Bytes>,
    behaviours: BTreeMap<String, Behaviour>,
    cluster: Option<cluster::Processes>,
    executions: BTreeMap<Epoch, Execution>,
    mains: BTreeMap<Epoch, watch::Sender<main::Fate>>,
    done: Vec<String>,
    /// As the engine was told of the application.
    subjects: Vec<Subject>,
    refuse_main: Option<PortError>,
    exits_with_signals: bool,
    refuse_write: Option<PortError>,
    /// So many looks at the outbox find output that waits.
    unshipped: u32,
    /// Of the lists of files that jobs end with, when they themselves cannot be read.
    lists_digest: String,
    equal_job_names: bool,
    no_savepoints: bool,
}

impl World {
    /// A host with one submitted application whose main() is `program`.
    pub fn new(clock: SharedClock, spec: api::ApplicationSpec, program: Program) -> Self {
        let application = api::Application {
            application_id: spec.application_id.clone(),
            uid: UID.to_owned(),
            generation: 1,
            spec: Some(spec),
            revision: 1,
            desired: Some(api::Desired::default()),
            ..api::Application::default()
        };
        let record = jobgraph::Record { application: Some(application), ..jobgraph::Record::default() };
        let changes = watch::Sender::new(Arc::new(record.clone()));
        let state = State {
            epoch: Epoch(0),
            lease: None,
            due: None,
            record,
            calls: BTreeMap::new(),
            payloads: BTreeMap::new(),
            journal: BTreeMap::new(),
            behaviours: BTreeMap::new(),
            cluster: None,
            executions: BTreeMap::new(),
            mains: BTreeMap::new(),
            done: Vec::new(),
            subjects: Vec::new(),
            refuse_main: None,
            exits_with_signals: false,
            refuse_write: None,
            unshipped: 0,
            lists_digest: String::new(),
            equal_job_names: false,
            no_savepoints: false,
        };
        let news_held = watch::Sender::new(false);
        Self { state: Arc::new(Mutex::new(state)), changes, news_held, clock, program }
    }

    /// All of it as ports.
    pub fn ports(&self) -> Ports {
        let this = Arc::new(self.clone());
        Ports {
            election: this.clone(),
            record: this.clone(),
            payloads: this.clone(),
            artifacts: this.clone(),
            engine: this.clone(),
            substrate: this.clone(),
            jobs: this.clone(),
            main: this.clone(),
            workspace: this,
            clock: self.clock.clone(),
        }
    }

    /// The application.
    pub fn application(&self) -> ApplicationRef {
        let id = self
            .lock()
            .record
            .application
            .as_ref()
            .map(|known| known.application_id.clone())
            .unwrap_or_default();
        ApplicationRef {
            id: id.parse().expect("a test's application has a valid id"),
            generation: proto::Generation(1),
        }
    }

    /// What jobs of a name do; others succeed.
    pub fn behave(&self, job: &str, behaviour: Behaviour) {
        self.lock().behaviours.insert(job.to_owned(), behaviour);
    }

    /// The engine gives a name to several jobs.
    pub fn allow_equal_names(&self) {
        self.lock().equal_job_names = true;
    }

    /// Has `DescribeMain` refused.
    pub fn refuse_main(&self, error: PortError) {
        self.lock().refuse_main = Some(error);
    }

    /// Has the engine describe a main() whose exit codes stand for signals.
    pub fn exit_with_signals(&self) {
        self.lock().exits_with_signals = true;
    }

    /// Has the next write of a leader refused.
    pub fn refuse_write(&self, error: PortError) {
        self.lock().refuse_write = Some(error);
    }

    /// Has output wait to be taken into the record until so many looks have found it.
    pub fn keep_output_waiting(&self, looks: u32) {
        self.lock().unshipped = looks;
    }

    /// Asks for a cancel.
    pub fn cancel(&self) {
        self.write(|state| {
            let application = state.application();
            let desired = application.desired.get_or_insert_default();
            desired.cancel = true;
            desired.revision += 1;
        });
    }

    /// Asks for a savepoint of every job that runs, or for their stop with one.
    pub fn ask_for_savepoints(&self, request_id: &str, stop: bool) {
        self.write(|state| {
            let application = state.application();
            let open = application.jobs.iter().filter(|job| job.end.is_none());
            let wish = api::SavepointWish {
                request_id: request_id.to_owned(),
                job_ids: open.map(|job| job.job_id.clone()).collect(),
                stop,
                ..api::SavepointWish::default()
            };
            let desired = application.desired.get_or_insert_default();
            desired.savepoints.push(wish);
            desired.revision += 1;
        });
    }

    /// The engine has no savepoints.
    pub fn refuse_savepoints(&self) {
        self.lock().no_savepoints = true;
    }

    /// Sets the deadline, from now on.
    pub fn set_deadline(&self, from_now: Duration) {
        let at = self.clock.wall() + from_now;
        self.write(|state| state.application().deadline_at = Some(at.into()));
    }

    /// The record.
    pub fn record(&self) -> Arc<jobgraph::Record> {
        self.changes.borrow().clone()
    }

    /// While they are held, no watch of the record tells of a write; whoever reads sees it.
    pub fn hold_news(&self, held: bool) {
        self.news_held.send_replace(held);
    }

    /// Waits until the application looks as wanted.
    pub async fn until(&self, wanted: impl Fn(&api::Application) -> bool) -> api::Application {
        let mut changes = self.changes.subscribe();
        let seen = changes.wait_for(|record| record.application.as_ref().is_some_and(&wanted)).await;
        seen.ok().and_then(|record| record.application.clone()).unwrap_or_default()
    }

    /// The application, each time that the engine was told of it.
    pub fn subjects(&self) -> Vec<Subject> {
        self.lock().subjects.clone()
    }

    /// Everything that was done, in order: `submit a`, `main`, `publish a`, …
    pub fn done(&self) -> Vec<String> {
        self.lock().done.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One commit: everybody who watches sees it.
    fn write<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let answer = change(&mut state);
        state.application().revision += 1;
        self.changes.send_replace(Arc::new(state.record.clone()));
        answer
    }

    /// One commit of a leader, compared with the epoch.
    fn fenced<T>(
        &self,
        fence: &EpochFence,
        change: impl FnOnce(&mut State) -> PortResult<T>,
    ) -> PortResult<T> {
        let current = self.lock().epoch;
        if fence.epoch != current {
            let mut error =
                PortError::refused(Reason::EpochSuperseded, format!("epoch {} is superseded", fence.epoch));
            error.kind = crate::error::PortErrorKind::Superseded(current);
            return Err(error);
        }
        if let Some(error) = self.lock().refuse_write.take() {
            return Err(error);
        }
        self.write(change)
    }
}

impl State {
    fn application(&mut self) -> &mut api::Application {
        self.record.application.get_or_insert_default()
    }

    fn job(&mut self, job: JobId) -> PortResult<&mut api::Job> {
        let id = job.to_string();
        self.application()
            .jobs
            .iter_mut()
            .find(|job| job.job_id == id)
            .ok_or_else(|| PortError::refused(Reason::JobNotFound, id))
    }

    fn note(&mut self, what: impl Into<String>) {
        self.done.push(what.into());
    }
}

#[async_trait]
impl Payloads for World {
    async fn present(&self, digests: &[Digest]) -> PortResult<std::collections::BTreeSet<Digest>> {
        let state = self.lock();
        Ok(digests.iter().filter(|digest| state.payloads.contains_key(digest)).copied().collect())
    }

    async fn put(&self, digest: Digest, bytes: Bytes) -> PortResult<()> {
        self.lock().payloads.insert(digest, bytes);
        Ok(())
    }

    async fn put_file(&self, digest: Digest, _path: &Path) -> PortResult<()> {
        self.put(digest, Bytes::new()).await
    }

    async fn put_stream(
        &self,
        digest: Digest,
        _size_bytes: u64,
        chunks: BoxStream<'static, Bytes>,
    ) -> PortResult<bool> {
        let bytes = chunks.fold(BytesMut::new(), |mut all, chunk| async move {
            all.extend_from_slice(&chunk);
            all
        });
        let bytes = bytes.await.freeze();
        if Digest::of(&bytes) != digest {
            return Err(PortError::refused(Reason::PayloadDigestMismatch, "the bytes have another digest"));
        }
        Ok(self.lock().payloads.insert(digest, bytes).is_some())
    }

    async fn get(&self, digest: Digest) -> PortResult<BoxStream<'static, PortResult<Bytes>>> {
        let found = self.lock().payloads.get(&digest).cloned();
        let bytes = found.ok_or_else(|| PortError::refused(Reason::PayloadMissing, digest.to_string()))?;
        Ok(stream::iter([Ok(bytes)]).boxed())
    }
}

#[async_trait]
impl Artifacts for World {
    async fn fetch(
        &self,
        _application: &ApplicationRef,
        wanted: &Wanted,
        _activity: &watch::Sender<String>,
    ) -> PortResult<Fetched> {
        if let Some(path) = wanted.uri.expose().strip_prefix("missing:") {
            return Err(PortError::refused(Reason::ArtifactNotFound, format!("there is nothing at {path}")));
        }
        let path = wanted.link_to.clone().unwrap_or_default();
        Ok(Fetched { digest: Digest::of(wanted.uri.expose().as_bytes()), size_bytes: 1, path })
    }

    async fn release(&self, _application: &ApplicationRef) -> PortResult<()> {
        self.lock().note("release");
        Ok(())
    }
}

#[async_trait]
impl Engine for World {
    async fn start(&self, _attempt: &AttemptId) -> PortResult<Option<EngineInfo>> {
        Ok(Some(EngineInfo {
            name: "memory".to_owned(),
            version: "1".to_owned(),
            equal_job_names: self.lock().equal_job_names,
            ..EngineInfo::default()
        }))
    }

    async fn plan(&self, subject: &Subject) -> PortResult<proto::engine::Plan> {
        self.lock().subjects.push(subject.clone());
        Ok(proto::engine::Plan::default())
    }

    async fn launch(&self, subject: &Subject) -> PortResult<proto::engine::DescribeMainResponse> {
        let mut state = self.lock();
        state.subjects.push(subject.clone());
        match state.refuse_main.clone() {
            Some(error) => Err(error),
            None => Ok(proto::engine::DescribeMainResponse {
                exits_with_signals: state.exits_with_signals,
                ..Default::default()
            }),
        }
    }

    async fn publish(&self, job: JobId, _manifest: job::Manifest, _own: &[JobId]) -> PortResult<()> {
        let mut state = self.lock();
        let name = state.job(job)?.name.clone();
        state.note(format!("publish {name}"));
        Ok(())
    }

    async fn sweep(&self, what: proto::engine::SweepRequest) -> PortResult<()> {
        self.lock().note(format!("sweep {}", what.owners.len()));
        Ok(())
    }

    async fn end(&self, fence: &EpochFence) {
        self.lock().note(format!("describe of {} ended", fence.epoch));
    }
}

#[async_trait]
impl Workspace for World {
    async fn prepare(&self, fence: &EpochFence) -> PortResult<PathBuf> {
        Ok(PathBuf::from(format!("/memory/{}", fence.epoch)))
    }

    async fn artifacts(&self, _application: &ApplicationRef) -> PortResult<PathBuf> {
        Ok("/memory/artifacts".into())
    }

    async fn link(&self, _file: &Path, _link: PathBuf) -> PortResult<()> {
        Ok(())
    }

    async fn write(
        &self,
        _path: &Path,
        _digest: Digest,
        _executable: bool,
        mut chunks: BoxStream<'static, PortResult<Bytes>>,
    ) -> PortResult<u64> {
        let mut size = 0;
        while let Some(chunk) = chunks.next().await {
            size += chunk?.len() as u64;
        }
        Ok(size)
    }

    async fn remove(&self, _application: &ApplicationRef) -> Vec<String> {
        self.lock().note("remove");
        Vec::new()
    }

    async fn unshipped(&self, _application: &ApplicationRef) -> Vec<String> {
        let mut state = self.lock();
        let waits = state.unshipped > 0;
        state.unshipped = state.unshipped.saturating_sub(1);
        Vec::from_iter(waits.then(|| "output of main() that waits".to_owned()))
    }

    async fn forget(&self, _application: &ApplicationRef) {}

    fn outputs(&self, application: &ApplicationRef) -> PathBuf {
        PathBuf::from(format!("/memory/outputs/{application}"))
    }

    fn checkpoints(&self, application: &ApplicationRef) -> PathBuf {
        PathBuf::from(format!("/memory/checkpoints/{application}"))
    }
}
