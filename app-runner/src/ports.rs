//! Everything outside of a runner: one trait for each thing, few verbs. The wire's messages are used as they are where
//! they are only passed on; what decisions rest on is translated into the model's words in [`view`].
//!
//! Law of every port: a call may be repeated after any error, and a repeat that finds the thing done answers as the
//! first one did. Nothing here retries for ever: that is the service's choice, by [`PortError::is_away`].

pub mod artifacts;
pub mod election;
pub mod engine;
pub mod jobs;
pub mod main_process;
pub mod memory;
pub mod record;
pub mod substrate;
pub mod view;
pub mod workspace;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chassis::clock::{Boot, SharedClock};
use futures::stream::BoxStream;
use proto::{
    ApplicationRef, Digest, Epoch, EpochFence, Incarnation, JobId, api, engine as wire, job, jobgraph,
};
use tokio::sync::watch;

use crate::error::PortError;
use crate::model::{Failure, MainExit, Outcome, Wish};

/// What a port answers.
pub type PortResult<T> = Result<T, PortError>;

/// All that a runner reaches out to.
#[derive(Clone)]
pub struct Ports {
    /// Who leads.
    pub election: Arc<dyn Election>,
    /// The durable record.
    pub record: Arc<dyn RecordStore>,
    /// Bytes by digest, in the record.
    pub payloads: Arc<dyn Payloads>,
    /// Bytes from anywhere.
    pub artifacts: Arc<dyn Artifacts>,
    /// The engine's `describe`.
    pub engine: Arc<dyn Engine>,
    /// The processes of clusters.
    pub substrate: Arc<dyn Substrate>,
    /// Jobs in the cluster.
    pub jobs: Arc<dyn Jobs>,
    /// main().
    pub main: Arc<dyn MainProcess>,
    /// Directories.
    pub workspace: Arc<dyn Workspace>,
    /// Time.
    pub clock: SharedClock,
}

/// A campaign for the leadership of one application.
#[async_trait]
pub trait Election: Send + Sync {
    /// Waits until elected, for as long as that takes; dropping it withdraws. The epoch is above `at_least`.
    async fn campaign(
        &self,
        application: &ApplicationRef,
        at_least: Epoch,
    ) -> PortResult<Box<dyn Leadership>>;
}

/// One leadership; it is renewed in the background for as long as this lives.
#[async_trait]
pub trait Leadership: Send + Sync {
    /// Its number.
    fn epoch(&self) -> Epoch;
    /// Why there was a change of leader; empty for the first.
    fn cause(&self) -> String;
    /// What is known of the lease.
    fn lease(&self) -> watch::Receiver<Lease>;
    /// Ties the renewals to the loop that takes from this: from now on each waits until its turn was taken here, so that a loop
    /// that hangs loses its lease although its process lives.
    fn turns(&self) -> Turns;
    /// Gives it up, durable when this returns. Bounded: a leadership that cannot be given up runs out.
    async fn resign(&self);
}

/// Yields each time a renewal is due; taking it allows the renewal. Never ends.
pub type Turns = BoxStream<'static, ()>;

/// The lease of a leadership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lease {
    /// Act until then; past it stop, and go on if a later instant comes.
    Until(Boot),
    /// Over.
    Lost(String),
}

/// A leader's first answer from the record.
#[derive(Debug, Clone)]
pub struct Begun {
    /// What is to be done.
    pub disposition: Disposition,
    /// The record.
    pub record: Arc<jobgraph::Record>,
    /// Values of `spec.secrets`.
    pub secrets: BTreeMap<String, String>,
}

/// What a new leader finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Something to run or to clean up.
    Open,
    /// Nothing to do; nothing was written.
    Clean,
}

