//! A store in this process, with its own state directory, its own socket, and the key to mint every
//! credential.

use record::{ApplicationEnd, Holder, Record as _};
use std::sync::Arc;
use std::time::Duration;

use chassis::channel::{GrpcChannel, connect};
use chassis::clock::{SharedClock, SystemClock, timeout};
use chassis::credential::{Credential, DeploymentKey, Principal};
use chassis::server::Footing;
use chassis::tasks::Shutdown;
use chassis::transport::{Endpoint, OsTransport, SharedTransport};
use client::admission::Admission;
use client::applications::Applications;
use client::logs::Logs;
use client::payloads::Payloads;
use client::places::Places;
use client::processes::Processes;
use client::record::RecordClient;
use jobgraph_store::config::Args;
use proto::{ApplicationRef, Epoch, EpochFence, Generation, Place, api};
use tokio::task::JoinHandle;

pub(crate) struct Host {
    directory: tempfile::TempDir,
    endpoint: Endpoint,
    key: DeploymentKey,
    shutdown: Shutdown,
    server: Option<JoinHandle<anyhow::Result<()>>>,
}

/// Clients with one credential.
pub(crate) struct Caller(GrpcChannel);

fn transport() -> SharedTransport {
    Arc::new(OsTransport)
}

fn clock() -> SharedClock {
    Arc::new(SystemClock)
}

impl Host {
    pub(crate) async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap()).await
    }

    /// A store whose state is in this directory.
    pub(crate) async fn start_in(directory: tempfile::TempDir) -> Self {
        let endpoint = Endpoint::Unix(directory.path().join("store.sock"));
        let key = DeploymentKey::load_or_create(&directory.path().join("deployment.key")).unwrap();
        let mut host = Self { directory, endpoint, key, shutdown: Shutdown::new(), server: None };
        host.begin().await;
        host
    }

    async fn begin(&mut self) {
        self.shutdown = Shutdown::new();
        let (listen, state_dir) = (Some(self.endpoint.clone()), self.directory.path().to_owned());
        let (network, etcd, blobs, run_as, shared) = Default::default();
        let past_seconds = 900;
        let args = Args { listen, network, state_dir, etcd, blobs, past_seconds, run_as, shared };
        let shutdown = self.shutdown.clone();
        let footing = Footing { transport: transport(), clock: clock(), shutdown };
        self.server = Some(tokio::spawn(jobgraph_store::serve(args, footing)));
        let version = async {
            while self.applications().version().await.is_err() {
                clock().sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(&clock(), Duration::from_secs(10), version).await.expect("the store answers");
    }

    pub(crate) async fn stop(mut self) {
        self.end().await;
    }

    async fn end(&mut self) {
        self.shutdown.begin();
        let server = self.server.take().unwrap();
        timeout(&clock(), Duration::from_secs(15), server)
            .await
            .expect("it ends")
            .unwrap()
            .unwrap();
    }

    /// The host that the store runs on.
    pub(crate) fn place(&self) -> Place {
        Places::new(self.directory.path()).host().unwrap()
    }

    /// Where the store keeps a payload.
    pub(crate) fn payload(&self, digest: proto::Digest) -> std::path::PathBuf {
        let hex = digest.to_hex();
        self.directory.path().join("jobgraph-store/payloads").join(&hex[..2]).join(hex)
    }

    pub(crate) async fn restart(&mut self) {
        self.end().await;
        self.begin().await;
    }

    pub(crate) fn mint(&self, principal: &Principal) -> Credential {
        self.key.mint(principal)
    }

    pub(crate) fn as_(&self, credential: Option<&Principal>) -> Caller {
        let credential: Option<Credential> = credential.map(|principal| self.key.mint(principal));
        Caller(connect(transport(), clock(), self.endpoint.clone(), credential))
    }

    pub(crate) fn as_incarnation(&self, app: &ApplicationRef, incarnation: u64) -> Caller {
        let (application, generation) = (app.id.to_string(), app.generation.get());
        self.as_(Some(&Principal::Incarnation { application, generation, incarnation }))
    }

    pub(crate) fn as_attempt(&self, app: &ApplicationRef, epoch: u64) -> Caller {
        let (application, generation) = (app.id.to_string(), app.generation.get());
        self.as_(Some(&Principal::Attempt { application, generation, epoch }))
    }

    pub(crate) fn as_contender(&self, app: &ApplicationRef) -> Caller {
        let (application, generation) = (app.id.to_string(), app.generation.get());
        self.as_(Some(&Principal::Contender { application, generation }))
    }

    /// Submits an application and leads it with epoch 1.
    pub(crate) async fn led(&self, id: &str) -> (ApplicationRef, EpochFence) {
        let submitted =
            self.applications().submit(submit_request(&format!("r-{id}"), spec(id))).await.unwrap();
        let app = reference(&submitted.application.unwrap());
        let fence = fence(&app, 1);
        self.record().begin_attempt(&fence, &Holder::new("runner-0", 1), "").await.unwrap();
        (app, fence)
    }

    /// Ends an application by its leader's word, as failed.
    pub(crate) async fn fails(&self, fence: &EpochFence) {
        let end = ApplicationEnd::new(api::Outcome::Failed, "MAIN_EXITED", "main() exited with 3");
        self.record().end(fence, end, 0).await.unwrap();
    }

    fn owner(&self) -> Caller {
        self.as_(Some(&Principal::Deployment))
    }

    pub(crate) fn applications(&self) -> Applications {
        self.owner().applications()
    }

    pub(crate) fn admission(&self) -> Admission {
        self.owner().admission()
    }

    pub(crate) fn record(&self) -> RecordClient {
        self.owner().record()
    }

    pub(crate) fn payloads(&self) -> Payloads {
        self.owner().payloads()
    }

    pub(crate) fn logs(&self) -> Logs {
        Logs::new(self.owner().0)
    }

    pub(crate) fn processes(&self) -> Processes {
        Processes::new(self.owner().0)
    }
}

impl Caller {
    pub(crate) fn admission(&self) -> Admission {
        Admission::new(self.0.clone())
    }

    pub(crate) fn channel(&self) -> GrpcChannel {
        self.0.clone()
    }

    pub(crate) fn applications(&self) -> Applications {
        Applications::new(self.0.clone())
    }

    pub(crate) fn record(&self) -> RecordClient {
        RecordClient::new(self.0.clone())
    }

    pub(crate) fn payloads(&self) -> Payloads {
        Payloads::new(self.0.clone())
    }
}

pub(crate) fn fence(application: &ApplicationRef, epoch: u64) -> EpochFence {
    EpochFence { application: application.clone(), epoch: Epoch(epoch) }
}

pub(crate) fn reference(application: &api::Application) -> ApplicationRef {
    ApplicationRef {
        id: application.application_id.parse().unwrap(),
        generation: Generation(application.generation),
    }
}

/// A spec that can be accepted; an empty id is generated.
pub(crate) fn spec(id: &str) -> api::ApplicationSpec {
    api::ApplicationSpec {
        application_id: id.into(),
        program: Some(api::Program {
            uri: "/examples/flights/carriers.sql".into(),
            ..Default::default()
        }),
        engine: "datafusion".into(),
        ..Default::default()
    }
}

pub(crate) fn submit_request(request_id: &str, spec: api::ApplicationSpec) -> api::SubmitRequest {
    api::SubmitRequest { request_id: request_id.into(), spec: Some(spec), ..Default::default() }
}
