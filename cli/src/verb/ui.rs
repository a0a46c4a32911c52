//! `ui` serves the web page of an application's engine on a port of this machine, for reading only.

use std::sync::{Arc, Mutex, PoisonError};

use chassis::http::{Body, endpoint, full, send, serve};
use chassis::tasks::Shutdown;
use chassis::transport::{Endpoint, SharedTransport};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use proto::Reason;

use crate::api::Api;
use crate::application::Named;
use crate::engine;
use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};
use crate::session::Session;

const HOST: &str = "127.0.0.1";

/// The web page of an application's engine
///
/// Serves it on this machine until Ctrl-C, also through the loss of a cluster. Only looking is
/// possible: what would change something is refused here, since mainspring has to know of it
/// (mainspring cancel).
#[derive(Debug, clap::Args)]
#[command(before_help = "  mainspring ui orders")]
pub(crate) struct UiArgs {
    /// ID or ID@GENERATION
    #[arg(value_name = "ID")]
    application: Named,

    /// Where to serve it; 0: any free port
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    port: u16,
}

pub(crate) async fn run(args: UiArgs, session: &Session) -> OrFailure<Exit> {
    session.only_here("ui", "serves a page of processes of this machine")?;
    let page = Page::new(args.application, session).await?;
    let shutdown = Shutdown::on_signals()?;
    let incoming = session.transport.listen(&Endpoint::Tcp(HOST.to_owned(), args.port)).await?;
    if let Endpoint::Tcp(_, port) = incoming.endpoint() {
        session.out.answer(format!("http://{HOST}:{port}/\n"));
    }
    session.out.talk("for reading only; Ctrl-C ends it");
    let page = Arc::new(page);
    let service = tower::service_fn(move |request| {
        let page = page.clone();
        async move { Ok::<_, std::convert::Infallible>(page.answer(request).await) }
    });
    serve(incoming, service, session.clock.clone(), shutdown)
        .await
        .map_err(|error| Failure::internal(error.to_string()))?;
    Ok(Exit::SUCCEEDED)
}

/// The page, and the endpoint where the engine serves it at present.
struct Page {
    api: Api,
    application: Named,
    transport: SharedTransport,
    peer: Mutex<Endpoint>,
}

impl Page {
    async fn new(application: Named, session: &Session) -> OrFailure<Self> {
        let api = session.api().await?;
        let peer = Mutex::new(find(&api, &application).await?);
        Ok(Self { api, application, transport: session.transport.clone(), peer })
    }

    async fn answer<B>(&self, request: Request<B>) -> Response<Body> {
        if let Some((status, text)) = turned_away(&request) {
            return refusal(status, text);
        }
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
        match self.fetch(request.method(), &path).await {
            Ok(answer) => answer,
            Err(text) => refusal(StatusCode::SERVICE_UNAVAILABLE, &text),
        }
    }

    async fn fetch(&self, method: &Method, path: &str) -> Result<Response<Body>, String> {
        let request =
            || Request::builder().method(method).uri(path).body(full(bytes::Bytes::new()));
        let request_now = request().map_err(|error| error.to_string())?;
        let peer = self.peer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Ok(answer) = send(&self.transport, &peer, request_now).await {
            return Ok(answer);
        }
        // The cluster may have been replaced by another one.
        let found =
            find(&self.api, &self.application).await.map_err(|failure| failure.message.clone())?;
        self.peer.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&found);
        let request = request().map_err(|error| error.to_string())?;
        send(&self.transport, &found, request).await.map_err(|error| error.to_string())
    }
}

/// Why a request does not reach the engine, if it does not.
fn turned_away<B>(request: &Request<B>) -> Option<(StatusCode, &'static str)> {
    let looks = matches!(*request.method(), Method::GET | Method::HEAD)
        && !engine::acts(request.uri().path());
    if !looks {
        let text = "this page is for reading only: mainspring --help";
        return Some((StatusCode::METHOD_NOT_ALLOWED, text));
    }
    // A foreign page in the same browser must not read this one under a host name of its own.
    let named = request.headers().get(header::HOST).is_some_and(is_this_machine);
    (!named).then_some((StatusCode::FORBIDDEN, "ask for it as 127.0.0.1"))
}

fn is_this_machine(host: &HeaderValue) -> bool {
    let name = host.to_str().unwrap_or_default();
    let name = name.rsplit_once(':').map_or(name, |(name, _)| name);
    matches!(name, HOST | "localhost")
}

