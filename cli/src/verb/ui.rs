//! `ui`: the web page of an application's engine, on a port of this machine, for reading only.

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
use crate::failure::{Failure, Outcome};
use crate::session::Session;

const HOST: &str = "127.0.0.1";

/// The web page of an application's engine
///
/// Serves it on this machine until Ctrl-C, also through the loss of a cluster. Only looking is possible: what would change something is
/// refused here, since mainspring has to know of it (mainspring cancel).
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

pub(crate) async fn run(args: UiArgs, session: &Session) -> Outcome<Exit> {
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

/// Where the page is right now.
struct Page {
    api: Api,
    application: Named,
    transport: SharedTransport,
    peer: Mutex<Endpoint>,
}

impl Page {
    async fn new(application: Named, session: &Session) -> Outcome<Self> {
        let api = session.api().await?;
        let peer = Mutex::new(find(&api, &application).await?);
        Ok(Self { api, application, transport: session.transport.clone(), peer })
    }

    async fn answer(&self, request: Request<hyper::body::Incoming>) -> Response<Body> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return refusal(
                StatusCode::METHOD_NOT_ALLOWED,
                "this page is for reading only: mainspring --help",
            );
        }
        // A page of somebody else's that the same browser shows must not read this one under a name of its own.
        if !request.headers().get(header::HOST).is_some_and(is_this_machine) {
            return refusal(StatusCode::FORBIDDEN, "ask for it as 127.0.0.1");
        }
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
        match self.fetch(request.method(), &path).await {
            Ok(answer) => answer,
            Err(text) => refusal(StatusCode::SERVICE_UNAVAILABLE, &text),
        }
    }

    async fn fetch(&self, method: &Method, path: &str) -> Result<Response<Body>, String> {
        let request = || Request::builder().method(method).uri(path).body(full(bytes::Bytes::new()));
        let request_now = request().map_err(|error| error.to_string())?;
        let peer = self.peer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Ok(answer) = send(&self.transport, &peer, request_now).await {
            return Ok(answer);
        }
        // The cluster may be another one by now.
        let found = find(&self.api, &self.application).await.map_err(|failure| failure.message.clone())?;
        self.peer.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&found);
        let request = request().map_err(|error| error.to_string())?;
        send(&self.transport, &found, request).await.map_err(|error| error.to_string())
    }
}

fn is_this_machine(host: &HeaderValue) -> bool {
    let name = host.to_str().unwrap_or_default();
    let name = name.rsplit_once(':').map_or(name, |(name, _)| name);
    matches!(name, HOST | "localhost")
}

/// Where the engine of this application serves its page.
async fn find(api: &Api, application: &Named) -> Outcome<Endpoint> {
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
    use super::*;

    #[test]
    fn only_this_machines_names_are_taken() {
        for (host, taken) in [
            ("127.0.0.1:8081", true),
            ("localhost", true),
            ("evil.example:8081", false),
            ("127.0.0.1.evil.example", false),
        ] {
            assert_eq!(is_this_machine(&HeaderValue::from_static(host)), taken, "{host}");
        }
    }
}
