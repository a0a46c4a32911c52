//! main() as a task, under a tether that freezes it past its leader's lease: it acts only while the
//! lease that it was told of lasts by the clock of its host.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::record::MainExit;
use app_runner::error::PortError;
use app_runner::ports::PortResult;
use app_runner::ports::main_process::{Exited, Launch, LiveMain, MainProcess, PreviousMain};
use app_runner::service::execution::{Call, MainService};
use async_trait::async_trait;
use bytes::Bytes;
use chassis::clock::{Clock as _, SharedClock};
use chassis::tasks::{OwnedTask, owned};
use client::election::Lease;
use proto::runner::execute_response::Item;
use proto::{ApplicationId, Digest, Epoch, EpochFence};
use tokio::sync::watch;

use crate::ports::Site;
use crate::world::Deployment;

/// How often a main() shows that it acts.
const ACTS_EVERY: Duration = Duration::from_millis(50);

/// The pause before a call that was not answered is made again.
const AGAIN: Duration = Duration::from_millis(100);

/// What became of a main().
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Runs,
    Exited(i32),
    Stopped,
}

/// The main()s of one life of a contender, which ends them as a tether without grace does.
#[derive(Default)]
pub(crate) struct Mains(Mutex<BTreeMap<Epoch, Main>>);

struct Main {
    fate: watch::Sender<Fate>,
    _running: OwnedTask<()>,
}

impl Mains {
    fn all(&self) -> MutexGuard<'_, BTreeMap<Epoch, Main>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends all of them.
    pub(crate) fn end(&self) {
        self.stop_up_to(Epoch(u64::MAX));
        self.all().clear();
    }

    fn stop_up_to(&self, epoch: Epoch) {
        for (_, main) in self.all().range(..=epoch) {
            settle(&main.fate, Fate::Stopped);
        }
    }
}

/// Says how a main() ended, unless that is settled.
fn settle(fate: &watch::Sender<Fate>, how: Fate) {
    fate.send_if_modified(|now| {
        let runs = *now == Fate::Runs;
        if runs {
            *now = how;
        }
        runs
    });
}

/// A lease by the clock of its host.
#[derive(Clone)]
struct Leash {
    lease: watch::Receiver<Lease>,
    clock: SharedClock,
}

impl Leash {
    fn holds(&self) -> bool {
        matches!(&*self.lease.borrow(), Lease::Until(until) if self.clock.boot() < *until)
    }

    /// Waits while main() is frozen.
    async fn thawed(&self) {
        while !self.holds() {
            self.clock.sleep(ACTS_EVERY).await;
        }
    }
}

#[async_trait]
impl MainProcess for Site {
    async fn end_previous(
        &self,
        fence: &EpochFence,
        previous: Option<&PreviousMain>,
    ) -> PortResult<bool> {
        self.mains.stop_up_to(Epoch(fence.epoch.get().saturating_sub(1)));
        let mains = self.mains.all();
        let main = previous.and_then(|previous| mains.get(&previous.epoch));
        Ok(main.is_some_and(|main| *main.fate.borrow() == Fate::Exited(0)))
    }

    fn tether_endpoint(&self, fence: &EpochFence) -> String {
        format!("memory:tether-{}", fence.epoch)
    }

    async fn start(&self, launch: Launch) -> PortResult<Box<dyn LiveMain>> {
        let epoch = launch.attempt.fence.epoch;
        let Some(execution) = self.execution(epoch) else {
            return Err(PortError::away("the attempt has no front"));
        };
        let leash = Leash { lease: launch.lease, clock: self.at.clock.clone() };
        let fate = watch::Sender::new(Fate::Runs);
        let id = &self.application.id;
        let planned = self.of.plan.applications.iter().find(|planned| planned.id == id.as_str());
        let jobs = planned.iter().flat_map(|planned| &planned.jobs).map(|(name, _)| name.clone());
        let program = program(execution, leash.clone(), id.clone(), jobs.collect());
        let acting = act(self.of.clone(), leash, (id.clone(), epoch, self.at.name));
        let (ends, mut ended) = (fate.clone(), fate.subscribe());
        let running = owned("main()", async move {
            tokio::select! {
                biased;
                _ = ended.wait_for(|fate| *fate != Fate::Runs) => {}
                code = program => settle(&ends, Fate::Exited(code)),
                () = acting => {}
            }
        });
        self.mains.all().insert(epoch, Main { fate: fate.clone(), _running: running });
        Ok(Box::new(Live { fate }))
    }

    async fn kill(&self, fence: &EpochFence) {
        self.mains.stop_up_to(fence.epoch);
    }
}

/// Shows, for as long as it is polled, that main() acts.
async fn act(
    of: Arc<Deployment>,
    leash: Leash,
    (application, epoch, at): (ApplicationId, Epoch, &'static str),
) {
    loop {
        leash.thawed().await;
        of.trace.acts(&application, epoch, at);
        leash.clock.sleep(ACTS_EVERY).await;
    }
}

/// Executes the jobs one after the other, and answers the exit code. A call that gets no answer is
/// made again, as the SDK does, which tells no program that its runner is away.
async fn program(
    execution: MainService,
    leash: Leash,
    application: ApplicationId,
    jobs: Vec<String>,
) -> i32 {
    for name in jobs {
        loop {
            leash.thawed().await;
            match execute(&execution, &application, &name).await {
                Ok(true) => break,
                Ok(false) => return 1,
                Err(error) if error.is_away() => leash.clock.sleep(AGAIN).await,
                Err(_) => return 2,
            }
        }
    }
    leash.thawed().await;
    0
}

/// One `execute()`; `true`: the job has succeeded.
async fn execute(
    execution: &MainService,
    application: &ApplicationId,
    name: &str,
) -> PortResult<bool> {
    let entered = execution.enter(name, name)?;
    // No two jobs have one graph, so each graph is pointed to by its own record alone.
    let graph = Bytes::from(format!("{name} of {application}"));
    let call = Call {
        call_id: name.to_owned(),
        name: name.to_owned(),
        graph_digest: Digest::of(&graph).to_string(),
        graph,
        ..Call::default()
    };
    let mut answers = execution.execute(call, entered).await?;
    while let Some(answer) = answers.recv().await {
        if let Item::Ended(end) = answer? {
            return Ok(end.outcome() == proto::job::JobOutcome::Succeeded);
        }
    }
    Err(PortError::away("the answers ended early"))
}

struct Live {
    fate: watch::Sender<Fate>,
}

#[async_trait]
impl LiveMain for Live {
    fn pid(&self) -> u32 {
        1
    }

    async fn exited(&self) -> Exited {
        let mut fate = self.fate.subscribe();
        // Waiting cannot fail: the sender is in `self`.
        let ended = fate.wait_for(|fate| *fate != Fate::Runs).await.map(|fate| *fate);
        let (code, signal) = match ended {
            Ok(Fate::Exited(code)) => (Some(code), None),
            _ => (None, Some(15)),
        };
        let exit = MainExit { code, signal, signal_sender: String::new() };
        Exited { exit, seen: true, start_error: None, stderr_tail: String::new() }
    }

    async fn end(&self, _grace: Duration) -> PortResult<()> {
        settle(&self.fate, Fate::Stopped);
        Ok(())
    }

    async fn settle(&self) {}
}
