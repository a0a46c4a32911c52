//! A leader whose lease is not confirmed, and one whose loop does not turn.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use chassis::clock::Clock as _;
use client::artifacts::Wanted;
use futures::FutureExt as _;
use proto::ApplicationRef;
use tokio::sync::watch;

use super::*;
use crate::ports::artifacts::{Artifacts, Fetched};
use crate::ports::workspace::Workspace;

/// Waits long enough for everything that can happen without the test's doing.
async fn a_while() {
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn past_the_deadline_nothing_is_written_and_the_same_epoch_goes_on_once_it_is_confirmed() {
    static GO: AtomicBool = AtomicBool::new(false);
    let world = world(|execution| async move {
        assert!(succeeded(&execute(&execution, "first").await));
        while !GO.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        let kept = execution.journal("key", Some(Bytes::from_static(b"1"))).await;
        i32::from(!(kept.is_ok() && succeeded(&execute(&execution, "second").await)))
    })
    .await;
    let contender = contend(&world, "runner-0");
    soon("the first job", world.until(|a| a.jobs.iter().any(|job| job.published))).await;
    a_while().await;

    world.confirm_until(clock().boot());
    a_while().await;
    let (before, done) = (world.recorded().await.revision, world.done());
    GO.store(true, Ordering::SeqCst);
    a_while().await;
    assert_eq!(
        world.recorded().await.revision,
        before,
        "main() asks, and nothing is decided or written"
    );
    assert_eq!(world.done(), done);
    assert_eq!(world.live_mains(), 1, "main() is frozen by its tether, not ended");

    world.confirm_until(clock().boot() + Duration::from_secs(3600));
    assert_eq!(code(contender).await, 0);
    assert_eq!(
        (count(&world, "main"), count(&world, "lead runner-0")),
        (1, 1),
        "{:?}",
        world.done()
    );
    assert_eq!((count(&world, "submit first"), count(&world, "submit second")), (1, 1));
}

/// A fetcher that never answers.
struct Silent;

#[async_trait]
impl Artifacts for Silent {
    async fn fetch(&self, _: &Wanted, _: &watch::Sender<String>) -> PortResult<Fetched> {
        std::future::pending().await
    }

    async fn release(&self, _: &ApplicationRef) -> PortResult<()> {
        std::future::pending().await
    }
}

/// A working directory on a disk that never answers.
struct Stuck(World);

#[async_trait]
impl Workspace for Stuck {
    async fn prepare(&self, _: &EpochFence) -> PortResult<std::path::PathBuf> {
        std::future::pending().await
    }

    async fn artifacts(&self, application: &ApplicationRef) -> PortResult<std::path::PathBuf> {
        self.0.artifacts(application).await
    }

    async fn link(&self, _: &Path, _: std::path::PathBuf) -> PortResult<()> {
        Ok(())
    }

    async fn write(
        &self,
        _: &Path,
        _: Digest,
        _: bool,
        _: futures::stream::BoxStream<'static, PortResult<Bytes>>,
    ) -> PortResult<u64> {
        Ok(0)
    }

    async fn remove(&self, _: &ApplicationRef) -> Vec<String> {
        Vec::new()
    }

    async fn unshipped(&self, _: &ApplicationRef) -> Vec<String> {
        Vec::new()
    }

    async fn forget(&self, _: &ApplicationRef) {}

    fn outputs(&self, application: &ApplicationRef) -> std::path::PathBuf {
        self.0.outputs(application)
    }

    fn checkpoints(&self, application: &ApplicationRef) -> std::path::PathBuf {
        self.0.checkpoints(application)
    }
}

#[tokio::test]
async fn a_leader_that_waits_for_a_port_keeps_its_lease() {
    let world = world(|_| async { 0 }).await;
    let silent = Ports { artifacts: Arc::new(Silent), ..world.ports() };
    let stuck = Ports { workspace: Arc::new(Stuck(world.clone())), ..world.ports() };
    for ports in [silent, stuck] {
        let identity = Identity { application: world.application(), holder: "runner-0".into() };
        let contender = Contender::new(identity, ports, Arc::new(world.clone()), Shutdown::new());
        let contender = tokio::spawn(contender.run());
        a_while().await;
        for _ in 0..3 {
            soon("a turn of a loop whose port hangs", world.turned()).await;
        }
        contender.abort();
        let _ = contender.await;
        world.lose_lease();
    }
}

#[tokio::test]
async fn a_leader_whose_loop_does_not_run_loses_its_lease_although_its_tasks_do() {
    let world =
        world(|execution| async move { i32::from(!succeeded(&execute(&execution, "long").await)) })
            .await;
    world.behave("long", Behaviour::Run);
    let identity = Identity { application: world.application(), holder: "runner-0".into() };
    let contender =
        Contender::new(identity, world.ports(), Arc::new(world.clone()), Shutdown::new());
    let mut hung = Box::pin(contender.run());
    let submitted = world.until(|a| a.jobs.iter().any(|job| job.submissions > 0));
    tokio::select! {
        code = &mut hung => panic!("it left with {code:?}"),
        _ = soon("the job", submitted) => {}
    }
    tokio::select! {
        code = &mut hung => panic!("it left with {code:?}"),
        () = soon("a turn while the loop runs", world.turned()) => {}
    }

    // From here on the test does not poll the leader's loop, while its watchers and all else run
    // on.
    let turned = world.turned();
    tokio::pin!(turned);
    for _ in 0..1000 {
        assert!((&mut turned).now_or_never().is_none(), "renewed by a loop that does not run");
        tokio::task::yield_now().await;
    }
    // Without renewals an elector gives the epoch to the next contender.
    world.lose_lease();
    let next = contend(&world, "runner-1");
    let taken_over = async {
        while count(&world, "main") < 2 {
            tokio::task::yield_now().await;
        }
    };
    soon("the take-over", taken_over).await;
    world.end_job("long", JobOutcome::Succeeded).await;
    assert_eq!(code(next).await, 0);
    drop(hung);
}

/// A front whose server breaks while main() runs.
struct Breaks(World);

#[async_trait]
impl Front for Breaks {
    async fn open(
        &self,
        fence: &EpochFence,
        execution: MainService,
        tasks: &Tasks,
    ) -> PortResult<String> {
        let world = self.0.clone();
        tasks.spawn("ExecutionService", async move {
            while world.live_mains() == 0 {
                tokio::task::yield_now().await;
            }
            Err("its socket stopped listening")
        });
        self.0.open(fence, execution, tasks).await
    }
}

#[tokio::test]
async fn a_runner_whose_server_fails_leaves_with_its_name_and_without_main_and_the_next_one_takes_over()
 {
    let world =
        world(|execution| async move { i32::from(!succeeded(&execute(&execution, "long").await)) })
            .await;
    world.behave("long", Behaviour::Run);
    let identity = Identity { application: world.application(), holder: "runner-0".into() };
    let front = Arc::new(Breaks(world.clone()));
    let contender = Contender::new(identity, world.ports(), front, Shutdown::new());
    let error = soon("the contender's end", contender.run()).await.unwrap_err();
    assert!(error.is_away(), "a restart cures it: {error:?}");
    assert_eq!(error.message, "task ExecutionService failed: its socket stopped listening");
    assert_eq!(world.live_mains(), 0, "no main() waits for a server that is gone");

    // The next contender leads at once, because the leadership was given up.
    let next = contend(&world, "runner-1");
    let taken_over = async {
        while count(&world, "main") < 2 {
            tokio::task::yield_now().await;
        }
    };
    soon("the take-over", taken_over).await;
    world.end_job("long", JobOutcome::Succeeded).await;
    assert_eq!(code(next).await, 0);
}
