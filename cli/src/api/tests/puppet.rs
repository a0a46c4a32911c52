//! A record that shows what the test put into it, behind the real wire, and tells on a watch what
//! the test tells it to.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chassis::channel::connect;
use chassis::clock::{SharedClock, SystemClock, timeout};
use chassis::credential::{Credential, DeploymentKey, Principal};
use chassis::server::{Authenticator, Limits, Serve};
use chassis::tasks::Shutdown;
use chassis::transport::{Endpoint, OsTransport};
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::stream::{BoxStream, StreamExt as _};
use proto::api::applications_service_server::{ApplicationsService, ApplicationsServiceServer};
use proto::api::{
    AbandonRequest, AbandonResponse, Application, CancelRequest, CancelResponse, EventsRequest,
    EventsResponse, ForgetRequest, ForgetResponse, GetGraphRequest, GetGraphResponse, GetRequest,
    GetResponse, GetVersionRequest, GetVersionResponse, ListRequest, ListResponse, ReadLogsRequest,
    ReadLogsResponse, ReadResultRequest, ReadResultResponse, RequestSavepointRequest,
    RequestSavepointResponse, StopRequest, StopResponse, SubmitRequest, SubmitResponse,
    WaitRequest, WaitResponse, WatchRequest, WatchResponse, watch_response::Item,
};
use proto::{Problem, Reason};
use tonic::{Request, Response, Status};

use crate::api::Api;

/// The longest that a test waits for anything here.
const LONG: Duration = Duration::from_secs(20);

/// Waits for the future; a test whose future does not come to an end in time fails.
pub(crate) async fn soon<F: Future>(what: F) -> F::Output {
    timeout(&SystemClock, LONG, what).await.expect("comes about")
}

/// The record's end of one watch.
pub(crate) struct Telling(UnboundedSender<Result<WatchResponse, Status>>);

impl Telling {
    pub(crate) fn tell(&self, item: Item) {
        self.0.unbounded_send(Ok(WatchResponse { item: Some(item) })).unwrap();
    }
}

/// What the record holds and answers with.
#[derive(Clone, Default)]
struct Held {
    /// The applications, newest first.
    applications: Arc<Mutex<Vec<Application>>>,
    /// The ids of the applications that the record forgot.
    forgotten: Arc<Mutex<Vec<String>>>,
    /// Whether streams of output end, empty as they are; until then they stay open and silent.
    output_ends: tokio::sync::watch::Sender<bool>,
}

/// A record in this process, whose server ends when this value is dropped.
pub(crate) struct Puppet {
    pub(crate) api: Api,
    /// Where it serves, and what opens its methods.
    pub(crate) endpoint: Endpoint,
    pub(crate) credential: Credential,
    held: Held,
    watches: UnboundedReceiver<Telling>,
    shutdown: Shutdown,
    _directory: tempfile::TempDir,
}

impl Drop for Puppet {
    fn drop(&mut self) {
        self.shutdown.begin();
    }
}

impl Puppet {
    /// A puppet whose `api` counts time by `clock`.
    pub(crate) async fn new(clock: SharedClock) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::Unix(directory.path().join("store.sock"));
        let (key, shutdown) = (DeploymentKey::generate(), Shutdown::new());
        let credential = key.mint(&Principal::Deployment);
        let (held, (begun, watches)) = (Held::default(), unbounded());
        let wire = Wire { held: held.clone(), begun };
        let server = chassis::server::bind(Serve {
            name: "jobgraph-store",
            endpoints: vec![endpoint.clone()],
            transport: Arc::new(OsTransport),
            clock: Arc::new(SystemClock),
            authenticator: Authenticator::new(key),
            routes: tonic::service::Routes::new(ApplicationsServiceServer::new(wire)),
            shutdown: shutdown.clone(),
            limits: Limits::default(),
        })
        .await
        .unwrap();
        tokio::spawn(server.run());
        let channel = connect(
            Arc::new(OsTransport),
            clock.clone(),
            endpoint.clone(),
            Some(credential.clone()),
        );
        let api = Api::new(channel, clock);
        Self { api, endpoint, credential, held, watches, shutdown, _directory: directory }
    }

    /// Adds an application that is older than all that the record holds.
    pub(crate) fn holds(&self, application: Application) {
        self.held.applications.lock().unwrap().push(application);
    }

    pub(crate) fn forgot(&self, id: &str) {
        self.held.forgotten.lock().unwrap().push(id.to_owned());
    }

    pub(crate) fn ends_output(&self) {
        self.held.output_ends.send_replace(true);
    }

    /// The test's end of the next watch that a client begins.
    pub(crate) async fn watched(&mut self) -> Telling {
        soon(self.watches.next()).await.unwrap()
    }

    /// Whether a client has begun another watch by now.
    pub(crate) fn is_watched_anew(&mut self) -> bool {
        self.watches.try_recv().is_ok()
    }
}

