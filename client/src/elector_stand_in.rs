//! For tests: a server in place of the elector, whose answers the test gives, while time stands
//! still for its callers.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::sync::Arc;
use std::time::Duration;

use chassis::channel::{GrpcChannel, connect};
use chassis::clock::{ManualClock, SystemClock, timeout};
use chassis::credential::{DeploymentKey, Principal};
use chassis::server::{Authenticator, Limits, Serve};
use chassis::tasks::Shutdown;
use chassis::transport::{Endpoint, OsTransport};
use tonic::service::Routes;

/// The server, which serves until it is dropped.
pub(crate) struct StandIn {
    /// The clock of server and callers.
    pub(crate) clock: Arc<ManualClock>,
    /// The way to the server, with the deployment's credential.
    pub(crate) channel: GrpcChannel,
    shutdown: Shutdown,
    _directory: tempfile::TempDir,
}

impl StandIn {
    /// Serves these methods.
    pub(crate) async fn serving(routes: Routes) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::Unix(directory.path().join("elector.sock"));
        let clock = Arc::new(ManualClock::new());
        let (key, shutdown) = (DeploymentKey::generate(), Shutdown::new());
        let credential = key.mint(&Principal::Deployment);
        let server = chassis::server::bind(Serve {
            name: "leader-elector",
            endpoints: vec![endpoint.clone()],
            transport: Arc::new(OsTransport),
            clock: clock.clone(),
            authenticator: Authenticator::new(key),
            routes,
            shutdown: shutdown.clone(),
            limits: Limits::default(),
        });
        tokio::spawn(server.await.unwrap().run());
        let channel = connect(Arc::new(OsTransport), clock.clone(), endpoint, Some(credential));
        Self { clock, channel, shutdown, _directory: directory }
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.shutdown.begin();
    }
}

/// What comes about within a time that even a busy machine keeps.
pub(crate) async fn soon<F: Future>(what: F) -> F::Output {
    timeout(&SystemClock, Duration::from_secs(20), what).await.expect("comes about")
}
