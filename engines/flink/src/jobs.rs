//! The one process of a cluster that acts on the JobManager for us: it submits, watches and cancels jobs for the leader,
//! and keeps what Flink's high availability would keep, in the record. A restart of it loses nothing: the JobManager
//! knows its jobs, the record their checkpoints and ends.

mod board;
mod cause;
mod config;
mod grpc;
mod ha;
mod jobmanager;
mod savepoint;
mod submission;

use std::time::Duration;

use chassis::clock::{Clock as _, SharedClock};
use chassis::credential::Credential;
use chassis::server::{Authenticator, Health, Limits, Serve};
use chassis::tasks::{Shutdown, TaskSet};
use chassis::transport::SharedTransport;
use chassis::{BoxError, MAX_MESSAGE_BYTES};
use client::payloads::Payloads;
use client::record::Record;
use proto::engine::jobs_service_server::JobsServiceServer;
use tonic::service::Routes;

use board::Board;
use jobmanager::JobManager;

use crate::served::served;

pub use config::Config;

/// How often a cluster that is coming up is asked whether it is there.
const READY_PAUSE: Duration = Duration::from_millis(25);

/// Serves `JobsService` and the JobManager's keeper until the shutdown begins. It says that it is ready once the JobManager answers and
/// all TaskManagers have registered there: that is the whole cluster.
pub async fn serve(
    config: Config,
    token: Credential,
    transport: SharedTransport,
    clock: SharedClock,
    shutdown: Shutdown,
) -> Result<(), BoxError> {
    let address =
        |text: &str| chassis::http::endpoint(text).ok_or_else(|| format!("{text:?} is no host:port"));
    let (ha, rest) = (address(&config.ha)?, address(&config.jobmanager)?);
    let store = chassis::channel::connect(
        transport.clone(),
        clock.clone(),
        config.store.clone(),
        Some(token.clone()),
    );
    let (record, payloads) = (Record::new(store.clone()), Payloads::new(store));
    let jobmanager = JobManager::new(transport.clone(), clock.clone(), rest);
    let board =
        Board::new(config.fence(), record.clone(), payloads.clone(), jobmanager.clone(), clock.clone());
    let service = JobsServiceServer::new(grpc::Service::new(board.clone()))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let limits = Limits::default();
    let incoming = transport.listen(&ha).await?;
    let server = chassis::server::bind(Serve {
        name: "jobs",
        endpoints: vec![config.endpoint.clone()],
        transport,
        clock: clock.clone(),
        authenticator: Authenticator::holding(token.clone()),
        routes: Routes::new(service),
        shutdown: shutdown.clone(),
        limits,
    })
    .await?;
    let health = server.health();
    health.set_serving(false).await;
    let keeper = ha::router(ha::Ha { fence: config.fence(), record, payloads, board: board.clone(), token });
    let tasks = TaskSet::new(shutdown.clone(), clock.clone());
    tasks.spawn("server", server.run());
    tasks.spawn("keeper", chassis::http::serve(incoming, served(keeper), clock.clone(), shutdown.clone()));
    tasks.spawn("follow jobs", board.follow(shutdown.clone()));
    tasks.spawn_job("readiness", ready(jobmanager, health, clock, shutdown, config.taskmanagers));
    Ok(tasks.run(limits.grace).await?)
}

/// Says that the cluster is ready once it is. What becomes of it later, lifecycle sees.
async fn ready(
    jobmanager: JobManager,
    health: Health,
    clock: SharedClock,
    shutdown: Shutdown,
    taskmanagers: u32,
) -> Result<(), BoxError> {
    loop {
        match jobmanager.overview().await {
            Ok(overview) if overview.taskmanagers >= taskmanagers => {
                health.set_serving(true).await;
                return Ok(());
            }
            Ok(overview) => tracing::debug!("{} of {taskmanagers} TaskManagers", overview.taskmanagers),
            Err(error) => tracing::debug!("{error}"),
        }
        tokio::select! {
            () = clock.sleep(READY_PAUSE) => {}
            () = shutdown.begun() => return Ok(()),
        }
    }
}
