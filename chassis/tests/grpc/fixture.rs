//! A server whose methods do what the request says.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chassis::channel::GrpcChannel;
use chassis::clock::{ManualClock, SharedClock, SystemClock, timeout};
use chassis::credential::{Credential, DeploymentKey, Principal};
use chassis::server::{Authenticator, Health, Limits, Serve, bind, require_deployment};
use chassis::tasks::Shutdown;
use chassis::transport::{Endpoint, OsTransport};
use futures::{Stream, StreamExt as _, stream};
use proto::election::campaign_request::Message as Asked;
use proto::election::campaign_response::Message as Answered;
use proto::election::election_service_client::ElectionServiceClient;
use proto::election::election_service_server::{ElectionService, ElectionServiceServer};
use proto::election::{
    CampaignRequest, CampaignResponse, ObserveRequest, ObserveResponse, Renew, Renewed,
    ResignRequest, ResignResponse,
};
use proto::{Problem, Reason};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

pub(crate) type Client = ElectionServiceClient<GrpcChannel>;

/// No test waits longer for something that has to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Fails the test instead of hanging it.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    timeout(&SystemClock, PATIENCE, future).await.expect("it should have come by now")
}

/// A service whose methods do what the request says: `holder` of Resign, `application_id` of
/// Observe.
#[derive(Default)]
pub(crate) struct Obedient {
    pub(crate) calls: Arc<watch::Sender<usize>>,
}

#[tonic::async_trait]
impl ElectionService for Obedient {
    type CampaignStream = Pin<Box<dyn Stream<Item = Result<CampaignResponse, Status>> + Send>>;
    type ObserveStream = Pin<Box<dyn Stream<Item = Result<ObserveResponse, Status>> + Send>>;

    /// Echoes the sequence of every renewal; begins to answer when the first has come.
    async fn campaign(
        &self,
        request: Request<Streaming<CampaignRequest>>,
    ) -> Result<Response<Self::CampaignStream>, Status> {
        self.calls.send_modify(|calls| *calls += 1);
        let mut asked = request.into_inner();
        let first = asked.next().await;
        let echo = stream::iter(first).chain(asked).map(|asked| match asked?.message {
            Some(Asked::Renew(Renew { sequence })) => {
                Ok(CampaignResponse { message: Some(Answered::Renewed(Renewed { sequence })) })
            }
            _ => Err(Status::invalid_argument("only renewals")),
        });
        Ok(Response::new(echo.boxed()))
    }

    async fn observe(
        &self,
        request: Request<ObserveRequest>,
    ) -> Result<Response<Self::ObserveStream>, Status> {
        let first = stream::iter([Ok(ObserveResponse::default())]);
        Ok(Response::new(match request.into_inner().application_id.as_str() {
            "endless" => first.chain(stream::pending()).boxed(),
            "fails" => {
                first.chain(stream::iter([Err(Status::internal("the secret is 42"))])).boxed()
            }
            _ => first.boxed(),
        }))
    }

    async fn resign(
        &self,
        request: Request<ResignRequest>,
    ) -> Result<Response<ResignResponse>, Status> {
        self.calls.send_modify(|calls| *calls += 1);
        match request.get_ref().holder.as_str() {
            "hangs" => std::future::pending().await,
            "panics" => panic!("the secret is 42"),
            "fails" => return Err(Status::internal("the secret is 42")),
            "is for the deployment" => require_deployment(&request)?,
            "refuses at length" => {
                let problem = Problem::new(Reason::ProgramInvalid, "ü".repeat(10_000));
                return Err(problem.metadata("line", "x".repeat(8000)).into_status());
            }
            "names its trace" => {
                return Err(Status::not_found(
                    chassis::telemetry::trace::current_trace_id().unwrap_or_default(),
                ));
            }
            _ => {}
        }
        Ok(Response::new(ResignResponse { was_leader: true }))
    }
}

/// A running server.
pub(crate) struct Fixture {
    pub(crate) dir: TempDir,
    pub(crate) key: DeploymentKey,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) shutdown: Shutdown,
    pub(crate) endpoint: Endpoint,
    pub(crate) health: Health,
    pub(crate) calls: Arc<watch::Sender<usize>>,
    pub(crate) running: JoinHandle<Result<(), chassis::BoxError>>,
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        Self::start_with(Limits::default()).await
    }

    pub(crate) async fn start_with(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::Unix(dir.path().join("s.sock"));
        Self::start_at(dir, endpoint, DeploymentKey::generate(), limits).await
    }

    pub(crate) async fn start_at(
        dir: TempDir,
        endpoint: Endpoint,
        key: DeploymentKey,
        limits: Limits,
    ) -> Self {
        let (clock, shutdown) = (Arc::new(ManualClock::new()), Shutdown::new());
        let service = Obedient::default();
        let calls = service.calls.clone();
        let server = bind(Serve {
            name: "obedient",
            endpoints: vec![endpoint],
            transport: Arc::new(OsTransport),
            clock: clock.clone(),
            authenticator: Authenticator::new(key.clone()),
            routes: Routes::new(
                ElectionServiceServer::new(service)
                    .max_decoding_message_size(chassis::MAX_MESSAGE_BYTES),
            ),
            shutdown: shutdown.clone(),
            limits,
        })
        .await
        .unwrap();
        let endpoint = server.endpoints().remove(0);
        let health = server.health();
        let running = tokio::spawn(server.run());
        Self { dir, key, clock, shutdown, endpoint, health, calls, running }
    }

    /// Waits until so many calls have reached their methods.
    pub(crate) async fn called(&self, count: usize) {
        soon(self.calls.subscribe().wait_for(|calls| *calls >= count)).await.unwrap();
    }

    pub(crate) fn credential(&self, principal: &Principal) -> Credential {
        self.key.mint(principal)
    }

    pub(crate) fn channel(&self, credential: Option<Credential>) -> GrpcChannel {
        channel_to(&self.endpoint, credential)
    }

    pub(crate) fn client_as(&self, principal: &Principal) -> Client {
        ElectionServiceClient::new(self.channel(Some(self.credential(principal))))
    }

    pub(crate) fn client(&self) -> Client {
        self.client_as(&Principal::Deployment)
    }
}

pub(crate) fn channel_to(endpoint: &Endpoint, credential: Option<Credential>) -> GrpcChannel {
    let clock: SharedClock = Arc::new(SystemClock);
    chassis::channel::connect(Arc::new(OsTransport), clock, endpoint.clone(), credential)
}

pub(crate) fn resign(holder: &str) -> ResignRequest {
    ResignRequest { holder: holder.to_owned(), ..Default::default() }
}

pub(crate) fn observe(application_id: &str) -> ObserveRequest {
    ObserveRequest { application_id: application_id.to_owned() }
}

pub(crate) fn renew(sequence: u64) -> CampaignRequest {
    CampaignRequest { message: Some(Asked::Renew(Renew { sequence })) }
}