/// The durable record. `Superseded` from any write: stop acting at once.
#[async_trait]
pub trait RecordStore: Send + Sync {
    /// The record now.
    async fn read(&self, application: &ApplicationRef) -> PortResult<Arc<jobgraph::Record>>;
    /// The record now, and again after each change.
    async fn watch(
        &self,
        application: &ApplicationRef,
    ) -> PortResult<BoxStream<'static, PortResult<Arc<jobgraph::Record>>>>;
    /// From its return no lower epoch commits.
    async fn begin_attempt(&self, fence: &EpochFence, holder: &str, cause: &str) -> PortResult<Begun>;
    /// Keeps digests; answers those that stand.
    async fn pin_artifacts(
        &self,
        fence: &EpochFence,
        artifacts: Vec<api::PinnedArtifact>,
    ) -> PortResult<Vec<api::PinnedArtifact>>;
    /// A new incarnation; the same `request_id` answers the same one.
    async fn begin_cluster(
        &self,
        fence: &EpochFence,
        request_id: &str,
        cause: &str,
        engine: &EngineInfo,
    ) -> PortResult<Incarnation>;
    /// The incarnation is ready at this endpoint with these processes by role.
    async fn record_cluster_ready(
        &self,
        fence: &EpochFence,
        incarnation: Incarnation,
        cluster: &ReadyCluster,
    ) -> PortResult<()>;
    /// The incarnation is gone.
    async fn record_cluster_gone(
        &self,
        fence: &EpochFence,
        incarnation: Incarnation,
        message: &str,
    ) -> PortResult<()>;
    /// main() is about to be started under this tether.
    async fn main_starting(&self, fence: &EpochFence, tether_endpoint: &str) -> PortResult<()>;
    /// main() runs.
    async fn record_main_running(&self, fence: &EpochFence, pid: u32) -> PortResult<()>;
    /// main() has ended.
    async fn record_main_ended(
        &self,
        fence: &EpochFence,
        exit: MainExit,
        stderr_tail: &str,
    ) -> PortResult<()>;
    /// Keeps a graph under its static id. The request's own fence is filled in.
    async fn put_job_graph(
        &self,
        fence: &EpochFence,
        request: jobgraph::PutJobGraphRequest,
    ) -> PortResult<jobgraph::PutJobGraphResponse>;
    /// The job was submitted to this incarnation.
    async fn record_job_submitted(
        &self,
        fence: &EpochFence,
        job: JobId,
        incarnation: Incarnation,
    ) -> PortResult<()>;
    /// An end that only a leader can know; answers the end that stands.
    async fn record_leader_job_end(
        &self,
        fence: &EpochFence,
        job: JobId,
        end: job::JobEnd,
    ) -> PortResult<job::JobEnd>;
    /// What became of a savepoint.
    async fn record_savepoint(
        &self,
        fence: &EpochFence,
        job: JobId,
        savepoint: job::Savepoint,
    ) -> PortResult<()>;
    /// A job's outputs stand at their final names.
    async fn record_published(&self, fence: &EpochFence, job: JobId) -> PortResult<()>;
    /// The application's end; answers the one that stands.
    async fn record_application_end(
        &self,
        fence: &EpochFence,
        outcome: Outcome,
        why: &Failure,
        desired_revision: u64,
    ) -> PortResult<Outcome>;
    /// Nothing is left to do.
    async fn mark_clean(&self, fence: &EpochFence, leftovers: &[String]) -> PortResult<()>;
    /// Reads a `once` value, or keeps it if there is none.
    async fn journal(
        &self,
        fence: &EpochFence,
        key: &str,
        value: Option<Bytes>,
    ) -> PortResult<jobgraph::JournalResponse>;
    /// Adds events to the application's past, and what is seen of it now.
    async fn append_events(
        &self,
        fence: &EpochFence,
        events: Vec<api::Event>,
        conditions: Vec<api::Condition>,
    ) -> PortResult<()>;
    /// Beats until the epoch does not hold any more (`Superseded`) or the store is away; one beat per item of `beats`.
    async fn beat(&self, fence: &EpochFence, beats: BoxStream<'static, Beat>) -> PortResult<()>;
}

/// One sign of life.
#[derive(Debug, Clone, Default)]
pub struct Beat {
    /// Who beats.
    pub source: String,
    /// Counters of running jobs.
    pub progress: Vec<api::JobProgress>,
    /// What the leader is doing, one line.
    pub activity: String,
}

/// Bytes by digest in the record.
#[async_trait]
pub trait Payloads: Send + Sync {
    /// Which of these are there.
    async fn present(&self, digests: &[Digest]) -> PortResult<BTreeSet<Digest>>;
    /// Puts bytes.
    async fn put(&self, digest: Digest, bytes: Bytes) -> PortResult<()>;
    /// Puts a file.
    async fn put_file(&self, digest: Digest, path: &Path) -> PortResult<()>;
    /// Puts a stream of chunks whose size is known.
    async fn put_stream(
        &self,
        digest: Digest,
        size_bytes: u64,
        chunks: BoxStream<'static, Bytes>,
    ) -> PortResult<bool>;
    /// Reads them in chunks.
    async fn get(&self, digest: Digest) -> PortResult<BoxStream<'static, PortResult<Bytes>>>;
}

/// A file to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Where it comes from.
    pub uri: String,
    /// Its digest, where it is known.
    pub digest: Option<Digest>,
    /// Where to put it, absolute; `None` only warms the cache.
    pub link_to: Option<PathBuf>,
    /// Mark it executable.
    pub executable: bool,
}

