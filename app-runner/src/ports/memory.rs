//! One host for tests, or several: the real record over memory, an elector, clusters whose jobs do
//! what they are told, and a main() that is a function.

mod cluster;
mod election;
mod main;
mod payloads;
mod record;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::record::Record;
use async_trait::async_trait;
use bytes::Bytes;
use chassis::clock::SharedClock;
use chassis::credential::DeploymentKey;
use client::artifacts::Wanted;
use client::describe::Subject;
use client::election::Lease;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use jobgraph_store::blobs::memory::MemoryBlobs;
use jobgraph_store::service::Service;
use jobgraph_store::store::memory::MemoryMetadata;
use proto::engine::Commit;
use proto::{
    ApplicationRef, Digest, Epoch, EpochFence, Generation, Incarnation, JobId, Place, PlaceUid,
    Problem, Reason, api, job,
};
use tokio::sync::{mpsc, watch};

use super::artifacts::{Artifacts, Fetched};
use super::engine::{AttemptId, Engine, EngineInfo};
use super::keyring::Keyring;
use super::workspace::Workspace;
use super::{PortResult, Ports};
use crate::error::PortError;
use crate::service::execution::MainService;

/// A main() as a function, which answers its exit code.
pub type Program = Arc<dyn Fn(Started) -> BoxFuture<'static, i32> + Send + Sync>;

/// What a main() is started with.
pub struct Started {
    /// The attempt's `ExecutionService`, when the host itself is the attempt's front.
    pub execution: Option<MainService>,
    /// The environment as a process would get it.
    pub environment: BTreeMap<String, String>,
}

/// What a job does that has a given name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// The job ends SUCCEEDED with one output.
    Succeed,
    /// The job ends FAILED.
    Fail,
    /// The job runs until it is cancelled.
    Run,
}

/// How long a leader waits for a cluster on another host whose outputs are not gated.
pub const SUCCESSOR_WAITS: Duration = Duration::from_secs(60);

/// One host with one application. Clones are the same host; [`at`](Self::at) is another one.
#[derive(Clone)]
pub struct World {
    /// This host, where there are several.
    place: Option<Place>,
    state: Arc<Mutex<WorldState>>,
    store: Service,
    blobs: MemoryBlobs,
    application: ApplicationRef,
    uid: String,
    key: DeploymentKey,
    news_held: watch::Sender<bool>,
    clock: SharedClock,
    program: Program,
}

#[derive(Default)]
struct WorldState {
    /// The epochs that were granted, in order.
    granted: Vec<Epoch>,
    lease: Option<(Epoch, watch::Sender<Lease>)>,
    /// The channel of renewals that wait for the holder's loop.
    due: Option<mpsc::Sender<()>>,
    /// The files that were fetched, by digest.
    files: BTreeMap<Digest, Bytes>,
    /// How often a file was put into the record.
    files_put: usize,
    behaviours: BTreeMap<String, Behaviour>,
    /// The cluster of each host.
    clusters: BTreeMap<Option<PlaceUid>, cluster::Processes>,
    /// The jobs that a cluster has ended.
    ended: BTreeSet<(Incarnation, JobId)>,
    executions: BTreeMap<Epoch, MainService>,
    /// The main()s by host and attempt.
    mains: BTreeMap<(Option<PlaceUid>, Epoch), watch::Sender<main::Fate>>,
    done: Vec<String>,
    /// The application, each time that the engine was told of it.
    subjects: Vec<Subject>,
    refuse_main: Option<PortError>,
    exits_with_signals: bool,
    refuse_write: Option<Problem>,
    /// How many more looks at the outbox find output that waits.
    unshipped: u32,
    damage_lists: bool,
    /// The lists of files that are damaged in the record, as they were before.
    damaged: BTreeMap<Digest, Bytes>,
    equal_job_names: bool,
    no_savepoints: bool,
    /// Whether outputs are visible as they are written.
    ungated: bool,
}

impl World {
    /// A host with one submitted application whose main() is `program`.
    pub async fn new(clock: SharedClock, spec: api::ApplicationSpec, program: Program) -> Self {
        let blobs = MemoryBlobs::default();
        let metadata = Arc::new(MemoryMetadata::default());
        let store = Service::new(metadata, Arc::new(blobs.clone()), clock.clone());
        let request = api::SubmitRequest {
            request_id: "a wish".into(),
            spec: Some(spec),
            ..Default::default()
        };
        let made = store.submit(request).await.expect("the spec can be submitted").application;
        let id = made.application_id.parse().expect("the record gives valid ids");
        Self {
            place: None,
            state: Arc::default(),
            store,
            blobs,
            application: ApplicationRef { id, generation: Generation(made.generation) },
            uid: made.uid,
            key: DeploymentKey::generate(),
            news_held: watch::Sender::new(false),
            clock,
            program,
        }
    }

    /// Another host of the same deployment: it has the record and the elector in common with this
    /// one, and processes of its own.
    pub fn at(&self, place: Place) -> Self {
        Self { place: Some(place), ..self.clone() }
    }

    /// The whole host as the ports of one runner.
    pub fn ports(&self) -> Ports {
        let this = Arc::new(self.clone());
        Ports {
            election: this.clone(),
            record: Arc::new(record::Tapped(self.clone())),
            keyring: Keyring::default(),
            payloads: this.clone(),
            artifacts: this.clone(),
            engine: this.clone(),
            substrate: this.clone(),
            jobs: this.clone(),
            main: this.clone(),
            workspace: this,
            clock: self.clock.clone(),
            place: self.place.clone(),
            successor_waits: SUCCESSOR_WAITS,
        }
    }

