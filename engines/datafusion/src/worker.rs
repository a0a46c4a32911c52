//! The one role of a datafusion cluster: the worker runs jobs and tells the record how they ended.

mod board;
mod config;
mod job;
mod queries;
mod results;

use std::sync::Arc;

use chassis::BoxError;
use chassis::clock::SharedClock;
use chassis::credential::Credential;
use chassis::server::{Authenticator, Limits, Serve};
use chassis::tasks::{Shutdown, TaskSet};
use chassis::transport::SharedTransport;
use client::payloads::Payloads;
use record::Record;

pub use config::Config;

/// Serves `JobsService` until the shutdown begins, or until a later incarnation supersedes this
/// one. Calls must carry the `leader`'s token.
///
/// Graphs come out of the `payloads` of the record, and results go there; the `record` is told how
/// jobs ended, and says which epoch leads. Every call of either may be repeated, and is while the
/// store is away.
///
/// Jobs that still run when the shutdown begins are dropped without an end, because only the next
/// incarnation of the cluster may run them again.
pub async fn serve(
    config: Config,
    leader: Credential,
    record: Arc<dyn Record>,
    payloads: Payloads,
    transport: SharedTransport,
    clock: SharedClock,
    shutdown: Shutdown,
) -> Result<(), BoxError> {
    let tasks = TaskSet::new(shutdown.clone(), clock.clone());
    let endpoint = config.cluster.endpoint.clone();
    let queries = queries::Queries::start()?;
    let board = board::Board::new(config, queries, record, payloads, clock.clone(), tasks.handle());
    let limits = Limits::default();
    let server = chassis::server::bind(Serve {
        name: "worker",
        endpoints: vec![endpoint],
        transport,
        clock,
        authenticator: Authenticator::holding(leader),
        routes: jobs_service::routes(board),
        shutdown,
        limits,
    })
    .await?;
    tasks.spawn("server", server.run());
    Ok(tasks.run(limits.grace).await?)
}
