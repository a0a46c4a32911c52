//! Mutual TLS between the services of a deployment, as a layer over another transport.
//!
//! Who calls is said by the token of each call, as without TLS. TLS guards the wire: nothing is
//! read or changed on the way, the caller knows that it speaks to the host that it meant, and a
//! stranger without a certificate of the deployment's CA does not come as far as a token. Unix
//! sockets pass through unchanged, and so do the connections of other protocols.
//!
//! A server demands a certificate of each client. A client of TLS 1.3 has done its part before the
//! server has looked at that certificate, so the client waits until the server has answered for it:
//! a refusal fails the connecting, when nothing has been sent, and not the first call.

mod accept;
mod dial;
mod explain;
mod files;
mod kept;
mod material;
mod unusable;

use std::io;
use std::sync::Arc;

use async_trait::async_trait;

use super::{BoxedIo, Endpoint, Incoming, SharedTransport, Transport};
use crate::clock::SharedClock;

pub use explain::Untrusted;
pub use files::TlsFiles;
pub(super) use unusable::Unusable;

use kept::Kept;

/// A transport whose services are guarded by mutual TLS on every TCP endpoint, the loopback
/// interface included.
pub struct Tls {
    /// Carries what is not guarded: unix sockets, and other protocols.
    plain: SharedTransport,
    /// Carries what this layer has guarded.
    below: SharedTransport,
    kept: Arc<Kept>,
    clock: SharedClock,
}

impl Tls {
    /// Reads the certificates, which have to be good: an unreadable, expired or foreign one is an
    /// error that names the file and the way out. Later changes of the files take effect by
    /// themselves.
    pub fn new(
        plain: SharedTransport,
        below: SharedTransport,
        files: TlsFiles,
        clock: SharedClock,
    ) -> io::Result<Self> {
        let kept = Arc::new(Kept::read(files, clock.clone())?);
        Ok(Self { plain, below, kept, clock })
    }
}

#[async_trait]
impl Transport for Tls {
    async fn listen(&self, endpoint: &Endpoint) -> io::Result<Incoming> {
        self.plain.listen(endpoint).await
    }

    async fn connect(&self, endpoint: &Endpoint) -> io::Result<BoxedIo> {
        self.plain.connect(endpoint).await
    }

    async fn listen_trusted(&self, endpoint: &Endpoint) -> io::Result<Incoming> {
        if let Endpoint::Unix(_) = endpoint {
            return self.plain.listen_trusted(endpoint).await;
        }
        self.kept.serve()?;
        let incoming = self.below.listen(endpoint).await?;
        Ok(accept::guarded(incoming, self.kept.clone(), self.clock.clone()))
    }

    async fn connect_trusted(&self, endpoint: &Endpoint) -> io::Result<BoxedIo> {
        match endpoint {
            Endpoint::Unix(_) => self.plain.connect_trusted(endpoint).await,
            Endpoint::Tcp(host, _) => {
                let io = self.below.connect(endpoint).await?;
                dial::guarded(io, endpoint, host, &self.kept.now(), &self.clock).await
            }
        }
    }

    async fn connect_private(&self, endpoint: &Endpoint) -> io::Result<BoxedIo> {
        self.plain.connect_private(endpoint).await
    }
}

/// The client's half alone, for a server that is not of this deployment, such as etcd: every TCP
/// connection is TLS, and the certificate of the client is optional. That server judges it by a CA
/// of its own choice.
pub struct TlsClient {
    below: SharedTransport,
    files: TlsFiles,
    clock: SharedClock,
}

impl TlsClient {
    /// Reads the files, which have to be of use. They are read anew for each connection, so that
    /// certificates which are renewed in time need no restart.
    pub fn new(below: SharedTransport, files: TlsFiles, clock: SharedClock) -> io::Result<Self> {
        material::of_stranger(&files, &clock)?;
        Ok(Self { below, files, clock })
    }
}

#[async_trait]
impl Transport for TlsClient {
    async fn listen(&self, endpoint: &Endpoint) -> io::Result<Incoming> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("{endpoint}: this side of TLS only connects"),
        ))
    }

    async fn connect(&self, endpoint: &Endpoint) -> io::Result<BoxedIo> {
        let Endpoint::Tcp(host, _) = endpoint else {
            return self.below.connect_private(endpoint).await;
        };
        let client = material::of_stranger(&self.files, &self.clock)?;
        let io = self.below.connect(endpoint).await?;
        dial::to_stranger(io, endpoint, host, client, &self.files, &self.clock).await
    }
}

/// Whether the certificates are good for this process now; an error says what is wrong.
pub(super) fn check(files: &TlsFiles, clock: &SharedClock) -> io::Result<()> {
    material::Material::read(files, clock).map(drop)
}

#[cfg(test)]
mod tests;
