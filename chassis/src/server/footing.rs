//! What all services stand on, and a server that stands on it.

use tonic::service::Routes;

use super::{Authenticator, BindError, Health, Limits, Serve, bind, metrics};
use crate::clock::SharedClock;
use crate::tasks::{Shutdown, TaskSet};
use crate::transport::{Endpoint, SharedTransport};

/// What a service stands on. The process hands it down, or a test in its place; everything else is
/// the service's own.
#[derive(Clone)]
pub struct Footing {
    /// The transport that the service listens and connects with.
    pub transport: SharedTransport,
    /// The clock of all its decisions.
    pub clock: SharedClock,
    /// Ends the service.
    pub shutdown: Shutdown,
}

impl Footing {
    /// An empty set of tasks, which end when the shutdown begins.
    pub fn tasks(&self) -> TaskSet {
        TaskSet::new(self.shutdown.clone(), self.clock.clone())
    }

    /// A server on this footing, within the limits that suit a service of one host. It also tells
    /// the numbers of its process.
    pub fn serve(
        &self,
        name: &'static str,
        endpoints: Vec<Endpoint>,
        authenticator: Authenticator,
        routes: Routes,
    ) -> Serve {
        let Self { transport, clock, shutdown } = self.clone();
        let (limits, routes) = (Limits::default(), metrics::add(routes));
        Serve { name, endpoints, transport, clock, authenticator, routes, shutdown, limits }
    }
}

impl Serve {
    /// Binds the server and runs it as one of these tasks. Peers can connect once this returns.
    pub async fn spawn(self, tasks: &TaskSet) -> Result<Health, BindError> {
        let server = bind(self).await?;
        let health = server.health();
        tasks.spawn("server", server.run());
        Ok(health)
    }
}
