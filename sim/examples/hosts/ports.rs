//! What a contender reaches out to. The election, the record and the payloads are the real clients
//! over the simulated network; what stands for processes and files is made here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use app_runner::error::PortError;
use app_runner::ports::artifacts::{Artifacts, Fetched};
use app_runner::ports::election::ElectorElection;
use app_runner::ports::engine::{AttemptId, Engine, EngineInfo};
use app_runner::ports::keyring::Keyring;
use app_runner::ports::payloads::Payloads;
use app_runner::ports::workspace::Workspace;
use app_runner::ports::{PortResult, Ports};
use app_runner::service::Front;
use app_runner::service::execution::MainService;
use async_trait::async_trait;
use bytes::Bytes;
use chassis::clock::Clock as _;
use chassis::credential::{Credential, Principal};
use chassis::tasks::Tasks;
use client::artifacts::Wanted;
use client::describe::Subject;
use client::election::Election as ElectionClient;
use client::payloads::Payloads as PayloadClient;
use client::record::RecordClient;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use proto::{ApplicationRef, Digest, Epoch, EpochFence, JobId, engine, job};
use tokio::sync::watch;

use crate::cluster::Clusters;
use crate::host::{At, ELECTOR, STORE};
use crate::main_process::Mains;
use crate::tap::Tapped;
use crate::world::Deployment;

/// The file that stands for main()'s lock. No elector ever finds it free, because no process of
/// another host could prove anything by it.
const LOCK: &str = "/dev/null";

/// How long a job's output takes to get its final names.
const PUBLISHES: Duration = Duration::from_millis(400);

/// What is not real of one life of a contender.
pub(crate) struct Site {
    pub(crate) of: Arc<Deployment>,
    pub(crate) at: At,
    pub(crate) application: ApplicationRef,
    pub(crate) mains: Mains,
    holder: String,
    clusters: Arc<Clusters>,
    payloads: PayloadClient,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// The bytes of the files that were fetched.
    files: BTreeMap<Digest, Bytes>,
    /// Where the main() of each attempt calls.
    executions: BTreeMap<Epoch, MainService>,
}

impl Site {
    pub(crate) fn new(
        of: Arc<Deployment>,
        at: At,
        application: ApplicationRef,
        holder: String,
        clusters: Arc<Clusters>,
    ) -> Self {
        let token = contender(&of, &application);
        let payloads = PayloadClient::new(at.channel(STORE, token));
        let (mains, held) = (Mains::default(), Mutex::default());
        Self { of, at, application, mains, holder, clusters, payloads, held }
    }

    /// All ports of the contender.
    pub(crate) fn ports(self: &Arc<Self>) -> Ports {
        let token = || contender(&self.of, &self.application);
        let elector = ElectionClient::new(self.at.channel(ELECTOR, token()), self.at.clock.clone());
        let (clock, holder) = (self.at.clock.clone(), self.holder.clone());
        let record = Tapped {
            of: self.of.clone(),
            at: self.at.clone(),
            record: RecordClient::new(self.at.channel(STORE, token())),
        };
        Ports {
            election: Arc::new(ElectorElection::new(elector, clock, holder, LOCK.into())),
            record: Arc::new(record),
            keyring: Keyring::default(),
            payloads: self.clone(),
            artifacts: self.clone(),
            engine: self.clone(),
            substrate: self.clusters.clone(),
            jobs: self.clusters.clone(),
            main: self.clone(),
            workspace: self.clone(),
            clock: self.at.clock.clone(),
            place: Some(self.at.place.clone()),
            // No plan of the simulation is ungated, so nothing waits.
            successor_waits: Duration::ZERO,
        }
    }

    /// Where the main() of an attempt calls.
    pub(crate) fn execution(&self, epoch: Epoch) -> Option<MainService> {
        self.held().executions.get(&epoch).cloned()
    }

