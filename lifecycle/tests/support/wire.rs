//! One lifecycle in process, over a socket and a record of its own, on a clock that moves when a
//! test says so.

use std::sync::Arc;
use std::time::Duration;

use chassis::channel::{self, GrpcChannel};
use chassis::clock::{Clock as _, ManualClock, SharedClock, SystemClock, timeout};
use chassis::credential::{Credential, DeploymentKey, Principal};
use chassis::server::{self, Authenticator, Limits, Serve};
use chassis::tasks::{Shutdown, TaskSet};
use chassis::transport::{Endpoint, OsTransport};
use client::error::CallError;
use client::lifecycle::{Lifecycle as Client, Provisioning};
use futures::StreamExt as _;
use lifecycle::grpc;
use lifecycle::record::Store;
use lifecycle::service::Lifecycle;
use proto::engine::{Commit, Plan, RestartPolicy, Role};
use proto::lifecycle::ClusterReady;
use proto::{ApplicationRef, Epoch, EpochFence, Generation, Incarnation, Place};
use tokio_util::task::AbortOnDropHandle;

use crate::host::{Host, here};
use crate::memory::Memory;

/// A time longer than anything here takes.
const LONG: Duration = Duration::from_secs(30);

/// How long a lifecycle that follows the record goes on with a cluster that the record does not
/// confirm, where no fence holds back its outputs.
pub(crate) const GRACE: Duration = Duration::from_secs(300);

const KEY: DeploymentKey = DeploymentKey::from_bytes([7; 32]);

pub(crate) struct Wire {
    pub(crate) client: Client,
    pub(crate) memory: Memory,
    pub(crate) record: Arc<Host>,
    pub(crate) clock: Arc<ManualClock>,
    place: Place,
    follows: bool,
    endpoint: Endpoint,
    directory: Arc<tempfile::TempDir>,
    /// Everything that runs; dropping it is a kill -9.
    _process: AbortOnDropHandle<()>,
}

impl Wire {
    /// A lifecycle whose application is led with epoch 1 and has incarnation 1.
    pub(crate) async fn new() -> Self {
        Self::start(first_incarnation().await, here(), false)
    }

    /// The same, with a lifecycle that follows the record. Most tests let time pass as they need
    /// it, and look at what is over before anything is done about it.
    pub(crate) async fn following() -> Self {
        Self::start(first_incarnation().await, here(), true)
    }

    /// A lifecycle on another host, over the same record.
    pub(crate) fn on_another_host(&self, place: Place) -> Self {
        Self::start(self.record.clone(), place, self.follows)
    }

    fn start(record: Arc<Host>, place: Place, follows: bool) -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        Self::begin(Memory::new(), record, place, follows, directory, "a")
    }

    /// The same machine and record under another lifecycle.
    pub(crate) fn killed_and_started_again(self) -> Self {
        let Self { memory, record, place, follows, directory, endpoint, .. } = self;
        // Each lifecycle has a socket of its own, because the socket before may not be closed yet.
        let Endpoint::Unix(before) = endpoint else { unreachable!("it listens on a unix socket") };
        let name = format!("{}b", before.file_stem().unwrap_or_default().to_string_lossy());
        Self::begin(memory, record, place, follows, directory, &name)
    }

    fn begin(
        memory: Memory,
        record: Arc<Host>,
        place: Place,
        follows: bool,
        directory: Arc<tempfile::TempDir>,
        name: &str,
    ) -> Self {
        let endpoint = Endpoint::Unix(directory.path().join(format!("{name}.sock")));
        let clock = Arc::new(ManualClock::new());
        let store = record.store(place.clone());
        let process = run(endpoint.clone(), memory.clone(), store, follows, clock.clone());
        let process = AbortOnDropHandle::new(tokio::spawn(process));
        let client = connect(&endpoint, KEY.mint(&Principal::Deployment));
        Self {
            client,
            memory,
            record,
            clock,
            place,
            follows,
            endpoint,
            directory,
            _process: process,
        }
    }

    pub(crate) fn channel(&self) -> GrpcChannel {
        let clock: SharedClock = Arc::new(SystemClock);
        channel::connect(Arc::new(OsTransport), clock, self.endpoint.clone(), None)
    }

    pub(crate) fn as_contender(&self) -> Client {
        let contender = Principal::Contender { application: "orders".into(), generation: 4 };
        connect(&self.endpoint, KEY.mint(&contender))
    }

    /// Provisions until ready or refused, once the record has the incarnation.
    pub(crate) async fn provision(
        &self,
        fence: &EpochFence,
        incarnation: u64,
        roles: Vec<Role>,
    ) -> Result<ClusterReady, CallError> {
        self.realise(fence, incarnation, gated(roles)).await
    }

    /// The same for any plan.
    pub(crate) async fn realise(
        &self,
        fence: &EpochFence,
        incarnation: u64,
        plan: Plan,
    ) -> Result<ClusterReady, CallError> {
        self.record.incarnation(incarnation).await;
        within(async {
            let answers = self.client.provision(fence, Incarnation(incarnation), plan, "").await?;
            let mut answers = Box::pin(answers);
            loop {
                if let Provisioning::Ready(ready) = answers.next().await.unwrap()? {
                    return Ok(ready);
                }
            }
        })
        .await
    }

    /// Waits until `reached`, without letting time pass.
    pub(crate) async fn until(&self, what: &str, reached: impl AsyncFnMut() -> bool) {
        self.poll(what, Duration::ZERO, reached).await;
    }

    /// Lets time pass until `reached`.
    pub(crate) async fn advance_until(&self, what: &str, reached: impl AsyncFnMut() -> bool) {
        self.poll(what, Duration::from_millis(50), reached).await;
    }

    async fn poll(&self, what: &str, step: Duration, mut reached: impl AsyncFnMut() -> bool) {
        let end = SystemClock.boot() + LONG;
        while !reached().await {
            assert!(SystemClock.boot() < end, "never came true: {what}");
            self.clock.advance(step);
            SystemClock.sleep(Duration::from_millis(1)).await;
        }
    }
}

