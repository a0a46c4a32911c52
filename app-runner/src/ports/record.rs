//! The record and its payloads, by `mainspring.jobgraph.v1`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use ::record::{ApplicationEnd, Holder, MainEnd, MainExit as RecordedExit, Record as _};
use async_trait::async_trait;
use bytes::Bytes;
use client::boxed::Boxed;
use client::payloads::Payloads as PayloadClient;
use client::record::RecordClient;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use proto::{ApplicationRef, Digest, EpochFence, Incarnation, JobId, Reason, api, job, jobgraph};

use super::engine::EngineInfo;
use super::keyring::Keyring;
use super::substrate::ReadyCluster;
use super::{PortResult, view};
use crate::error::{PortError, PortErrorKind};
use crate::model::{Failure, MainExit, Outcome};

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
    /// Sees to it that what opens the jobs of an incarnation is at hand: a step that began it may have been cut off before
    /// the answer came. Writes nothing.
    async fn reach_jobs(&self, fence: &EpochFence, holder: &str, incarnation: Incarnation) -> PortResult<()>;
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
    /// main() has ended; `sender` of the signal, if one did it and that is known.
    async fn record_main_ended(
        &self,
        fence: &EpochFence,
        exit: MainExit,
        sender: &str,
        stderr_tail: &str,
    ) -> PortResult<()>;
    /// Somebody else has killed main(), and it is executed again. `kills`: how often in this generation, this time included.
    async fn record_main_killed(
        &self,
        fence: &EpochFence,
        exit: MainExit,
        sender: &str,
        stderr_tail: &str,
        kills: u32,
    ) -> PortResult<()>;
    /// Which job a call will be for, before there is a graph. The request's own fence is filled in.
    async fn find_job(&self, fence: &EpochFence, request: jobgraph::FindJobRequest) -> PortResult<JobId>;
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
    /// Asks for a savepoint for main(); durable when this returns.
    async fn request_savepoint(&self, fence: &EpochFence, wish: api::SavepointWish) -> PortResult<()>;
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

/// One sign of life.
#[derive(Debug, Clone, Default)]
pub struct Beat {
    /// Who beats.
    pub source: String,
    /// Counters of running jobs.
    pub progress: Vec<api::JobProgress>,
    /// What the leader is doing, one line.
    pub activity: String,
    /// Who waits for its place, in order.
    pub standbys: Vec<String>,
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

/// The record in jobgraph-store.
#[derive(Debug, Clone)]
pub struct StoredRecord(RecordClient, Keyring);

impl StoredRecord {
    /// Over a client that carries the contender's credential. Tokens that are answered go to the keyring.
    pub fn new(record: RecordClient, keyring: Keyring) -> Self {
        Self(record, keyring)
    }
}

#[async_trait]
impl RecordStore for StoredRecord {
    async fn read(&self, application: &ApplicationRef) -> PortResult<Arc<jobgraph::Record>> {
        Ok(Arc::new(self.0.read(application).await?))
    }

    async fn watch(
        &self,
        application: &ApplicationRef,
    ) -> PortResult<BoxStream<'static, PortResult<Arc<jobgraph::Record>>>> {
        let changes = self.0.watch(application).await?;
        Ok(changes.map(|record| Ok(Arc::new(record?))).boxed())
    }

    async fn begin_attempt(&self, fence: &EpochFence, holder: &str, cause: &str) -> PortResult<Begun> {
        let holder = Holder::new(holder, std::process::id());
        let begun = self.0.begin_attempt(fence, &holder, cause).await?;
        let disposition = match begun.disposition() {
            jobgraph::Disposition::Clean => Disposition::Clean,
            jobgraph::Disposition::Fresh | jobgraph::Disposition::Resume | jobgraph::Disposition::Dirty => {
                Disposition::Open
            }
            jobgraph::Disposition::Unspecified => {
                let text = "the store answered BeginAttempt with a disposition that this build does not know";
                return Err(PortError::refused(Reason::Internal, text));
            }
        };
        let record = Arc::new(begun.record.unwrap_or_default());
        if disposition == Disposition::Open {
            let cluster = record.application.as_ref().and_then(|application| application.cluster.as_ref());
            let recorded = Incarnation(cluster.map_or(0, |cluster| cluster.incarnation));
            self.1.take_attempt(fence, recorded, begun.tokens)?;
        }
        Ok(Begun { disposition, record, secrets: begun.secret_values.into_iter().collect() })
    }

