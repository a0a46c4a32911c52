//! The server stack: one function that binds, one that serves. Every service gets the same layers,
//! health and reflection from here, and adds nothing of its own around its methods.

mod around;
mod authenticate;
mod authorize;
mod catch_panic;
mod connection;
mod deadline;
mod end_streams;
mod footing;
mod health;
mod limit;
mod measure;
mod metrics;
mod reflection;
mod stack;
mod trace;
mod withhold;

use std::io;
use std::time::Duration;

use prost::DecodeError;
use tonic::service::Routes;

use crate::BoxError;
use crate::clock::SharedClock;
use crate::tasks::Shutdown;
use crate::transport::{Endpoint, Incoming, SharedTransport};

pub use authenticate::Authenticator;
pub use authorize::who_may;
pub use authorize::{
    check_own, principal, require_attempt, require_contender, require_deployment,
    require_incarnation, require_own,
};
pub use deadline::UNARY_DEADLINE;
pub use footing::Footing;
pub use health::Health;
pub use withhold::TraceId;

/// A call as the layers see it.
type Call = http::Request<tonic::body::Body>;

/// An answer as the layers see it; refusals are answers too.
type Reply = http::Response<tonic::body::Body>;

/// What a server is made of.
pub struct Serve {
    /// The service's name, for logs.
    pub name: &'static str,
    /// The endpoints to listen on, at least one.
    pub endpoints: Vec<Endpoint>,
    /// The transport to listen with.
    pub transport: SharedTransport,
    /// The clock that deadlines count by.
    pub clock: SharedClock,
    /// What verifies the credentials of callers.
    pub authenticator: Authenticator,
    /// The service's own methods.
    pub routes: Routes,
    /// Ends the server: it says that it does not serve, takes no new connections, ends streams, and
    /// lets calls finish within the grace period.
    pub shutdown: Shutdown,
    /// The bounds of the server.
    pub limits: Limits,
}

/// The bounds of a server. The defaults suit a service of one host.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How many calls are answered at once; a stream counts until its answer begins. Further calls
    /// are refused.
    pub calls: usize,
    /// How many connections are open at once; further ones wait.
    pub connections: usize,
    /// How long a unary call may take when its caller set no deadline.
    pub unary_deadline: Duration,
    /// How long calls may go on once the shutdown has begun.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls: 1024,
            connections: 1024,
            unary_deadline: UNARY_DEADLINE,
            grace: Duration::from_secs(5),
        }
    }
}

/// A bound server: peers can connect, and are answered once [`run`](Self::run) runs.
pub struct Server {
    name: &'static str,
    incoming: Vec<Incoming>,
    stack: stack::Stack,
    health: Health,
    clock: SharedClock,
    shutdown: Shutdown,
    /// Begins after `shutdown`, once health has said so, and ends streams and connections.
    ending: Shutdown,
    limits: Limits,
}

/// Why a server could not be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The server was given no endpoint.
    #[error("{0} has no endpoint to listen on")]
    NoEndpoint(&'static str),
    /// The system does not let the server listen there.
    #[error(transparent)]
    Listen(#[from] io::Error),
    /// The descriptors of the contract are not of this build.
    #[error(transparent)]
    Descriptors(#[from] DecodeError),
}

/// Binds every endpoint and puts the stack together. If this fails, no endpoint stays bound.
pub async fn bind(serve: Serve) -> Result<Server, BindError> {
    let Serve { name, endpoints, transport, clock, authenticator, routes, shutdown, limits } =
        serve;
    if endpoints.is_empty() {
        return Err(BindError::NoEndpoint(name));
    }
    let (health, routes) = health::add(routes);
    let ending = Shutdown::new();
    let stack = stack::stack(routes, authenticator, clock.clone(), ending.clone(), limits)?;
    let mut incoming = Vec::with_capacity(endpoints.len());
    for endpoint in &endpoints {
        let bound = transport.listen_trusted(endpoint).await?;
        tracing::debug!({ crate::telemetry::fields::ENDPOINT } = %bound.endpoint(), "{name} listens");
        incoming.push(bound);
    }
    Ok(Server { name, incoming, stack, health, clock, shutdown, ending, limits })
}

/// [`bind`], then [`Server::run`].
pub async fn serve(serve: Serve) -> Result<(), BoxError> {
    bind(serve).await?.run().await
}

impl Server {
    /// The endpoints that the server listens on, with the ports that the system chose.
    pub fn endpoints(&self) -> Vec<Endpoint> {
        self.incoming.iter().map(|incoming| incoming.endpoint().clone()).collect()
    }

    /// The hook by which the service says whether it can do its work. It starts as SERVING.
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Serves until the shutdown begins, then ends in order: NOT_SERVING, no new connections,
    /// streams end, calls finish or are cut when the grace period is over.
    pub async fn run(self) -> Result<(), BoxError> {
        connection::run(self).await
    }
}
