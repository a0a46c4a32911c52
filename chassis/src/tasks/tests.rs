#![allow(clippy::unwrap_used)]

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::{HowItEnded, Shutdown, TaskFailed, TaskSet};
use crate::clock::{ManualClock, SystemClock, timeout};

const GRACE: Duration = Duration::from_secs(5);

fn set() -> (TaskSet, Shutdown, Arc<ManualClock>) {
    let (shutdown, clock) = (Shutdown::new(), Arc::new(ManualClock::new()));
    (TaskSet::new(shutdown.clone(), clock.clone()), shutdown, clock)
}

fn failed(task: &str, how: HowItEnded) -> Result<(), TaskFailed> {
    Err(TaskFailed { task: task.into(), how })
}

/// A part that ends when it is asked to.
async fn lasting(shutdown: Shutdown) -> io::Result<()> {
    shutdown.begun().await;
    Ok(())
}

#[tokio::test]
async fn a_part_that_returns_early_takes_the_process_down_with_its_name() {
    let (tasks, shutdown, _) = set();
    tasks.spawn("server", lasting(shutdown.clone()));
    tasks.spawn("sweeper", async { Ok::<_, io::Error>(()) });
    let verdict = tasks.run(GRACE).await;
    assert_eq!(verdict, failed("sweeper", HowItEnded::Returned));
    assert_eq!(verdict.unwrap_err().to_string(), "task sweeper returned early");
    assert!(shutdown.is_begun());
}

#[tokio::test]
async fn an_error_and_a_panic_are_told_apart_and_name_their_task() {
    let (tasks, ..) = set();
    tasks.spawn_job("fetch", async { Err(io::Error::other("disk on fire")) });
    assert_eq!(tasks.run(GRACE).await, failed("fetch", HowItEnded::Failed("disk on fire".into())));

    let (tasks, ..) = set();
    tasks.spawn_job("fetch", async {
        if pending::<()>().now_or_never_is_none() {
            panic!("at the {}", "disco");
        }
        Ok::<_, io::Error>(())
    });
    assert_eq!(tasks.run(GRACE).await, failed("fetch", HowItEnded::Panicked("at the disco".into())));
}

/// Keeps the compiler from proving that the panic is unconditional.
trait NowOrNever: Future + Sized {
    fn now_or_never_is_none(self) -> bool {
        futures::FutureExt::now_or_never(self).is_none()
    }
}

impl<F: Future> NowOrNever for F {}

#[tokio::test]
async fn work_may_end_by_itself_and_may_be_spawned_from_elsewhere() {
    let (tasks, shutdown, _) = set();
    let (handle, end) = (tasks.handle(), shutdown.clone());
    tasks.spawn_job("parent", async move {
        handle.spawn_job("child", async move {
            end.begin();
            Ok::<_, io::Error>(())
        });
        Ok::<_, io::Error>(())
    });
    assert_eq!(tasks.run(GRACE).await, Ok(()));
}

#[tokio::test]
async fn a_shutdown_waits_for_the_tasks_and_cuts_after_the_grace_period() {
    let (tasks, shutdown, clock) = set();
    tasks.spawn("polite", lasting(shutdown.clone()));
    tasks.spawn("deaf", pending::<io::Result<()>>());
    shutdown.begin();
    let running = tokio::spawn(tasks.run(GRACE));
    clock.wait_for_sleepers(1).await;
    assert!(!running.is_finished());
    clock.advance(GRACE);
    assert_eq!(running.await.unwrap(), failed("deaf", HowItEnded::Cut));
}

#[tokio::test]
async fn dropping_the_set_ends_its_tasks() {
    let (tasks, ..) = set();
    let (alive, mut gone) = tokio::sync::mpsc::channel::<()>(1);
    tasks.spawn("part", async move {
        let _alive = alive;
        pending::<io::Result<()>>().await
    });
    drop(tasks);
    let gone = timeout(&SystemClock, Duration::from_secs(20), gone.recv()).await;
    assert_eq!(gone, Ok(None), "the task was cut and has let go of the sender");
}
