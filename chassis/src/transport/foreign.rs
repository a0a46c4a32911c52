//! The way to servers that are not of this deployment.

use std::io;

use async_trait::async_trait;

use super::{BoxedIo, Endpoint, Incoming, SharedTransport, Transport};

/// The same transport for a client stack whose server is not of this deployment, such as etcd: such
/// a server knows nothing of the deployment's TLS, so the bytes go as they are. Where they could be
/// read on the way, the connection is refused all the same.
pub struct Foreign(pub SharedTransport);

#[async_trait]
impl Transport for Foreign {
    async fn listen(&self, endpoint: &Endpoint) -> io::Result<Incoming> {
        self.0.listen(endpoint).await
    }

    async fn connect(&self, endpoint: &Endpoint) -> io::Result<BoxedIo> {
        self.0.connect(endpoint).await
    }

    async fn connect_trusted(&self, endpoint: &Endpoint) -> io::Result<BoxedIo> {
        self.0.connect_private(endpoint).await
    }
}
