//! A jobgraph-store in this process, over memory and behind a socket of its own. What tests ask of
//! it is what the record holds.

#[path = "faults.rs"]
mod faults;

use std::sync::Arc;

use chassis::BoxError;
use chassis::channel::{self, GrpcChannel};
use chassis::clock::{SharedClock, SystemClock};
use chassis::credential::{DeploymentKey, Principal};
use chassis::server::{self, Authenticator, Limits, Serve};
use chassis::tasks::{OwnedTask, Shutdown, owned};
use chassis::transport::{Endpoint, OsTransport};
use client::processes::Processes;
use client::record::RecordClient;
use jobgraph_store::blobs::memory::MemoryBlobs;
use jobgraph_store::keys::{Kind as _, fence, head, log, process};
use jobgraph_store::service::Service;
use jobgraph_store::store::{Metadata as _, Operation, Read, Transaction};
use lifecycle::record::{LogSource, Store};
use proto::jobgraph::{self, Process, ProcessState};
use proto::{ApplicationRef, Epoch, EpochFence, Place, PlaceUid, api};
use record::{ApplicationEnd, Holder, Record as _};

use faults::Faulty;

const KEY: DeploymentKey = DeploymentKey::from_bytes([7; 32]);

/// A store that holds one application.
pub(crate) struct Host {
    /// The backend, whose faults a test switches on.
    pub(crate) backend: Arc<Faulty>,
    application: ApplicationRef,
    service: Service,
    processes: Processes,
    endpoint: Endpoint,
    /// The socket is in here.
    _directory: tempfile::TempDir,
    _server: OwnedTask<Result<(), BoxError>>,
}

impl Host {
    /// A store in which this application was submitted. Its earlier generations are forgotten.
    pub(crate) async fn with(application: &ApplicationRef) -> Self {
        let backend = Arc::new(Faulty::default());
        let service = Service::new(backend.clone(), Arc::new(MemoryBlobs::default()), system());
        let service = service.at(here());
        let directory = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::Unix(directory.path().join("store.sock"));
        let server = server::bind(Serve {
            name: "jobgraph-store",
            endpoints: vec![endpoint.clone()],
            transport: Arc::new(OsTransport),
            clock: system(),
            authenticator: Authenticator::new(KEY),
            routes: jobgraph_store::grpc::routes(&service, &KEY),
            shutdown: Shutdown::new(),
            limits: Limits::default(),
        });
        let host = Self {
            backend,
            application: application.clone(),
            processes: Processes::new(connect(&endpoint)),
            service,
            endpoint,
            _directory: directory,
            _server: owned("store", server.await.unwrap().run()),
        };
        host.submit().await;
        host
    }

    async fn submit(&self) {
        let ApplicationRef { id, generation } = &self.application;
        let before = head::Head { latest_generation: generation.get() - 1 };
        let operations = vec![Operation::Put(head::key(id), before.to_stored())];
        let transaction = Transaction { operations, ..Transaction::default() };
        self.backend.commit(transaction).await.unwrap();
        let spec = api::ApplicationSpec {
            application_id: id.to_string(),
            program: Some(api::Program { uri: "/a/b.sql".into(), ..Default::default() }),
            engine: "datafusion".into(),
            ..Default::default()
        };
        let request = api::SubmitRequest {
            request_id: "a wish".into(),
            spec: Some(spec),
            ..Default::default()
        };
        let submitted = self.service.submit(request).await.unwrap();
        assert_eq!(submitted.application.generation, generation.get());
    }

    /// The record as a lifecycle on this host uses it, over a connection of its own. Its calls are
    /// bounded by the system's clock: a test that lets hours pass takes none of the time that a
    /// socket needs.
    pub(crate) fn store(&self, place: Place) -> Store {
        let channel = connect(&self.endpoint);
        let record = Arc::new(RecordClient::new(channel.clone()));
        Store::new(record, channel, system(), place)
    }