/// A file that was fetched and verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Of its bytes.
    pub digest: Digest,
    /// Of the whole.
    pub size_bytes: u64,
    /// The verified file on this host.
    pub path: PathBuf,
}

/// Bytes from anywhere, once.
#[async_trait]
pub trait Artifacts: Send + Sync {
    /// Fetches one file. `activity` hears lines such as `carriers.sql 12 of 80 MB`.
    async fn fetch(
        &self,
        application: &ApplicationRef,
        wanted: &Wanted,
        activity: &watch::Sender<String>,
    ) -> PortResult<Fetched>;
    /// The application needs nothing any more.
    async fn release(&self, application: &ApplicationRef) -> PortResult<()>;
}

/// Which engine runs the application.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineInfo {
    /// Its name.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// Absolute path of its executable.
    pub path: String,
    /// Equal job names are allowed within one attempt.
    pub equal_job_names: bool,
}

/// Identity and places of one attempt.
#[derive(Debug, Clone)]
pub struct AttemptId {
    /// This leader's fence.
    pub fence: EpochFence,
    /// The engine's name.
    pub engine: String,
    /// main()'s working directory, absolute; the artifacts lie in it.
    pub directory: PathBuf,
    /// W3C trace context of the run; may be empty.
    pub traceparent: String,
    /// Where this runner serves `ExecutionService`.
    pub execution: String,
}

/// The engine's `describe`: at most one process at a time per attempt. A call after it died starts it again.
#[async_trait]
pub trait Engine: Send + Sync {
    /// Finds the executable and starts it. `ENGINE_NOT_FOUND` names where it looked.
    async fn start(&self, attempt: &AttemptId) -> PortResult<EngineInfo>;
    /// The plan of a cluster.
    async fn plan(&self, subject: &client::describe::Subject) -> PortResult<wire::Plan>;
    /// How main() is launched.
    async fn launch(&self, subject: &client::describe::Subject) -> PortResult<wire::DescribeMainResponse>;
    /// Staged files to their final names.
    async fn publish(&self, job: JobId, manifest: job::Manifest, own: &[JobId]) -> PortResult<()>;
    /// Removes staging.
    async fn sweep(&self, locations: Vec<String>, owners: Vec<wire::StagingOwner>) -> PortResult<()>;
    /// Ends the process. Bounded.
    async fn end(&self);
}

/// A cluster whose processes are ready.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadyCluster {
    /// Where its jobs are served.
    pub jobs_endpoint: String,
    /// Ready processes by role.
    pub roles: BTreeMap<String, u32>,
    /// Named ports of its roles: `<role>/<port>` to `host:port`.
    pub addresses: BTreeMap<String, String>,
}

/// What a substrate says of an incarnation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterNews {
    /// All is as it should be.
    Lives,
    /// It cannot go on, and why.
    Failed(String),
}

/// The processes of clusters.
#[async_trait]
pub trait Substrate: Send + Sync {
    /// Realises the roles of an incarnation and waits until they are ready.
    async fn provision(
        &self,
        fence: &EpochFence,
        incarnation: Incarnation,
        plan: &wire::Plan,
        traceparent: &str,
    ) -> PortResult<ReadyCluster>;
    /// What becomes of it.
    async fn watch(
        &self,
        application: &ApplicationRef,
        incarnation: Incarnation,
    ) -> PortResult<BoxStream<'static, PortResult<ClusterNews>>>;
    /// Ends it; answers what could not be removed, one line each.
    async fn teardown(&self, fence: &EpochFence, incarnation: Incarnation) -> PortResult<Vec<String>>;
}

