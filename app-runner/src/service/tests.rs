#![allow(clippy::unwrap_used, clippy::disallowed_methods)]
//! Contenders over the in-memory host: the driver, the verbs and the watchers together.

mod answers;
mod assigned;
mod deaths;
mod failover;
mod liveness;
mod places;
mod runs;
mod savepoints;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chassis::clock::{SharedClock, SystemClock, timeout};
use proto::job::{JobEnd, JobOutcome};
use proto::runner::execute_response::Item;
use proto::{Digest, api};

use super::*;
use crate::ports::memory::{Behaviour, Program, World};
use crate::service::execution::{Call, MainService};

fn clock() -> SharedClock {
    Arc::new(SystemClock)
}

/// A host with an application whose main() is `program`.
async fn world<F, Fut>(program: F) -> World
where
    F: Fn(MainService) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = i32> + Send + 'static,
{
    world_of(spec(), program).await
}

async fn world_of<F, Fut>(spec: api::ApplicationSpec, program: F) -> World
where
    F: Fn(MainService) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = i32> + Send + 'static,
{
    let program: Program = Arc::new(move |started| Box::pin(program(started.execution.unwrap())));
    World::new(clock(), spec, program).await
}

fn spec() -> api::ApplicationSpec {
    api::ApplicationSpec {
        application_id: "orders".into(),
        program: Some(api::Program {
            uri: "/programs/daily.sql".into(),
            ..api::Program::default()
        }),
        engine: "memory".into(),
        ..api::ApplicationSpec::default()
    }
}

/// Starts a contender; the handle answers its exit code.
fn contend(world: &World, holder: &str) -> tokio::task::JoinHandle<Result<u8, PortError>> {
    let identity = Identity { application: world.application(), holder: holder.to_owned() };
    tokio::spawn(
        Contender::new(identity, world.ports(), Arc::new(world.clone()), Shutdown::new()).run(),
    )
}

/// Bounds a wait, because nothing in these tests takes long: a wait that hangs is a failure with a
/// name.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(&clock(), Duration::from_secs(20), future)
        .await
        .unwrap_or_else(|_| panic!("waited too long for {what}"))
}

async fn code(contender: tokio::task::JoinHandle<Result<u8, PortError>>) -> u8 {
    soon("the contender's exit", contender).await.unwrap().unwrap()
}

/// One `execute()` as the SDK makes it, which waits for the job's end of any kind.
async fn execute(execution: &MainService, name: &str) -> Result<JobEnd, PortError> {
    execute_graph(execution, name, name.as_bytes()).await
}

async fn execute_graph(
    execution: &MainService,
    name: &str,
    graph: &[u8],
) -> Result<JobEnd, PortError> {
    let call_id = format!("{name}-{:p}", graph.as_ptr());
    let entered = execution.enter(&call_id, name)?;
    let call = Call {
        call_id,
        name: name.to_owned(),
        graph_digest: Digest::of(graph).to_string(),
        graph: Bytes::copy_from_slice(graph),
        ..Call::default()
    };
    let mut answers = execution.execute(call, entered).await?;
    while let Some(answer) = answers.recv().await {
        if let Item::Ended(end) = answer? {
            return Ok(end);
        }
    }
    Err(PortError::away("the stream ended early"))
}

fn succeeded(end: &Result<JobEnd, PortError>) -> bool {
    end.as_ref().is_ok_and(|end| end.outcome() == JobOutcome::Succeeded)
}

/// How often a line is in what was done.
fn count(world: &World, line: &str) -> usize {
    world.done().iter().filter(|done| *done == line).count()
}