    fn fence(&self, epoch: u64) -> EpochFence {
        EpochFence { application: self.application.clone(), epoch: Epoch(epoch) }
    }

    /// The same, for one of several hosts.
    pub(crate) fn shared_store(&self, place: Place) -> Store {
        self.store(place).shared(true)
    }

    /// Has a leader with this epoch begin here.
    pub(crate) async fn begin(&self, epoch: u64) {
        self.begin_at(epoch, here()).await;
    }

    /// Has a leader with this epoch begin on that host.
    pub(crate) async fn begin_at(&self, epoch: u64, place: Place) {
        let holder = Holder::new("runner-0", 1).at(Some(place));
        self.service.begin_attempt(&self.fence(epoch), &holder, "").await.unwrap();
    }

    /// Has this incarnation be the current one here, unless a higher one is: what a leader does
    /// before it asks for the cluster.
    pub(crate) async fn incarnation(&self, number: u64) {
        self.incarnation_at(number, here()).await;
    }

    /// Has this incarnation be the current one on that host, unless a higher one is. The fence is
    /// written as `BeginCluster` leaves it, because a leader does not choose the number.
    pub(crate) async fn incarnation_at(&self, number: u64, place: Place) {
        let key = fence::cluster_key(&self.application.id);
        let view = self.backend.kept.read(vec![Read::Key(key.clone())], None).await.unwrap();
        let known = view.answers[0].first();
        let known = known.map(|(_, known)| fence::ClusterFence::from_stored(&known.value).unwrap());
        if known.is_none_or(|known| known.incarnation < number) {
            let begun = fence::ClusterFence {
                incarnation: number,
                generation: self.application.generation.get(),
                place: Some(place.into()),
                ..Default::default()
            };
            let operations = vec![Operation::Put(key, begun.to_stored())];
            let transaction = Transaction { operations, ..Transaction::default() };
            self.backend.kept.commit(transaction).await.unwrap();
        }
    }

    /// Ends the application as the leader with this epoch.
    pub(crate) async fn end(&self, epoch: u64) {
        let end = ApplicationEnd::new(api::Outcome::Failed, "MAIN_EXITED", "");
        self.service.end(&self.fence(epoch), end, 0).await.unwrap();
    }

    /// Says as the leader with this epoch that the application, which has ended, is clean.
    pub(crate) async fn mark_clean(&self, epoch: u64) {
        self.service.mark_clean(&self.fence(epoch), Vec::new()).await.unwrap();
    }

    /// Ends the application as the leader with this epoch, and forgets it.
    pub(crate) async fn forget(&self, epoch: u64) {
        self.end(epoch).await;
        self.mark_clean(epoch).await;
        let ApplicationRef { id, generation } = &self.application;
        self.service.forget(id, generation.get(), 0, false).await.unwrap();
    }

    /// The keys of all processes.
    pub(crate) async fn keys(&self) -> Vec<String> {
        self.keys_of(|_| true).await
    }

    /// The keys of the processes that are gone and have a tombstone.
    pub(crate) async fn buried(&self) -> Vec<String> {
        self.keys_of(|process| process.state() == ProcessState::Gone).await
    }

    /// The keys of the contenders that gave up.
    pub(crate) async fn gave_up(&self) -> Vec<String> {
        self.keys_of(|process| process.state() == ProcessState::GaveUp).await
    }

    /// The keys of the processes of one host.
    pub(crate) async fn keys_at(&self, place: &Place) -> Vec<String> {
        let wire = Some(place.clone().into());
        self.keys_of(|process| process.place == wire).await
    }

    /// The keys of the processes of one host that may live.
    pub(crate) async fn intended_at(&self, place: &Place) -> Vec<String> {
        let wire = Some(place.clone().into());
        let may_live = |process: &Process| process.state() == ProcessState::Intended;
        self.keys_of(|process| process.place == wire && may_live(process)).await
    }