struct Wire {
    held: Held,
    begun: UnboundedSender<Telling>,
}

/// The service: the methods that tests ask for as given, the others unimplemented.
macro_rules! serve {
    ({ $($asked:item)* } $($method:ident: $request:ident => $answer:ty),* $(,)?) => {
        #[tonic::async_trait]
        impl ApplicationsService for Wire {
            type WatchStream = BoxStream<'static, Result<WatchResponse, Status>>;
            type EventsStream = BoxStream<'static, Result<EventsResponse, Status>>;
            type ReadLogsStream = BoxStream<'static, Result<ReadLogsResponse, Status>>;
            type ReadResultStream = BoxStream<'static, Result<ReadResultResponse, Status>>;
            $($asked)*
            $(async fn $method(&self, _: Request<$request>) -> Result<Response<$answer>, Status> {
                Err(Status::unimplemented("not asked here"))
            })*
        }
    };
}

serve! {
    {
        async fn get(&self, request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
            let GetRequest { application_id, generation } = request.into_inner();
            let held = self.held.applications.lock().unwrap();
            let is_it = |held: &&Application| {
                held.application_id == application_id && held.generation == generation
            };
            if let Some(application) = held.iter().find(is_it) {
                return Ok(Response::new(GetResponse { application: Some(application.clone()) }));
            }
            let mut missing = Problem::new(Reason::ApplicationNotFound, "no such application");
            if self.held.forgotten.lock().unwrap().contains(&application_id) {
                missing = missing.metadata(proto::reason::FORGOTTEN, true);
            }
            Err(missing.into_status())
        }

        async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
            let request = request.into_inner();
            let held = self.held.applications.lock().unwrap();
            let asked = |held: &&Application| {
                request.phases.is_empty() || request.phases.contains(&held.phase)
            };
            let from: usize = request.page_token.parse().unwrap_or_default();
            let page: Vec<_> =
                held.iter().filter(asked).skip(from).take(request.page_size as usize + 1).cloned().collect();
            let until = from + request.page_size as usize;
            let there_is_more = page.len() > request.page_size as usize;
            Ok(Response::new(ListResponse {
                applications: page.into_iter().take(request.page_size as usize).collect(),
                next_page_token: if there_is_more { until.to_string() } else { String::new() },
                revision: 1,
            }))
        }

        async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
            let (telling, told) = unbounded();
            let _ = self.begun.unbounded_send(Telling(telling));
            Ok(Response::new(told.boxed()))
        }

        /// An empty stream, because the watch tells all events that a test needs.
        async fn events(&self, _: Request<EventsRequest>) -> Result<Response<Self::EventsStream>, Status> {
            Ok(Response::new(futures::stream::empty().boxed()))
        }

        async fn read_logs(
            &self,
            _: Request<ReadLogsRequest>,
        ) -> Result<Response<Self::ReadLogsStream>, Status> {
            let mut ends = self.held.output_ends.subscribe();
            let end = async move { ends.wait_for(|ends| *ends).await.map(drop) };
            let nothing = futures::stream::once(end).filter_map(|_| futures::future::ready(None));
            Ok(Response::new(nothing.boxed()))
        }

        async fn get_version(
            &self,
            _: Request<GetVersionRequest>,
        ) -> Result<Response<GetVersionResponse>, Status> {
            Ok(Response::new(GetVersionResponse::default()))
        }
    }
    submit: SubmitRequest => SubmitResponse,
    wait: WaitRequest => WaitResponse,
    cancel: CancelRequest => CancelResponse,
    request_savepoint: RequestSavepointRequest => RequestSavepointResponse,
    stop: StopRequest => StopResponse,
    abandon: AbandonRequest => AbandonResponse,
    forget: ForgetRequest => ForgetResponse,
    read_result: ReadResultRequest => Self::ReadResultStream,
    get_graph: GetGraphRequest => GetGraphResponse,
}
