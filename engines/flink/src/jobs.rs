//! The one process of a cluster that acts on the JobManager for us: it submits, watches and cancels jobs for the leader,
//! and keeps what Flink's high availability would keep, in the record. A restart of it loses nothing that a job needs:
//! the JobManager knows its jobs, the record their checkpoints and ends.

mod board;
mod config;
mod ends;
mod ha;
mod refusal;
mod session;
mod submission;
mod unclean;

use std::time::Duration;

use chassis::BoxError;
use chassis::clock::{Clock as _, SharedClock};
use chassis::credential::Credential;
use chassis::server::{Authenticator, Health, Limits, Serve};
use chassis::tasks::{Shutdown, TaskSet};
use chassis::transport::SharedTransport;
use client::payloads::Payloads;
use client::record::Record;

use board::{Board, Tenancy};
use ends::Ends;
use unclean::Unclean;

use crate::jobmanager::JobManager;
use crate::served::served;

pub use config::{Config, Place};

/// How often a cluster that is coming up is asked whether it is there.
const READY_PAUSE: Duration = Duration::from_millis(25);

/// Serves `JobsService` until the shutdown begins, and in a cluster of this application alone also the JobManager's keeper: then it says that it
/// is ready once the JobManager answers and all TaskManagers have registered there, which is the whole cluster. A session cluster is not
/// waited for: it was there before.
pub async fn serve(
    config: Config,
    token: Credential,
    transport: SharedTransport,
    clock: SharedClock,
    shutdown: Shutdown,
) -> Result<(), BoxError> {
    let place = config.place()?;
    let store = chassis::channel::connect(
        transport.clone(),
        clock.clone(),
        config.cluster.store.clone(),
        Some(token.clone()),
    );
    let (record, payloads) = (Record::new(store.clone()), Payloads::new(store));
    let (rest, tenancy) = match &place {
        Place::Own { rest, .. } => (rest.clone(), Tenancy::Own),
        Place::Session { rest } => (rest.clone(), Tenancy::Session),
    };
    let jobmanager = JobManager::new(transport.clone(), clock.clone(), rest);
    let board = Board::new(
        config.cluster.fence(),
        tenancy,
        record.clone(),
        payloads.clone(),
        jobmanager.clone(),
        clock.clone(),
    );
    let limits = Limits::default();
    let tasks = TaskSet::new(shutdown.clone(), clock.clone());
    let ends = Ends { fence: config.cluster.fence(), record, payloads, board: board.clone() };
    let is_own = tenancy == Tenancy::Own;
    match place {
        Place::Own { ha, .. } => {
            let (unclean, no_more) = (Unclean::default(), Shutdown::new());
            let keeper = served(ha::router(ha::Ha { ends, token: token.clone(), unclean: unclean.clone() }));
            let incoming = transport.listen(&ha).await?;
            tasks.spawn("keeper", chassis::http::serve(incoming, keeper, clock.clone(), no_more.clone()));
            let (clock, shutdown) = (clock.clone(), shutdown.clone());
            tasks.spawn("keep until all is clean", async move {
                shutdown.begun().await;
                unclean.cleaned(&clock).await;
                no_more.begin();
                Ok::<_, BoxError>(())
            });
        }
        Place::Session { .. } => {
            let (clock, shutdown) = (clock.clone(), shutdown.clone());
            let recording = session::record_ends(ends, board.clone(), jobmanager.clone(), clock, shutdown);
            tasks.spawn("record ends", recording);
        }
    }
    let server = chassis::server::bind(Serve {
        name: "jobs",
        endpoints: vec![config.cluster.endpoint.clone()],
        transport,
        clock: clock.clone(),
        authenticator: Authenticator::holding(token),
        routes: jobs_service::routes(board.clone()),
        shutdown: shutdown.clone(),
        limits,
    })
    .await?;
    let health = server.health();
    health.set_serving(!is_own).await;
    tasks.spawn("server", server.run());
    tasks.spawn("follow jobs", board.follow(shutdown.clone()));
    if is_own {
        tasks.spawn_job("readiness", ready(jobmanager, health, clock, shutdown, config.taskmanagers));
    }
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
