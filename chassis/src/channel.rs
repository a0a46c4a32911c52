//! The client stack: a channel to one endpoint that connects when it is first used, and again after
//! the connection broke. The channel adds the credential and the trace context. It retries nothing,
//! because only the caller knows whether a call may be repeated.

use std::error::Error as _;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use proto::{Problem, Reason};
use tonic::body::Body;
use tonic::transport::channel::ResponseFuture;
use tonic::transport::{Channel, Endpoint as TonicEndpoint};
use tonic::{ConnectError, Status, TimeoutExpired};
use tower::Service;

use crate::clock::{SharedClock, timeout};
use crate::credential::Credential;
use crate::telemetry::trace;
use crate::transport::{Endpoint, SharedTransport, Untrusted};

/// How long connecting may take; a call that needs a connection fails after it.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How much of one stream may be under way, in bytes: enough that round trips do not slow down a
/// fetch.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;

/// How much of one connection may be under way, in bytes.
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// Room for an error's details, in bytes: the details travel in headers.
pub(crate) const MAX_HEADERS_BYTES: u32 = 64 * 1024;

/// A silent peer across the network is asked after this time, and given up after as much again.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// A channel to `endpoint`. Returns at once, because the first call connects. The call has to come
/// inside the runtime.
pub fn connect(
    transport: SharedTransport,
    clock: SharedClock,
    endpoint: Endpoint,
    credential: Option<Credential>,
) -> GrpcChannel {
    let mut settings = TonicEndpoint::from_static("http://localhost")
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_max_header_list_size(MAX_HEADERS_BYTES);
    if let Endpoint::Tcp(..) = endpoint {
        settings = settings.http2_keep_alive_interval(KEEP_ALIVE).keep_alive_timeout(KEEP_ALIVE);
    }
    let peer = Arc::new(endpoint);
    let connector = tower::service_fn({
        let peer = peer.clone();
        move |_: Uri| {
            let (transport, clock, peer) = (transport.clone(), clock.clone(), peer.clone());
            async move {
                match timeout(&clock, CONNECT_TIMEOUT, transport.connect_trusted(&peer)).await {
                    Ok(connected) => connected.map(TokioIo::new),
                    Err(elapsed) => Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        format!("cannot connect to {peer}: {elapsed}"),
                    )),
                }
            }
        }
    });
    let authorization = credential.map(|credential| credential.header());
    GrpcChannel { inner: settings.connect_with_connector_lazy(connector), authorization, peer }
}

/// A channel to one endpoint, for any generated client. Clones share the connection.
///
/// The errors of a channel are statuses, so that a caller has one kind of error to read:
/// `Unavailable` if no connection came about (nothing was done), `DeadlineExceeded` after the
/// deadline of the call, `Unknown` if the connection broke before the answer (the outcome is
/// unknown).
#[derive(Clone)]
pub struct GrpcChannel {
    inner: Channel,
    authorization: Option<HeaderValue>,
    peer: Arc<Endpoint>,
}

impl GrpcChannel {
    /// The endpoint that the channel leads to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.peer
    }

    /// The same connection with another credential.
    #[must_use]
    pub fn with_credential(&self, credential: &Credential) -> Self {
        Self { authorization: Some(credential.header()), ..self.clone() }
    }
}

impl fmt::Debug for GrpcChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GrpcChannel({})", self.peer)
    }
}

impl Service<Request<Body>> for GrpcChannel {
    type Response = Response<Body>;
    type Error = Status;
    type Future = GrpcResponse;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(cx).map_err(|error| status(&self.peer, &error))
    }

    fn call(&mut self, mut request: Request<Body>) -> GrpcResponse {
        let headers = request.headers_mut();
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        trace::inject(headers);
        GrpcResponse { inner: self.inner.call(request), peer: self.peer.clone() }
    }
}

/// The answer of a [`GrpcChannel`].
pub struct GrpcResponse {
    inner: ResponseFuture,
    peer: Arc<Endpoint>,
}

impl fmt::Debug for GrpcResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GrpcResponse({})", self.peer)
    }
}

impl Future for GrpcResponse {
    type Output = Result<Response<Body>, Status>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(Pin::new(&mut self.inner).poll(cx));
        let peer = self.peer.clone();
        Poll::Ready(match answer {
            Ok(response) => {
                Ok(response.map(|body| Body::new(body.map_err(move |error| broken(&peer, &error)))))
            }
            Err(error) => Err(status(&peer, &error)),
        })
    }
}

/// Whether a call was not sent because TLS let no connection come about.
pub fn is_untrusted(status: &Status) -> bool {
    proto::problem::reason(status) == Some(Reason::CertificateInvalid)
}

/// What a transport's error means for the caller.
fn status(peer: &Endpoint, error: &tonic::transport::Error) -> Status {
    let mut cause = error.source();
    while let Some(at) = cause {
        if at.is::<TimeoutExpired>() {
            let text =
                format!("{peer} did not answer within the call's deadline; what it did is unknown");
            return Problem::new(Reason::TimedOut, text).into_status();
        }
        if at.is::<ConnectError>() {
            let text = innermost(at);
            return if Untrusted::is_cause_of(at) {
                Problem::new(Reason::CertificateInvalid, text).into_status()
            } else {
                Status::unavailable(text)
            };
        }
        cause = at.source();
    }
    broken(peer, error)
}

/// The status for a connection that broke after the call was sent, or while its answer came.
fn broken(peer: &Endpoint, error: &(dyn std::error::Error + 'static)) -> Status {
    Status::unknown(format!("the connection to {peer} broke: {}", innermost(error)))
}

/// The text of the first cause. Where connecting failed, that text is this crate's own, which names
/// the endpoint.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = cause.to_string();
        source = cause.source();
    }
    text
}
