//! A main() that is a task and lives as long as its tether would let it.

use std::time::Duration;

use ::record::MainExit;
use async_trait::async_trait;
use chassis::tasks::{Tasks, detached};
use proto::{Epoch, EpochFence};
use tokio::sync::watch;

use super::{Started, World};
use crate::ports::PortResult;
use crate::ports::main_process::{Exited, Launch, LiveMain, MainProcess, PreviousMain};
use crate::service::Front;
use crate::service::execution::MainService;

/// What became of a main().
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Runs,
    Exited(i32),
    /// A runner has ended it: its own, or that of a successor.
    Stopped,
    /// Another process has ended it.
    Killed,
    /// Its tether is gone, so no process saw how it ended.
    Unseen,
}

impl World {
    /// How many main()s run on this host.
    pub fn live_mains(&self) -> usize {
        let (host, state) = (self.host(), self.lock());
        let here = state.mains.iter().filter(|((of, _), _)| *of == host);
        here.filter(|(_, fate)| *fate.borrow() == Fate::Runs).count()
    }

    /// Kills the tether of the main() that runs, as an out-of-memory killer may.
    pub fn lose_main(&self) {
        self.end_mains(Fate::Unseen);
    }

    /// Kills the main() that runs, as an out-of-memory killer does. The tether sees the end.
    pub fn kill_main(&self) {
        self.end_mains(Fate::Killed);
    }

    /// Has the main() that runs exit by itself.
    pub fn exit_main(&self, code: i32) {
        self.end_mains(Fate::Exited(code));
    }

    fn end_mains(&self, fate: Fate) {
        let host = self.host();
        for ((of, _), known) in &self.lock().mains {
            if *of == host {
                known.send_if_modified(|now| {
                    *now == Fate::Runs && std::mem::replace(now, fate) == Fate::Runs
                });
            }
        }
    }

    fn kill_up_to(&self, epoch: Epoch) {
        let host = self.host();
        for ((of, begun), fate) in &self.lock().mains {
            if *of == host && *begun <= epoch {
                fate.send_if_modified(|now| {
                    *now == Fate::Runs && std::mem::replace(now, Fate::Stopped) == Fate::Runs
                });
            }
        }
    }
}

#[async_trait]
impl Front for World {
    async fn open(
        &self,
        fence: &EpochFence,
        execution: MainService,
        _tasks: &Tasks,
    ) -> PortResult<String> {
        self.lock().executions.insert(fence.epoch, execution);
        Ok(format!("memory:{}", fence.epoch))
    }
}

#[async_trait]
impl MainProcess for World {
    async fn end_previous(
        &self,
        fence: &EpochFence,
        previous: Option<&PreviousMain>,
    ) -> PortResult<bool> {
        self.kill_up_to(Epoch(fence.epoch.get() - 1));
        let (host, state) = (self.host(), self.lock());
        let fate = previous.and_then(|previous| state.mains.get(&(host, previous.epoch)));
        Ok(fate.is_some_and(|fate| *fate.borrow() == Fate::Exited(0)))
    }

    fn tether_endpoint(&self, fence: &EpochFence) -> String {
        format!("memory:tether-{}", fence.epoch)
    }

    async fn start(&self, launch: Launch) -> PortResult<Box<dyn LiveMain>> {
        let epoch = launch.attempt.fence.epoch;
        assert_eq!(self.live_mains(), 0, "two main()s overlap");
        let (started, fate) = {
            let mut state = self.lock();
            let execution = state.executions.get(&epoch).cloned();
            let fate = watch::Sender::new(Fate::Runs);
            state.mains.insert((self.host(), epoch), fate.clone());
            state.note("main");
            (Started { execution, environment: launch.environment }, fate)
        };
        let (main, mut killed, ended) = ((self.program)(started), fate.subscribe(), fate.clone());
        detached(
            "main() in memory",
            "it stands for a process, which lives beside its runner",
            async move {
                tokio::select! {
                    code = main => {
                        ended.send_if_modified(|now| *now == Fate::Runs && std::mem::replace(now, Fate::Exited(code)) == Fate::Runs);
                    }
                    _ = killed.wait_for(|fate| *fate != Fate::Runs) => {}
                }
            },
        );
        Ok(Box::new(MemoryMain { fate }))
    }

    async fn kill(&self, fence: &EpochFence) {
        self.kill_up_to(fence.epoch);
    }
}

struct MemoryMain {
    fate: watch::Sender<Fate>,
}

#[async_trait]
impl LiveMain for MemoryMain {
    fn pid(&self) -> u32 {
        1
    }

    async fn exited(&self) -> Exited {
        let mut fate = self.fate.subscribe();
        let fate =
            fate.wait_for(|fate| *fate != Fate::Runs).await.map_or(Fate::Unseen, |fate| *fate);
        let (code, signal) = match fate {
            Fate::Exited(code) => (Some(code), None),
            Fate::Stopped => (None, Some(15)),
            Fate::Killed => (None, Some(9)),
            Fate::Runs | Fate::Unseen => (None, None),
        };
        let seen = fate != Fate::Unseen;
        let exit = MainExit { code, signal, signal_sender: String::new() };
        Exited { exit, seen, start_error: None, stderr_tail: String::new() }
    }

    async fn end(&self, _grace: Duration) -> PortResult<()> {
        self.fate.send_if_modified(|now| {
            *now == Fate::Runs && std::mem::replace(now, Fate::Stopped) == Fate::Runs
        });
        Ok(())
    }

    async fn settle(&self) {}
}
