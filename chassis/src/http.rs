//! HTTP/1.1, for peers that speak no gRPC, over the same transport as every other connection: one
//! connection for each call, and a small server.

use std::convert::Infallible;
use std::sync::Arc;

use ::http::{Request, Response, header};
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;
use tower::Service;

use crate::BoxError;
use crate::clock::SharedClock;
use crate::tasks::{Shutdown, owned};
use crate::transport::{Endpoint, Incoming, SharedTransport};

/// A body of either direction.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// How many connections are served at once; further ones wait.
const CONNECTIONS: usize = 256;

/// How long to wait before accepting again after it failed.
const ACCEPT_AGAIN: std::time::Duration = std::time::Duration::from_millis(100);

/// A call that got no answer.
#[derive(Debug, thiserror::Error)]
#[error("{peer}: {error}")]
pub struct NoAnswer {
    /// The peer that was asked.
    pub peer: Endpoint,
    /// Why it did not answer.
    pub error: BoxError,
    /// Whether nothing was sent.
    pub unsent: bool,
}

/// A body of bytes that are all there.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// All bytes of a body, at most `limit` of them.
pub async fn collect(mut body: Body, limit: usize) -> Result<Bytes, BoxError> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() > limit {
            return Err(format!("the answer has more than {limit} bytes").into());
        }
    }
    Ok(bytes.freeze())
}

/// `host:port` as an endpoint.
pub fn endpoint(address: &str) -> Option<Endpoint> {
    format!("tcp://{address}").parse().ok()
}

/// Sends one request on a connection of its own, which ends with the answer's body. The call is not
/// bounded, so its caller has to bound it.
pub async fn send(
    transport: &SharedTransport,
    peer: &Endpoint,
    mut request: Request<Body>,
) -> Result<Response<Body>, NoAnswer> {
    let failed = |unsent, error: BoxError| NoAnswer { peer: peer.clone(), error, unsent };
    let io = transport.connect(peer).await.map_err(|error| failed(true, error.into()))?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(io)).await;
    let (mut sender, connection) = handshake.map_err(|error| failed(true, error.into()))?;
    // The connection ends with the answer's body, or with the reader of that body.
    let connection = owned("connection", async move {
        if let Err(error) = connection.await {
            tracing::debug!("a connection ended: {error}");
        }
    });
    if let Endpoint::Tcp(host, port) = peer
        && let Ok(host) = format!("{host}:{port}").parse()
    {
        request.headers_mut().insert(header::HOST, host);
    }
    let answer = sender.send_request(request).await.map_err(|error| failed(false, error.into()))?;
    let (parts, body) = answer.into_parts();
    let body = body.map_err(BoxError::from).map_frame(move |frame| {
        let _lives_as_long = &connection;
        frame
    });
    Ok(Response::from_parts(parts, body.boxed_unsync()))
}

/// Serves on a bound socket until the shutdown begins, and then cuts what is under way.
pub async fn serve<S, B>(
    mut incoming: Incoming,
    service: S,
    clock: SharedClock,
    shutdown: Shutdown,
) -> Result<(), BoxError>
where
    S: Service<Request<hyper::body::Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: http_body::Body<Error: Into<BoxError>, Data: Send> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while let Some(ended) = connections.try_join_next() {
            if let Err(failed) = ended {
                tracing::error!("a connection failed: {failed}");
            }
        }
        let permit = permits.clone().acquire_owned().await?;
        let accepted = tokio::select! {
            () = shutdown.begun() => return Ok(()),
            accepted = incoming.next() => accepted,
        };
        let io = match accepted {
            Some(Ok(io)) => io,
            Some(Err(error)) => {
                tracing::warn!("cannot accept on {}: {error}", incoming.endpoint());
                clock.sleep(ACCEPT_AGAIN).await;
                continue;
            }
            None => return Err(format!("{} stopped listening", incoming.endpoint()).into()),
        };
        let service = TowerToHyperService::new(service.clone());
        connections.spawn(async move {
            let served = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(io), service);
            if let Err(error) = served.await {
                tracing::debug!("a connection ended: {error}");
            }
            drop(permit);
        });
    }
}