    async fn pin_artifacts(
        &self,
        fence: &EpochFence,
        artifacts: Vec<api::PinnedArtifact>,
    ) -> PortResult<Vec<api::PinnedArtifact>> {
        Ok(self.0.pin_artifacts(fence, artifacts).await?)
    }

    async fn begin_cluster(
        &self,
        fence: &EpochFence,
        request_id: &str,
        cause: &str,
        engine: &EngineInfo,
    ) -> PortResult<Incarnation> {
        let request = jobgraph::BeginClusterRequest {
            fence: None,
            request_id: request_id.to_owned(),
            cause: cause.to_owned(),
            engine: engine.name.clone(),
            engine_version: engine.version.clone(),
            engine_path: engine.path.clone(),
        };
        let begun = self.0.begin_cluster(fence, request).await?;
        let incarnation = Incarnation(begun.incarnation);
        self.1.take_cluster(incarnation, begun.jobs_token)?;
        Ok(incarnation)
    }

    async fn reach_jobs(&self, fence: &EpochFence, holder: &str, incarnation: Incarnation) -> PortResult<()> {
        if self.1.jobs(incarnation).is_ok() {
            return Ok(());
        }
        // A repeat by the same holder changes nothing, and its answer tells of the present cluster.
        self.begin_attempt(fence, holder, "").await.map(drop)
    }

    async fn record_cluster_ready(
        &self,
        fence: &EpochFence,
        incarnation: Incarnation,
        cluster: &ReadyCluster,
    ) -> PortResult<()> {
        let request = jobgraph::RecordClusterRequest {
            fence: None,
            incarnation: incarnation.get(),
            state: api::ClusterState::Ready.into(),
            jobs_endpoint: cluster.jobs_endpoint.clone(),
            ready_roles: cluster.roles.clone().into_iter().collect(),
            addresses: cluster.addresses.clone().into_iter().collect(),
            message: String::new(),
        };
        Ok(self.0.record_cluster(fence, request).await?)
    }

    async fn record_cluster_gone(
        &self,
        fence: &EpochFence,
        incarnation: Incarnation,
        message: &str,
    ) -> PortResult<()> {
        let request = jobgraph::RecordClusterRequest {
            incarnation: incarnation.get(),
            state: api::ClusterState::Gone.into(),
            message: message.to_owned(),
            ..jobgraph::RecordClusterRequest::default()
        };
        Ok(self.0.record_cluster(fence, request).await?)
    }

    async fn main_starting(&self, fence: &EpochFence, tether_endpoint: &str) -> PortResult<()> {
        Ok(self.0.main_starting(fence, tether_endpoint).await?)
    }

    async fn record_main_running(&self, fence: &EpochFence, pid: u32) -> PortResult<()> {
        Ok(self.0.main_running(fence, pid).await?)
    }

    async fn record_main_ended(
        &self,
        fence: &EpochFence,
        exit: MainExit,
        sender: &str,
        stderr_tail: &str,
    ) -> PortResult<()> {
        Ok(self.0.main_ended(fence, main_end(exit, sender, stderr_tail, 0)).await?)
    }

    async fn record_main_killed(
        &self,
        fence: &EpochFence,
        exit: MainExit,
        sender: &str,
        stderr_tail: &str,
        kills: u32,
    ) -> PortResult<()> {
        Ok(self.0.main_ended(fence, main_end(exit, sender, stderr_tail, kills)).await?)
    }

    async fn find_job(&self, fence: &EpochFence, request: jobgraph::FindJobRequest) -> PortResult<JobId> {
        Ok(self.0.find_job(fence, request).await?)
    }

    async fn put_job_graph(
        &self,
        fence: &EpochFence,
        request: jobgraph::PutJobGraphRequest,
    ) -> PortResult<jobgraph::PutJobGraphResponse> {
        Ok(self.0.put_job_graph(fence, request).await?)
    }

    async fn record_job_submitted(
        &self,
        fence: &EpochFence,
        job: JobId,
        incarnation: Incarnation,
    ) -> PortResult<()> {
        Ok(self.0.job_submitted(fence, job, incarnation).await?)
    }

    async fn record_leader_job_end(
        &self,
        fence: &EpochFence,
        job: JobId,
        end: job::JobEnd,
    ) -> PortResult<job::JobEnd> {
        Ok(self.0.leader_job_ended(fence, job, end).await?.stands)
    }

