//! The one process of a cluster that acts on the JobManager: `jobs` submits, watches and cancels
//! jobs for the leader, and keeps in the record what Flink's high availability would keep. A
//! restart of `jobs` loses nothing that a job needs, because the JobManager knows its jobs, and the
//! record their checkpoints and ends.

mod board;
mod config;
mod ends;
mod ha;
mod readiness;
mod refusal;
mod session;
mod submission;
mod unclean;

use std::sync::Arc;
use std::time::Duration;

use chassis::BoxError;
use chassis::clock::SharedClock;
use chassis::server::{Authenticator, Limits, Serve};
use chassis::tasks::{Shutdown, TaskSet};
use chassis::transport::SharedTransport;
use client::payloads::Payloads;
use client::record::RecordClient;
use jobs_service::Tokens;
use record::Record;

use board::{Board, Tenancy};
use ends::Ends;
use readiness::Readiness;
use unclean::Unclean;

use crate::jobmanager::JobManager;
use crate::served::served;

pub use config::{Config, Place};
pub use readiness::Incomplete;

/// Serves `JobsService` until the shutdown begins, and in a cluster of this application alone also
/// what the JobManager keeps in the record. In such a cluster `jobs` says that it is ready once
/// jobs may come, and fails with [`Incomplete`] when the cluster does not get whole. A session
/// cluster is not waited for, because it was there before.
pub async fn serve(
    config: Config,
    tokens: Tokens,
    transport: SharedTransport,
    clock: SharedClock,
    shutdown: Shutdown,
) -> Result<(), BoxError> {
    let place = config.place()?;
    let store = chassis::channel::connect(
        transport.clone(),
        clock.clone(),
        config.cluster.store.clone(),
        Some(tokens.own.clone()),
    );
    let record: Arc<dyn Record> = Arc::new(RecordClient::new(store.clone()));
    let payloads = Payloads::new(store);
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
            let token = tokens.own.clone();
            let keeper = served(ha::router(ha::Ha { ends, token, unclean: unclean.clone() }));
            let incoming = transport.listen(&ha).await?;
            tasks.spawn(
                "keeper",
                chassis::http::serve(incoming, keeper, clock.clone(), no_more.clone()),
            );
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
            let recording =
                session::record_ends(ends, board.clone(), jobmanager.clone(), clock, shutdown);
            tasks.spawn("record ends", recording);
        }
    }
    let server = chassis::server::bind(Serve {
        name: "jobs",
        endpoints: vec![config.cluster.endpoint.clone()],
        transport,
        clock: clock.clone(),
        authenticator: Authenticator::holding(tokens.leader),
        routes: jobs_service::routes(board.clone()),
        shutdown: shutdown.clone(),
        limits,
    })
    .await?;
    let health = server.health();
    health.set_serving(!is_own).await;
    tasks.spawn("server", server.run());
    tasks.spawn("follow jobs", board.follow(shutdown.clone()));
    let readiness = Readiness {
        jobmanager,
        clock,
        early: config.early,
        wanted: config.taskmanagers,
        within: Duration::from_secs(config.whole_within.into()),
    };
    let reached = async {
        tokio::select! {
            reached = readiness.reached(async || health.set_serving(true).await) => reached,
            () = shutdown.begun() => Ok(()),
        }
    };
    tokio::select! {
        done = tasks.run(limits.grace) => Ok(done?),
        Err(incomplete) = reached, if is_own => Err(incomplete.into()),
    }
}
