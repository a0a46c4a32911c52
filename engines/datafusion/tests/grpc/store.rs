//! The real store that a worker reports to: its service over memory, behind a socket. It holds one
//! application, led by epoch 3, whose cluster is in its second incarnation.
//!
//! What goes wrong here goes wrong below the record or around it: the disk refuses a commit or
//! leaves it unanswered, and the server is cut.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chassis::clock::timeout;
use chassis::server::{Authenticator, Limits, Serve};
use chassis::tasks::Shutdown;
use chassis::transport::{Endpoint, OsTransport};
use futures::{StreamExt as _, TryStreamExt as _};
use jobgraph_store::blobs::memory::MemoryBlobs;
use jobgraph_store::service::Service;
use jobgraph_store::store::memory::MemoryMetadata;
use jobgraph_store::store::{Change, Commit, Metadata, Read, StoreError, Transaction, View};
use proto::job::JobEnd;
use proto::{
    ApplicationRef, Digest, Epoch, EpochFence, Generation, Incarnation, IncarnationFence, JobId,
    api, jobgraph,
};
use record::{Holder, Record};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::{clock, key};

/// A test that waits longer than this fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// What becomes of a commit that is not done.
pub(crate) enum Fault {
    /// The disk refuses the commit.
    Refusal(StoreError),
    /// The disk never answers.
    Silence,
}

/// A job whose graph is in the record.
#[derive(Clone, Copy)]
pub(crate) struct StoredJob {
    pub(crate) id: JobId,
    pub(crate) graph: Digest,
    pub(crate) size_bytes: u64,
}

/// The store, and the leader's conversation with it.
pub(crate) struct Store {
    pub(crate) endpoint: Endpoint,
    pub(crate) record: Arc<dyn Record>,
    service: Service,
    disk: Arc<Disk>,
    serving: JoinHandle<()>,
    calls: AtomicU32,
}

impl Store {
    pub(crate) async fn serve(endpoint: Endpoint) -> Self {
        let disk = Arc::<Disk>::default();
        let service = Service::new(disk.clone(), Arc::<MemoryBlobs>::default(), clock());
        let serving = Self::server(&endpoint, &service).await;
        let store = Self {
            endpoint,
            record: Arc::new(service.clone()),
            service,
            disk,
            serving,
            calls: AtomicU32::new(0),
        };
        let program = api::Program { uri: "/programs/t.sql".into(), ..Default::default() };
        let spec = api::ApplicationSpec {
            application_id: "orders".into(),
            program: Some(program),
            engine: "datafusion".into(),
            ..Default::default()
        };
        let wish = api::SubmitRequest {
            request_id: "a wish".into(),
            spec: Some(spec),
            ..Default::default()
        };
        store.service.submit(wish).await.unwrap();
        store.lead(3).await;
        store.begin_cluster("the first").await;
        assert_eq!(store.begin_cluster("the second").await, Self::cluster().incarnation);
        store
    }

    pub(crate) fn application() -> ApplicationRef {
        ApplicationRef { id: "orders".parse().unwrap(), generation: Generation(1) }
    }

    /// The cluster whose worker reports here.
    pub(crate) fn cluster() -> IncarnationFence {
        IncarnationFence { application: Self::application(), incarnation: Incarnation(2) }
    }

    /// The leader of this epoch.
    pub(crate) fn leader(epoch: u64) -> EpochFence {
        EpochFence { application: Self::application(), epoch: Epoch(epoch) }
    }

    /// Begins an attempt: from here on no lower epoch leads.
    pub(crate) async fn lead(&self, epoch: u64) {
        let holder = Holder::new(format!("runner-{epoch}"), 1);
        self.record.begin_attempt(&Self::leader(epoch), &holder, "").await.unwrap();
    }

    /// Begins a new incarnation of the cluster, as the leader of epoch 3.
    pub(crate) async fn begin_cluster(&self, request_id: &str) -> Incarnation {
        let request =
            jobgraph::BeginClusterRequest { request_id: request_id.into(), ..Default::default() };
        let begun = self.record.begin_cluster(&Self::leader(3), request).await.unwrap();
        Incarnation(begun.incarnation)
    }

