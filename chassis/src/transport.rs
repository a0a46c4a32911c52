//! The network as a seam: an [`Endpoint`] is a name, and a [`Transport`] listens on it and connects
//! to it. Sockets are bound and connected only in [`OsTransport`]'s file; a simulation brings a
//! transport of its own. [`Tls`] is a layer over another transport.

mod foreign;
mod network;
mod os;
mod tls;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use futures::Stream;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

pub use foreign::Foreign;
pub use network::{INSECURE_NETWORK_VARIABLE, NetworkArgs, TLS_VARIABLE};
pub use os::{InsecureNetwork, MAX_SOCKET_PATH_BYTES, OsTransport};
pub use tls::{Tls, TlsClient, TlsFiles, Untrusted};

/// A transport that is handed down from `main` or from a simulation.
pub type SharedTransport = Arc<dyn Transport>;

/// Where a service listens: `unix:/path` or `tcp://host:port`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Endpoint {
    /// A unix socket at an absolute path.
    Unix(PathBuf),
    /// A host (name or address; IPv6 without brackets) and a port; port 0 lets the system choose
    /// when listening.
    Tcp(String, u16),
}

/// A text that is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no endpoint: expected unix:/absolute/path or tcp://host:port")]
pub struct InvalidEndpoint(pub String);

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        let invalid = || InvalidEndpoint(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            // `unix:///path` is the same endpoint in gRPC's naming.
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.starts_with('/') {
                Ok(Self::Unix(path.into()))
            } else {
                Err(invalid())
            };
        }
        let (host, port) = text
            .strip_prefix("tcp://")
            .and_then(|rest| rest.rsplit_once(':'))
            .ok_or_else(invalid)?;
        let port = port.parse().map_err(|_| invalid())?;
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() || host.contains(['/', '[', ']']) {
            return Err(invalid());
        }
        Ok(Self::Tcp(host.to_owned(), port))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(host, port) if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "tcp://{host}:{port}"),
        }
    }
}

impl TryFrom<String> for Endpoint {
    type Error = InvalidEndpoint;

    fn try_from(text: String) -> Result<Self, InvalidEndpoint> {
        text.parse()
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> Self {
        endpoint.to_string()
    }
}

/// Binds an endpoint whose answers everybody may read: no credential is asked for there, and none
/// is sent. So it may be on any address, guarded or not.
pub async fn listen_in_public(endpoint: &Endpoint) -> io::Result<Incoming> {
    os::GuardedNetwork.listen(endpoint).await
}

/// Listens and connects.
///
/// Servers and channels reach the network only through the transport that `main` hands them, so
/// that a test or a simulation can put another in its place.
///
/// `listen` and `connect` carry the bytes of any protocol as they are: Flink's REST, a page for a
/// browser. The services of a deployment speak to each other through `listen_trusted` and
/// `connect_trusted`, where a layer such as [`Tls`] may guard the wire, and both sides need the
/// same one.
///
/// Laws: after `listen` or `listen_trusted` has returned, the `connect` of the same kind to
/// [`Incoming::endpoint`] succeeds while the `Incoming` is read from; a second `listen` on a living
/// endpoint fails; connecting to an endpoint where no process listens fails instead of waiting.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Binds the endpoint; the connections come out of the stream.
    async fn listen(&self, endpoint: &Endpoint) -> io::Result<Incoming>;

    /// Connects to the process that listens on the endpoint. The caller bounds the wait, see
    /// [`crate::clock::timeout`].
    async fn connect(&self, endpoint: &Endpoint) -> io::Result<BoxedIo>;

    /// Binds the endpoint of a service of this deployment, whose callers send credentials.
    async fn listen_trusted(&self, endpoint: &Endpoint) -> io::Result<Incoming> {
        self.listen(endpoint).await
    }

    /// Connects to a service of this deployment, for what carries a credential: refused where the
    /// credential could be read on the way.
    async fn connect_trusted(&self, endpoint: &Endpoint) -> io::Result<BoxedIo> {
        self.connect(endpoint).await
    }

    /// Connects to a server that is not of this deployment, for what must not be read on the way:
    /// the bytes go as they are, and the connection is refused where they could be read.
    async fn connect_private(&self, endpoint: &Endpoint) -> io::Result<BoxedIo> {
        self.connect_trusted(endpoint).await
    }
}

/// Both directions of one connection.
pub trait Io: AsyncRead + AsyncWrite + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + 'static> Io for T {}

/// A connection of any transport.
pub struct BoxedIo(Pin<Box<dyn Io>>);

impl BoxedIo {
    /// Boxes a connection.
    pub fn new(io: impl Io) -> Self {
        Self(Box::pin(io))
    }
}

impl fmt::Debug for BoxedIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoxedIo")
    }
}

impl AsyncRead for BoxedIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_read(cx, buf)
    }
}

impl AsyncWrite for BoxedIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.as_mut().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.as_mut().poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}

impl Connected for BoxedIo {
    /// The type carries nothing, because no decision rests on the peer's address or on the
    /// credentials of a socket.
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

/// A bound endpoint: a stream of connections. Dropping the stream stops listening and removes a
/// unix socket's file.
pub struct Incoming {
    endpoint: Endpoint,
    connections: Pin<Box<dyn Stream<Item = io::Result<BoxedIo>> + Send>>,
}

impl Incoming {
    /// A bound endpoint of some transport; `endpoint` names the actual port.
    pub fn new(
        endpoint: Endpoint,
        connections: impl Stream<Item = io::Result<BoxedIo>> + Send + 'static,
    ) -> Self {
        Self { endpoint, connections: Box::pin(connections) }
    }

    /// The endpoint that was bound: for port 0 with the port that the system chose.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Incoming({})", self.endpoint)
    }
}

impl Stream for Incoming {
    type Item = io::Result<BoxedIo>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.connections.as_mut().poll_next(cx)
    }
}

#[cfg(test)]
mod tests;