/// Jobs in the cluster of one incarnation.
#[async_trait]
pub trait Jobs: Send + Sync {
    /// A leader's first call; answers the jobs that the cluster knows. `submitted`: those of the record that it may know.
    async fn adopt(
        &self,
        fence: &EpochFence,
        incarnation: Incarnation,
        endpoint: &str,
        submitted: &[JobId],
    ) -> PortResult<BTreeSet<JobId>>;
    /// Runs a stored graph.
    async fn submit(&self, fence: &EpochFence, incarnation: Incarnation, job: &Submission) -> PortResult<()>;
    /// Asks a job to end.
    async fn cancel(
        &self,
        fence: &EpochFence,
        incarnation: Incarnation,
        job: JobId,
        reason: &str,
    ) -> PortResult<()>;
    /// Has a savepoint taken, once for each trigger id; its present state.
    async fn savepoint(
        &self,
        fence: &EpochFence,
        incarnation: Incarnation,
        wish: &Wish,
    ) -> PortResult<wire::SavepointResponse>;
    /// All jobs: their state first, then progress.
    async fn watch(
        &self,
        fence: &EpochFence,
        incarnation: Incarnation,
    ) -> PortResult<BoxStream<'static, PortResult<wire::JobStatus>>>;
}

/// A stored graph that is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// Its static id.
    pub job: JobId,
    /// Its name.
    pub name: String,
    /// Of the stored bytes.
    pub graph: Digest,
    /// Of the stored bytes.
    pub graph_bytes: u64,
    /// All jobs of this generation: parts of any other in a target are somebody else's.
    pub own: Vec<JobId>,
}

/// How main() is started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Whose.
    pub attempt: AttemptId,
    /// argv.
    pub command: Vec<String>,
    /// The whole environment but for what the process port adds itself (`PATH`, owner mark).
    pub environment: BTreeMap<String, String>,
    /// The lease that main() may run under.
    pub lease: watch::Receiver<Lease>,
}

/// An earlier attempt's main().
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PreviousMain {
    /// The attempt that started it.
    pub epoch: Epoch,
    /// Where its tether listened.
    pub tether_endpoint: String,
}

/// main() and what it starts.
#[async_trait]
pub trait MainProcess: Send + Sync {
    /// Ends every tree of lower epochs on this host; afterwards none lives. `true` when the earlier main() had ended by
    /// itself with exit code 0.
    async fn end_previous(&self, fence: &EpochFence, previous: Option<&PreviousMain>) -> PortResult<bool>;
    /// Where the tether of this attempt's main() will listen.
    fn tether_endpoint(&self, fence: &EpochFence) -> String;
    /// Starts it under a tether and ships its output from there on.
    async fn start(&self, launch: Launch) -> PortResult<Box<dyn LiveMain>>;
    /// Ends whatever of this attempt's main() lives, by its owner mark. Bounded.
    async fn kill(&self, fence: &EpochFence);
}

/// A main() that was started.
#[async_trait]
pub trait LiveMain: Send + Sync {
    /// Its process id.
    fn pid(&self) -> u32;
    /// Waits for its end.
    async fn exited(&self) -> Exited;
    /// Asks it to end, kills it after the grace; returns when nothing of it is left.
    async fn end(&self, grace: Duration) -> PortResult<()>;
    /// Waits until its output is in the store, then lets the tether go. Bounded.
    async fn settle(&self);
}

/// How main() ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exited {
    /// Code or signal.
    pub exit: MainExit,
    /// The tether saw it while this runner owned it.
    pub seen: bool,
    /// It could not be started at all, and why.
    pub start_error: Option<String>,
    /// Last lines of its stderr.
    pub stderr_tail: String,
}

/// Directories of an application's attempts.
#[async_trait]
pub trait Workspace: Send + Sync {
    /// Makes the attempt's directories; answers main()'s working directory, absolute.
    async fn prepare(&self, fence: &EpochFence) -> PortResult<PathBuf>;
    /// The directory of the application's files, the same for all its attempts.
    async fn artifacts(&self, application: &ApplicationRef) -> PortResult<PathBuf>;
    /// Makes `file` appear at `link` as well.
    async fn link(&self, file: &Path, link: PathBuf) -> PortResult<()>;
    /// Writes a file into it, verified against the digest.
    async fn write(
        &self,
        path: &Path,
        digest: Digest,
        executable: bool,
        chunks: BoxStream<'static, PortResult<Bytes>>,
    ) -> PortResult<u64>;
    /// Removes what all attempts left; answers what could not be removed, one line each.
    async fn remove(&self, application: &ApplicationRef) -> Vec<String>;
    /// Removes what has to be there until the application is clean. Best effort: it is empty.
    async fn forget(&self, application: &ApplicationRef);
    /// Where outputs of relative targets go by default.
    fn outputs(&self, application: &ApplicationRef) -> PathBuf;
    /// Where its clusters keep what outlives an incarnation.
    fn checkpoints(&self, application: &ApplicationRef) -> PathBuf;
}
