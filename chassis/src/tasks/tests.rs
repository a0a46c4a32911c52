#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;

use super::{Fed, HowItEnded, Shutdown, TaskFailed, TaskSet, fed, owned};
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
async fn a_loop_is_cut_by_the_shutdown_and_may_not_return_before_it() {
    let (tasks, shutdown, _) = set();
    tasks.spawn_loop("sweeper", pending());
    shutdown.begin();
    assert_eq!(tasks.run(GRACE).await, Ok(()));

    let (tasks, ..) = set();
    tasks.spawn_loop("sweeper", async {});
    assert_eq!(tasks.run(GRACE).await, failed("sweeper", HowItEnded::Returned));
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
    assert_eq!(
        tasks.run(GRACE).await,
        failed("fetch", HowItEnded::Panicked("at the disco".into()))
    );
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

/// A sender for a task to hold, and the answer whether that task is gone.
fn alive() -> (tokio::sync::mpsc::Sender<()>, impl Future<Output = bool>) {
    let (alive, mut gone) = tokio::sync::mpsc::channel::<()>(1);
    let is_gone = async move {
        timeout(&SystemClock, Duration::from_secs(20), gone.recv()).await == Ok(None)
    };
    (alive, is_gone)
}

#[tokio::test]
async fn a_set_that_is_watched_tells_of_the_first_failure_and_ends_nothing_by_itself() {
    let (mut tasks, shutdown, _) = set();
    tasks.spawn("server", lasting(shutdown.clone()));
    tasks.spawn_job("done", async { Ok::<_, io::Error>(()) });
    tasks.spawn_job("fetch", async { Err(io::Error::other("disk on fire")) });
    assert_eq!(
        Err(tasks.failed().await),
        failed("fetch", HowItEnded::Failed("disk on fire".into()))
    );
    assert!(!shutdown.is_begun(), "what a failure means is for the owner of the set to say");
    shutdown.begin();
    assert_eq!(tasks.run(GRACE).await, Ok(()));
}

#[tokio::test]
async fn cutting_a_set_waits_until_its_tasks_have_let_go_of_everything_and_begins_no_more() {
    let (tasks, ..) = set();
    let (handle, held) = (tasks.handle(), Arc::new(()));
    let of_task = held.clone();
    tasks.spawn("part", async move {
        let _held = of_task;
        pending::<io::Result<()>>().await
    });
    tokio::task::yield_now().await;
    tasks.cut().await;
    assert_eq!(Arc::strong_count(&held), 1);
    let late = held.clone();
    handle.spawn_job("late", async move {
        let _late = late;
        pending::<io::Result<()>>().await
    });
    assert_eq!(Arc::strong_count(&held), 1, "nobody is left who would hear of it");
}

#[tokio::test]
async fn an_owned_task_ends_with_its_owner_and_says_who_panicked() {
    let (alive, gone) = alive();
    drop(owned("reader", async move {
        let _alive = alive;
        pending::<()>().await
    }));
    assert!(gone.await, "the task was cut");

    assert_eq!(owned("adder", async { 1 + 1 }).await, Ok(2));
    let panicking = owned("adder", async {
        if pending::<()>().now_or_never_is_none() {
            panic!("no numbers");
        }
    });
    assert_eq!(panicking.await, failed("adder", HowItEnded::Panicked("no numbers".into())));
}

#[derive(Debug, PartialEq)]
struct Broke(String);

impl From<TaskFailed> for Broke {
    fn from(failed: TaskFailed) -> Self {
        Self(failed.to_string())
    }
}

#[tokio::test]
async fn a_stream_ends_only_where_its_feeder_did_and_otherwise_with_why() {
    let whole: Fed<u32, Broke> = fed("counter", 1, |feed| async move {
        for n in 0..3 {
            feed.send(n).await;
        }
        Ok(())
    });
    assert_eq!(whole.collect::<Vec<_>>().await, [Ok(0), Ok(1), Ok(2)]);

    let refused: Fed<u32, Broke> = fed("counter", 1, |feed| async move {
        feed.send(0).await;
        Err(Broke("no more numbers".into()))
    });
    assert_eq!(refused.collect::<Vec<_>>().await, [Ok(0), Err(Broke("no more numbers".into()))]);

    let panicking: Fed<u32, Broke> = fed("counter", 1, |feed| async move {
        feed.send(0).await;
        if pending::<()>().now_or_never_is_none() {
            panic!("lost count");
        }
        Ok(())
    });
    let told = Err(Broke("task counter panicked: lost count".into()));
    assert_eq!(
        panicking.collect::<Vec<_>>().await,
        [Ok(0), told],
        "a part is never taken for the whole"
    );
}

#[tokio::test]
async fn a_feeder_is_cut_with_its_stream_wherever_it_waits() {
    let (alive, gone) = alive();
    let stream: Fed<u32, Broke> = fed("counter", 1, |feed| async move {
        let _alive = alive;
        loop {
            feed.send(0).await;
        }
    });
    drop(stream);
    assert!(gone.await);
}