    /// The keys of these processes as they are on their host, without its uid.
    async fn keys_of(&self, wanted: impl Fn(&Process) -> bool) -> Vec<String> {
        let processes = self.processes.list("").await.unwrap();
        let on_host = |process: Process| {
            let mut parts: Vec<&str> = process.key.split('/').collect();
            let uid = process.place.as_ref().map_or("no host", |place| place.uid.as_str());
            assert_eq!(parts.remove(2), uid, "{}", process.key);
            parts.join("/")
        };
        let mut keys: Vec<String> = processes.into_iter().filter(wanted).map(on_host).collect();
        keys.sort();
        keys
    }

    /// Rewrites the processes as an older build has kept them: under keys that name no host.
    pub(crate) async fn keep_as_an_older_build(&self) {
        let processes = Read::all(process::key(""));
        let view = self.backend.kept.read(vec![processes], None).await.unwrap();
        let mut operations = Vec::new();
        for (key, stored) in &view.answers[0] {
            let mut stored = process::StoredProcess::from_stored(&stored.value).unwrap();
            let kept = stored.process.as_mut().unwrap();
            let uid = format!("{}/", kept.place.take().unwrap().uid);
            kept.key = kept.key.replacen(&uid, "", 1);
            let old = process::key(&kept.key);
            operations.push(Operation::Delete(key.clone()));
            operations.push(Operation::Put(old, stored.to_stored()));
        }
        let transaction = Transaction { operations, ..Transaction::default() };
        self.backend.kept.commit(transaction).await.unwrap();
    }

    /// What a source has said, and whether that is all. The backend is asked, because the lines
    /// that people are shown do not tell which start of a process has written them.
    pub(crate) async fn log(&self, source: &LogSource) -> (Vec<u8>, bool) {
        self.log_at("", source).await
    }

    /// The same for a source that names its host.
    pub(crate) async fn log_at(&self, host: &str, source: &LogSource) -> (Vec<u8>, bool) {
        // Lines that wait for a chunk get one now.
        self.service.flush_logs().await.unwrap();
        let of_source = jobgraph::LogSource {
            role: source.role.clone(),
            replica: source.replica,
            number: source.number,
            start: source.start,
            host: host.to_owned(),
            ..Default::default()
        };
        let reads = vec![
            Read::all(log::chunk_prefix(&source.application)),
            Read::Key(log::source_key(&source.application, &of_source)),
        ];
        let view = self.backend.kept.read(reads, None).await.unwrap();
        let mut said = Vec::new();
        for (_, stored) in &view.answers[0] {
            let chunk = log::LogChunk::from_stored(&stored.value).unwrap();
            let lines = log::ChunkBody::from_stored(&chunk.body).unwrap().lines;
            for line in lines.iter().filter(|line| is_of(line, source)) {
                said.extend_from_slice(&line.text);
                if !line.partial {
                    said.push(b'\n');
                }
            }
        }
        let state = view.answers[1].first().map(|(_, stored)| &stored.value);
        let state = state.map(|value| log::SourceState::from_stored(value).unwrap());
        (said, state.is_some_and(|state| state.complete))
    }
}

fn is_of(line: &log::StoredLine, source: &LogSource) -> bool {
    let LogSource { role, replica, number, start, .. } = source;
    line.role == *role
        && (line.replica, line.source_number, line.start) == (*replica, *number, *start)
}

fn connect(endpoint: &Endpoint) -> GrpcChannel {
    let credential = KEY.mint(&Principal::Deployment);
    channel::connect(Arc::new(OsTransport), system(), endpoint.clone(), Some(credential))
}

/// The host that the tests' lifecycles run on.
pub(crate) fn here() -> Place {
    Place::host("here", PlaceUid::from_bytes([1; 8])).unwrap()
}

/// Another host.
pub(crate) fn there() -> Place {
    Place::host("there", PlaceUid::from_bytes([2; 8])).unwrap()
}

fn system() -> SharedClock {
    Arc::new(SystemClock)
}
