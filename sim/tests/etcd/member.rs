//! The real client, and what it speaks to.

use std::sync::Arc;

use chassis::channel;
use chassis::clock::{SharedClock, SystemClock};
use chassis::transport::{Endpoint, OsTransport, SharedTransport};
use etcd_client::{Channel, Client, ConnectOptions};
use sim::Network;
use sim::etcd::{Etcd, Member};
use tower::util::BoxCloneSyncService;

/// An in-memory etcd of one member, and a client of it.
pub(crate) struct InMemory {
    pub(crate) etcd: Etcd,
    pub(crate) client: Client,
    _member: Member,
}

impl InMemory {
    /// An etcd that serves.
    pub(crate) async fn start() -> Self {
        let clock: SharedClock = Arc::new(SystemClock);
        let transport: SharedTransport = Arc::new(Network::default());
        let endpoint = Endpoint::Unix("/etcd".into());
        let etcd = Etcd::new(clock.clone());
        let member = etcd.serve(&transport, &endpoint).await.unwrap();
        let client = client(&transport, &clock, endpoint).await;
        Self { etcd, client, _member: member }
    }
}

/// A client of the real etcd at `host:port`.
pub(crate) async fn real(address: &str) -> Client {
    let clock: SharedClock = Arc::new(SystemClock);
    let transport: SharedTransport = Arc::new(OsTransport);
    client(&transport, &clock, format!("tcp://{address}").parse().unwrap()).await
}

/// The client as the crate `etcd` makes it.
async fn client(transport: &SharedTransport, clock: &SharedClock, endpoint: Endpoint) -> Client {
    let channel = channel::connect(transport.clone(), clock.clone(), endpoint, None);
    let channel = tower::util::MapErr::new(channel, tower::BoxError::from);
    let channel = Channel::Custom(BoxCloneSyncService::new(channel));
    let options = ConnectOptions::new().with_require_leader(true);
    Client::from_channel(channel, Some(options)).await.unwrap()
}