    /// Ends what the contender leaves: its main()s, which no leader hears any more.
    pub(crate) fn end(&self) {
        self.mains.end();
        // A front leads back to these ports, so neither would ever be dropped.
        self.held().executions.clear();
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The token of a contender.
pub(crate) fn contender(of: &Deployment, application: &ApplicationRef) -> Credential {
    let ApplicationRef { id, generation } = application;
    let (application, generation) = (id.to_string(), generation.get());
    of.key.mint(&Principal::Contender { application, generation })
}

#[async_trait]
impl Front for Site {
    async fn open(
        &self,
        fence: &EpochFence,
        execution: MainService,
        _tasks: &Tasks,
    ) -> PortResult<String> {
        self.held().executions.insert(fence.epoch, execution);
        Ok(format!("memory:{}", fence.epoch))
    }
}

/// A file is what its name says.
#[async_trait]
impl Artifacts for Site {
    async fn fetch(
        &self,
        wanted: &Wanted,
        _activity: &watch::Sender<String>,
    ) -> PortResult<Fetched> {
        let bytes = Bytes::copy_from_slice(wanted.uri.expose().as_bytes());
        let (digest, size_bytes) = (Digest::of(&bytes), bytes.len() as u64);
        self.held().files.insert(digest, bytes);
        Ok(Fetched { digest, size_bytes, path: wanted.link_to.clone().unwrap_or_default() })
    }

    async fn release(&self, _application: &ApplicationRef) -> PortResult<()> {
        Ok(())
    }
}

/// The real payloads, but for files, which are in memory.
#[async_trait]
impl Payloads for Site {
    async fn present(&self, digests: &[Digest]) -> PortResult<BTreeSet<Digest>> {
        Payloads::present(&self.payloads, digests).await
    }

    async fn put(&self, digest: Digest, bytes: Bytes) -> PortResult<()> {
        Payloads::put(&self.payloads, digest, bytes).await
    }

    async fn put_file(&self, digest: Digest, path: &Path) -> PortResult<()> {
        let file = self.held().files.get(&digest).cloned();
        let bytes = file.ok_or_else(|| PortError::away(format!("no file {}", path.display())))?;
        Payloads::put(&self.payloads, digest, bytes).await
    }

    async fn put_stream(
        &self,
        digest: Digest,
        size_bytes: u64,
        chunks: BoxStream<'static, Bytes>,
    ) -> PortResult<bool> {
        Payloads::put_stream(&self.payloads, digest, size_bytes, chunks).await
    }

    async fn get(&self, digest: Digest) -> PortResult<BoxStream<'static, PortResult<Bytes>>> {
        Payloads::get(&self.payloads, digest).await
    }
}

#[async_trait]
impl Engine for Site {
    async fn start(&self, _attempt: &AttemptId) -> PortResult<Option<EngineInfo>> {
        let (name, version) = ("simulated".to_owned(), "1".to_owned());
        Ok(Some(EngineInfo { name, version, ..EngineInfo::default() }))
    }

    async fn plan(&self, _subject: &Subject) -> PortResult<engine::Plan> {
        Ok(engine::Plan::default())
    }

    async fn launch(&self, _subject: &Subject) -> PortResult<engine::DescribeMainResponse> {
        Ok(engine::DescribeMainResponse::default())
    }

    /// Renaming files takes its time. A leader that is gone in between has renamed nothing.
    async fn publish(&self, job: JobId, manifest: job::Manifest, _own: &[JobId]) -> PortResult<()> {
        self.at.clock.sleep(PUBLISHES).await;
        for output in &manifest.outputs {
            self.of.trace.published(job, &output.staging, self.at.name);
        }
        Ok(())
    }

    async fn sweep(&self, _what: engine::SweepRequest) -> PortResult<()> {
        Ok(())
    }

    async fn end(&self, _fence: &EpochFence) {}
}

#[async_trait]
impl Workspace for Site {
    async fn prepare(&self, fence: &EpochFence) -> PortResult<PathBuf> {
        Ok(PathBuf::from(format!("/attempts/{}", fence.epoch)))
    }

    async fn artifacts(&self, _application: &ApplicationRef) -> PortResult<PathBuf> {
        Ok(PathBuf::from("/artifacts"))
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
        Vec::new()
    }

    async fn unshipped(&self, _application: &ApplicationRef) -> Vec<String> {
        Vec::new()
    }

    async fn forget(&self, _application: &ApplicationRef) {}

    fn outputs(&self, application: &ApplicationRef) -> PathBuf {
        PathBuf::from(format!("/outputs/{application}"))
    }

    fn checkpoints(&self, application: &ApplicationRef) -> PathBuf {
        PathBuf::from(format!("/checkpoints/{application}"))
    }
}