pub(crate) fn mint(principal: &Principal) -> Credential {
    KEY.mint(principal)
}

fn connect(endpoint: &Endpoint, credential: Credential) -> Client {
    let clock: SharedClock = Arc::new(SystemClock);
    Client::new(channel::connect(Arc::new(OsTransport), clock, endpoint.clone(), Some(credential)))
}

async fn run(
    endpoint: Endpoint,
    memory: Memory,
    record: Store,
    follows: bool,
    clock: Arc<ManualClock>,
) {
    let shutdown = Shutdown::new();
    let tasks = TaskSet::new(shutdown.clone(), clock.clone());
    let service = Lifecycle::new(Arc::new(memory), record, clock.clone(), tasks.handle());
    let server = server::bind(Serve {
        name: "lifecycle",
        endpoints: vec![endpoint],
        transport: Arc::new(OsTransport),
        clock: Arc::new(SystemClock),
        authenticator: Authenticator::new(KEY),
        routes: grpc::routes(service.clone()),
        shutdown,
        limits: Limits::default(),
    });
    tasks.spawn("server", server.await.unwrap().run());
    tasks.spawn_job("outbox", service.clone().ship_outbox());
    if follows {
        tasks.spawn_loop("following", service.clone().follow_record());
        tasks.spawn_loop("grace", service.clone().end_unconfirmed(GRACE));
    }
    tasks.spawn_job("adoption", service.adopt());
    tasks.run(Duration::ZERO).await.unwrap();
}

/// A record whose application is led with epoch 1 and has incarnation 1, both here.
async fn first_incarnation() -> Arc<Host> {
    let record = Host::with(&application()).await;
    record.begin(1).await;
    record.incarnation(1).await;
    Arc::new(record)
}

pub(crate) fn application() -> ApplicationRef {
    ApplicationRef { id: "orders".parse().unwrap(), generation: Generation(4) }
}

pub(crate) fn fence(epoch: u64) -> EpochFence {
    EpochFence { application: application(), epoch: Epoch(epoch) }
}

/// A plan whose outputs a fence holds back.
pub(crate) fn gated(roles: Vec<Role>) -> Plan {
    Plan { roles, commit: Commit::Gated.into(), ..Plan::default() }
}

/// A role that serves jobs, is ready when it runs, and is never started again.
pub(crate) fn role(name: &str, script: &str) -> Role {
    Role {
        name: name.into(),
        command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        replicas: 1,
        restart: RestartPolicy::Never.into(),
        serves_jobs: true,
        ..Role::default()
    }
}

/// The future's output, or a failed test.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    timeout(&SystemClock, LONG, future).await.expect("bounded wait")
}