    async fn request_savepoint(&self, fence: &EpochFence, wish: api::SavepointWish) -> PortResult<()> {
        self.0.request_savepoint(fence, wish).await?;
        Ok(())
    }

    async fn record_savepoint(
        &self,
        fence: &EpochFence,
        job: JobId,
        savepoint: job::Savepoint,
    ) -> PortResult<()> {
        self.0.savepoint_settled(fence, job, savepoint).await?;
        Ok(())
    }

    async fn record_published(&self, fence: &EpochFence, job: JobId) -> PortResult<()> {
        Ok(self.0.published(fence, job).await?)
    }

    async fn record_application_end(
        &self,
        fence: &EpochFence,
        outcome: Outcome,
        why: &Failure,
        desired_revision: u64,
    ) -> PortResult<Outcome> {
        let reason = why.reason.map(Reason::as_str).unwrap_or_default();
        let end = ApplicationEnd::new(view::wire_outcome(outcome), reason, &why.message);
        let stands = self.0.end(fence, end, desired_revision).await?;
        Ok(view::outcome(stands.outcome).unwrap_or(outcome))
    }

    async fn mark_clean(&self, fence: &EpochFence, leftovers: &[String]) -> PortResult<()> {
        Ok(self.0.mark_clean(fence, leftovers.to_vec()).await?)
    }

    async fn journal(
        &self,
        fence: &EpochFence,
        key: &str,
        value: Option<Bytes>,
    ) -> PortResult<jobgraph::JournalResponse> {
        Ok(self.0.journal(fence, key, value).await?)
    }

    async fn append_events(
        &self,
        fence: &EpochFence,
        events: Vec<api::Event>,
        conditions: Vec<api::Condition>,
    ) -> PortResult<()> {
        Ok(self.0.append_events(fence, events, conditions).await?)
    }

    async fn beat(&self, fence: &EpochFence, beats: BoxStream<'static, Beat>) -> PortResult<()> {
        let beats = beats.map(|beat| jobgraph::BeatRequest {
            fence: None,
            source: beat.source,
            progress: beat.progress,
            activity: beat.activity,
            standbys: beat.standbys,
        });
        let mut answers = self.0.beat(fence, beats.boxed()).await?;
        while let Some(holds) = answers.next().await {
            if !holds? {
                let message = format!("epoch {} does not hold any more", fence.epoch);
                let kind = PortErrorKind::Superseded(fence.epoch);
                return Err(PortError { kind, reason: Some(Reason::EpochSuperseded), message });
            }
        }
        Ok(())
    }
}

fn main_end(exit: MainExit, sender: &str, stderr_tail: &str, kills: u32) -> MainEnd {
    let exit = RecordedExit { code: exit.code, signal: exit.signal, signal_sender: sender.to_owned() };
    MainEnd { exit, stderr_tail: stderr_tail.to_owned(), kills }
}

/// Payloads in jobgraph-store.
#[derive(Debug, Clone)]
pub struct StoredPayloads(PayloadClient);

impl StoredPayloads {
    /// Over a client that carries the contender's credential.
    pub fn new(payloads: PayloadClient) -> Self {
        Self(payloads)
    }
}

#[async_trait]
impl Payloads for StoredPayloads {
    async fn present(&self, digests: &[Digest]) -> PortResult<BTreeSet<Digest>> {
        Ok(self.0.present(digests).await?.into_iter().collect())
    }

    async fn put(&self, digest: Digest, bytes: Bytes) -> PortResult<()> {
        self.0.put_bytes(digest, bytes).await?;
        Ok(())
    }

    async fn put_file(&self, digest: Digest, path: &Path) -> PortResult<()> {
        self.0.put_file(digest, path).await?;
        Ok(())
    }

    async fn put_stream(
        &self,
        digest: Digest,
        size_bytes: u64,
        chunks: BoxStream<'static, Bytes>,
    ) -> PortResult<bool> {
        Ok(self.0.put_stream(digest, size_bytes, Boxed(chunks)).await?)
    }

    async fn get(&self, digest: Digest) -> PortResult<BoxStream<'static, PortResult<Bytes>>> {
        let chunks = self.0.get(digest, 0).await?;
        Ok(chunks.map(|chunk| chunk.map_err(PortError::from)).boxed())
    }
}