    /// The application that was submitted.
    pub fn application(&self) -> ApplicationRef {
        self.application.clone()
    }

    /// The id of the job with this name.
    pub fn job_id(&self, name: &str, occurrence: u32) -> JobId {
        JobId::derive(&self.application, &self.uid, name, occurrence)
    }

    /// The key that mints the tokens that the record answers.
    pub fn key(&self) -> &DeploymentKey {
        &self.key
    }

    /// Says what jobs of a name do. All other jobs succeed.
    pub fn behave(&self, job: &str, behaviour: Behaviour) {
        self.lock().behaviours.insert(job.to_owned(), behaviour);
    }

    /// Has the engine allow that several jobs have one name.
    pub fn allow_equal_names(&self) {
        self.lock().equal_job_names = true;
    }

    /// Has the engine plan clusters whose outputs are visible as they are written.
    pub fn plan_ungated(&self) {
        self.lock().ungated = true;
    }

    /// Gives a host up, as a person does who knows that nothing of it lives.
    pub async fn give_up(&self, host: &Place) {
        let given_up = self.store.give_up_place(host.uid(), "me@here", "its disk is gone");
        given_up.await.expect("memory does not refuse");
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
    pub fn refuse_write(&self, problem: Problem) {
        self.lock().refuse_write = Some(problem);
    }

    /// Has output wait to be taken into the record until so many looks have found it.
    pub fn keep_output_waiting(&self, looks: u32) {
        self.lock().unshipped = looks;
    }

    /// Asks for a cancel.
    pub async fn cancel(&self) {
        let ApplicationRef { id, generation } = &self.application;
        let cancel = self.store.cancel(id, generation.get(), "enough", "me@here");
        cancel.await.expect("the application can be cancelled");
    }

    /// Gives up what cannot be removed.
    pub async fn abandon(&self) {
        let ApplicationRef { id, generation } = &self.application;
        let abandon = self.store.abandon(id, generation.get(), "enough", "me@here");
        abandon.await.expect("the application can be abandoned");
    }

    /// Asks for a savepoint of every job that runs, or for their stop with one.
    pub async fn ask_for_savepoints(&self, request_id: &str, stop: bool) {
        let ApplicationRef { id, generation } = &self.application;
        let request_id = request_id.to_owned();
        let wish = api::SavepointWish { request_id, stop, ..api::SavepointWish::default() };
        let ask = self.store.ask_for_savepoints(id, generation.get(), &wish);
        ask.await.expect("a job runs");
    }

    /// Has the engine refuse savepoints.
    pub fn refuse_savepoints(&self) {
        self.lock().no_savepoints = true;
    }

    /// The application as it is recorded.
    pub async fn recorded(&self) -> api::Application {
        let record = self.store.read(&self.application).await.expect("memory is read");
        record.application.expect("the application was submitted")
    }

    /// Holds the news of writes back, or lets them go on. While they are held, no runner's watch of
    /// the record tells of a write; a runner that reads the record sees the write.
    pub fn hold_news(&self, held: bool) {
        self.news_held.send_replace(held);
    }

    /// Waits until the application looks as wanted.
    pub async fn until(&self, wanted: impl Fn(&api::Application) -> bool) -> api::Application {
        let records = Record::watch(&self.store, &self.application).await;
        let mut records = records.expect("memory is watched");
        while let Some(record) = records.next().await {
            let record = record.expect("memory is read");
            match record.application {
                Some(application) if wanted(&application) => return application,
                _ => {}
            }
        }
        panic!("the application is clean and did not look as wanted")
    }

    /// How often a file was put into the record.
    pub fn files_put(&self) -> usize {
        self.lock().files_put
    }

    /// The application, each time that the engine was told of it.
    pub fn subjects(&self) -> Vec<Subject> {
        self.lock().subjects.clone()
    }

    /// Everything that was done, in order: `submit a`, `main`, `publish a`, …
    pub fn done(&self) -> Vec<String> {
        self.lock().done.clone()
    }

    fn lock(&self) -> MutexGuard<'_, WorldState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the processes of this host are found by.
    fn host(&self) -> Option<PlaceUid> {
        self.place.as_ref().map(Place::uid)
    }
}

impl WorldState {
    fn note(&mut self, what: impl Into<String>) {
        self.done.push(what.into());
    }
}

#[async_trait]
impl Artifacts for World {
    async fn fetch(
        &self,
        wanted: &Wanted,
        _activity: &watch::Sender<String>,
    ) -> PortResult<Fetched> {
        let uri = wanted.uri.expose();
        if uri.starts_with("/missing/") {
            return Err(PortError::refused(
                Reason::ArtifactNotFound,
                format!("there is nothing at {uri}"),
            ));
        }
        let path = wanted.link_to.clone().unwrap_or_default();
        let bytes = Bytes::copy_from_slice(uri.as_bytes());
        let (digest, size_bytes) = (Digest::of(&bytes), bytes.len() as u64);
        self.lock().files.insert(digest, bytes);
        Ok(Fetched { digest, size_bytes, path })
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
        let mut state = self.lock();
        state.subjects.push(subject.clone());
        let commit = if state.ungated { Commit::None } else { Commit::Gated };
        Ok(proto::engine::Plan { commit: commit.into(), ..Default::default() })
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

    async fn publish(
        &self,
        job: JobId,
        _manifest: job::Manifest,
        _own: &[JobId],
    ) -> PortResult<()> {
        let id = job.to_string();
        let jobs = self.recorded().await.jobs;
        let job = jobs.into_iter().find(|job| job.job_id == id);
        let job = job.ok_or_else(|| PortError::refused(Reason::JobNotFound, id))?;
        self.lock().note(format!("publish {}", job.name));
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