    /// Keeps a graph for a job of its own, as the leader of epoch 3.
    pub(crate) async fn put_graph(&self, graph: Vec<u8>) -> StoredJob {
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let size_bytes = graph.len() as u64;
        let graph = self.service.put_bytes(graph.into()).await.unwrap();
        let request = jobgraph::PutJobGraphRequest {
            call_id: format!("call-{call}"),
            name: format!("job {call}"),
            name_is_literal: true,
            ordinal: call,
            graph_digest: graph.to_string(),
            graph_size_bytes: size_bytes,
            ..Default::default()
        };
        let put = self.record.put_job_graph(&Self::leader(3), request).await.unwrap();
        StoredJob { id: put.job.unwrap().job_id.parse().unwrap(), graph, size_bytes }
    }

    /// The bytes of a payload, by the digest that an end names it with.
    pub(crate) async fn payload(&self, digest: &str) -> Vec<u8> {
        let parts = self.service.get_payload(digest.parse().unwrap(), 0).await.unwrap();
        parts.try_collect::<Vec<Bytes>>().await.unwrap().concat()
    }

    /// The end of a job, if it is in the record.
    pub(crate) async fn end_of(&self, job: JobId) -> Option<JobEnd> {
        end_in(&self.record.read(&Self::application()).await.unwrap(), job)
    }

    /// The end of a job, once it is in the record.
    pub(crate) async fn end(&self, job: JobId) -> JobEnd {
        let ended = async {
            let mut records = self.record.watch(&Self::application()).await.unwrap();
            while let Some(record) = records.next().await {
                if let Some(end) = end_in(&record.unwrap(), job) {
                    return end;
                }
            }
            panic!("the application is clean, and the job has no end")
        };
        timeout(&clock(), PATIENCE, ended).await.expect("the job ends")
    }

    /// Lets the next commits come to this in the place of being done.
    pub(crate) fn fail_next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.disk.faults.lock().unwrap().extend(faults);
    }

    /// Waits until so many commits have met a fault.
    pub(crate) async fn failed(&self, commits: usize) {
        let mut met = self.disk.met.subscribe();
        let met = met.wait_for(|met| *met >= commits);
        timeout(&clock(), PATIENCE, met).await.expect("the faults are met").unwrap();
    }

    /// Cuts every connection and every call under way, then serves again.
    pub(crate) async fn restart(&mut self) {
        self.serving.abort();
        assert!((&mut self.serving).await.unwrap_err().is_cancelled());
        self.serving = Self::server(&self.endpoint, &self.service).await;
    }

    async fn server(endpoint: &Endpoint, service: &Service) -> JoinHandle<()> {
        let server = chassis::server::bind(Serve {
            name: "jobgraph-store",
            endpoints: vec![endpoint.clone()],
            transport: Arc::new(OsTransport),
            clock: clock(),
            authenticator: Authenticator::new(key()),
            routes: jobgraph_store::grpc::routes(service, &key()),
            shutdown: Shutdown::new(),
            limits: Limits::default(),
        });
        let server = server.await.unwrap();
        tokio::spawn(async move { server.run().await.unwrap() })
    }
}

fn end_in(record: &jobgraph::Record, job: JobId) -> Option<JobEnd> {
    let id = job.to_string();
    record.application.as_ref()?.jobs.iter().find(|known| known.job_id == id)?.end.clone()
}

/// The disk under the record.
#[derive(Default)]
struct Disk {
    memory: MemoryMetadata,
    /// What the next commits come to.
    faults: Mutex<VecDeque<Fault>>,
    /// How many commits have met a fault.
    met: watch::Sender<usize>,
}

#[async_trait]
impl Metadata for Disk {
    async fn read(&self, reads: Vec<Read>, at: Option<u64>) -> Result<View, StoreError> {
        self.memory.read(reads, at).await
    }

    async fn commit(&self, transaction: Transaction) -> Result<Commit, StoreError> {
        let fault = self.faults.lock().unwrap().pop_front();
        if fault.is_some() {
            self.met.send_modify(|met| *met += 1);
        }
        match fault {
            None => self.memory.commit(transaction).await,
            Some(Fault::Refusal(error)) => Err(error),
            Some(Fault::Silence) => std::future::pending().await,
        }
    }

    async fn changes(&self, after: u64, limit: usize) -> Result<Vec<Change>, StoreError> {
        self.memory.changes(after, limit).await
    }

    async fn compact(&self, before: u64) -> Result<(), StoreError> {
        self.memory.compact(before).await
    }

    fn revisions(&self) -> watch::Receiver<u64> {
        self.memory.revisions()
    }
}