/// The endpoint at which the engine of this application serves its page.
async fn find(api: &Api, application: &Named) -> OrFailure<Endpoint> {
    let application = api.get(application).await?;
    let cluster = application.cluster.unwrap_or_default();
    let Some(page) = engine::page(&cluster.engine) else {
        let text = format!("the {} engine has no web page", cluster.engine);
        return Err(Failure::new(Exit::REFUSED, Reason::OptionMeaningless, text));
    };
    if let Some(address) = cluster.addresses.get(page.shared) {
        let text = format!(
            "{} uses a cluster of others, whose page shows their jobs too",
            application.application_id
        );
        let failure = Failure::new(Exit::REFUSED, Reason::OptionMeaningless, text);
        return Err(failure.help(format!("open the cluster's own page: http://{address}")));
    }
    cluster.addresses.get(page.own).and_then(|address| endpoint(address)).ok_or_else(|| {
        let text = format!("{} has no cluster right now", application.application_id);
        Failure::new(Exit::REFUSED, Reason::ClusterNotReady, text)
    })
}

fn refusal(status: StatusCode, text: &str) -> Response<Body> {
    let mut answer = Response::new(full(format!("{text}\n")));
    *answer.status_mut() = status;
    answer
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods)]
    use chassis::channel::connect;
    use chassis::clock::{SharedClock, SystemClock};
    use chassis::transport::OsTransport;

    use super::*;

    type Reached = Arc<Mutex<Vec<String>>>;

    /// A page before an engine that notes the requests which reach it.
    async fn before_an_engine(directory: &std::path::Path, shutdown: &Shutdown) -> (Page, Reached) {
        let (transport, clock): (SharedTransport, SharedClock) =
            (Arc::new(OsTransport), Arc::new(SystemClock));
        let nobody = Endpoint::Unix(directory.join("nobody.sock"));
        let incoming =
            transport.listen(&Endpoint::Unix(directory.join("engine.sock"))).await.unwrap();
        let peer = Mutex::new(incoming.endpoint().clone());
        let reached = Reached::default();
        let noted = reached.clone();
        let service = tower::service_fn(move |request: Request<hyper::body::Incoming>| {
            noted.lock().unwrap().push(format!("{} {}", request.method(), request.uri()));
            std::future::ready(Ok::<_, std::convert::Infallible>(Response::new(full("shown"))))
        });
        tokio::spawn(serve(incoming, service, clock.clone(), shutdown.clone()));
        let api = Api::new(connect(transport.clone(), clock.clone(), nobody, None), clock);
        (Page { api, application: "orders".parse().unwrap(), transport, peer }, reached)
    }

    #[tokio::test]
    async fn only_what_looks_and_asks_by_a_name_of_this_machine_reaches_the_engine() {
        let (directory, shutdown) = (tempfile::tempdir().unwrap(), Shutdown::new());
        let (page, reached) = before_an_engine(directory.path(), &shutdown).await;
        let mut shown = Vec::new();
        for (method, host, path, status) in [
            ("GET", Some("127.0.0.1:8081"), "/jobs?a=b%2Fc", StatusCode::OK),
            ("HEAD", Some("localhost"), "/jobs/0/yarn-cancelled", StatusCode::OK),
            ("GET", Some("evil.example:8081"), "/jobs", StatusCode::FORBIDDEN),
            ("GET", Some("127.0.0.1.evil.example"), "/jobs", StatusCode::FORBIDDEN),
            ("GET", Some("evil.example:127.0.0.1"), "/jobs", StatusCode::FORBIDDEN),
            ("GET", None, "/jobs", StatusCode::FORBIDDEN),
            ("POST", Some("127.0.0.1"), "/jars/upload", StatusCode::METHOD_NOT_ALLOWED),
            ("PATCH", Some("127.0.0.1"), "/jobs/0", StatusCode::METHOD_NOT_ALLOWED),
            ("DELETE", Some("127.0.0.1"), "/cluster", StatusCode::METHOD_NOT_ALLOWED),
            ("OPTIONS", Some("127.0.0.1"), "/jobs", StatusCode::METHOD_NOT_ALLOWED),
            ("GET", Some("127.0.0.1"), "/jobs/0/yarn-cancel", StatusCode::METHOD_NOT_ALLOWED),
            ("GET", Some("127.0.0.1"), "/v1/jobs/0/yarn%2dstop/?x", StatusCode::METHOD_NOT_ALLOWED),
        ] {
            let mut request = Request::builder().method(method).uri(path);
            if let Some(host) = host {
                request = request.header(header::HOST, host);
            }
            let answer = page.answer(request.body(()).unwrap()).await;
            assert_eq!(answer.status(), status, "{method} {path} of {host:?}");
            if status == StatusCode::OK {
                shown.push(format!("{method} {path}"));
            }
        }
        assert_eq!(*reached.lock().unwrap(), shown);
        shutdown.begin();
    }
}
