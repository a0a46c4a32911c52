//! What this engine says about an application: its cluster is one worker, and its main() is a
//! script or an executable.

mod grpc;
mod program;

use chassis::BoxError;
use chassis::clock::SharedClock;
use chassis::credential::Credential;
use chassis::server::{Authenticator, Limits, Serve};
use chassis::tasks::{Shutdown, TaskSet};
use chassis::transport::{Endpoint, SharedTransport};

pub use grpc::Describe;
pub use program::{Program, ProgramError};

/// Serves `DescribeService` until the shutdown begins. Calls must carry `token`.
pub async fn serve(
    endpoint: Endpoint,
    token: Credential,
    transport: SharedTransport,
    clock: SharedClock,
    shutdown: Shutdown,
) -> Result<(), BoxError> {
    let limits = Limits::default();
    let server = chassis::server::bind(Serve {
        name: "describe",
        endpoints: vec![endpoint],
        transport,
        clock: clock.clone(),
        authenticator: Authenticator::holding(token),
        routes: grpc::routes(Describe::new()?),
        shutdown: shutdown.clone(),
        limits,
    })
    .await?;
    let tasks = TaskSet::new(shutdown, clock);
    tasks.spawn("server", server.run());
    Ok(tasks.run(limits.grace).await?)
}
