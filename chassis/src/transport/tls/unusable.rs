//! What is left of a transport whose certificates cannot be used.

use std::io;

use async_trait::async_trait;

use super::super::{BoxedIo, Endpoint, Incoming, SharedTransport, Transport};
use super::explain::Untrusted;

/// A transport that was to be guarded, for a command that has to work although the certificates are
/// of no use: only what needs them is refused, and the refusal says why.
pub(crate) struct Unusable {
    pub(crate) plain: SharedTransport,
    pub(crate) why: String,
}

impl Unusable {
    fn admits(&self, endpoint: &Endpoint) -> io::Result<()> {
        match endpoint {
            Endpoint::Unix(_) => Ok(()),
            Endpoint::Tcp(..) => {
                let text = format!("{endpoint} needs TLS: {}", self.why);
                Err(io::Error::new(io::ErrorKind::InvalidInput, Untrusted::new(text)))
            }
        }
    }
}

#[async_trait]
impl Transport for Unusable {
    async fn listen(&self, endpoint: &Endpoint) -> io::Result<Incoming> {
        self.plain.listen(endpoint).await
    }

    async fn connect(&self, endpoint: &Endpoint) -> io::Result<BoxedIo> {
        self.plain.connect(endpoint).await
    }

    async fn listen_trusted(&self, endpoint: &Endpoint) -> io::Result<Incoming> {
        self.admits(endpoint)?;
        self.plain.listen_trusted(endpoint).await
    }

    async fn connect_trusted(&self, endpoint: &Endpoint) -> io::Result<BoxedIo> {
        self.admits(endpoint)?;
        self.plain.connect_trusted(endpoint).await
    }

    async fn connect_private(&self, endpoint: &Endpoint) -> io::Result<BoxedIo> {
        self.plain.connect_private(endpoint).await
    }
}
