//! The laws of a substrate are worth what they catch: each mutant breaks one promise, and the laws
//! have to notice.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

#[path = "support/laws.rs"]
mod laws;
#[allow(dead_code, reason = "no mutant needs a process that crashes")]
#[path = "support/memory.rs"]
mod memory;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chassis::clock::{SharedClock, SystemClock};
use client::tether::{Exit, LastWords};
use lifecycle::model::{self, Order, RoleSpec, Scope};
use lifecycle::record::LogSource;
use lifecycle::substrate::{
    Addresses, Adopted, Leftovers, Live, Output, Substrate, SubstrateError,
};

use memory::Memory;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Broken {
    Nothing,
    SweepDoesNothing,
    SweepTakesContendersToo,
    SweepOfAttemptsTakesAContender,
    SweepTakesTheIncarnationItself,
    AdoptFindsNothing,
    AdoptStartsAgain,
    StartHidesItsFailure,
    OutputStartsOver,
    EndLeavesItRunning,
    ExitIsForgotten,
    AllPortsAreOne,
    SweepTakesWordsToo,
    WordsStayForEver,
    AStartTakesEarlierWords,
}

struct Mutant {
    memory: Memory,
    broken: Broken,
}

struct MutantLive {
    live: Arc<dyn Live>,
    broken: Broken,
}

impl Mutant {
    fn wrap(&self, live: Arc<dyn Live>) -> Arc<dyn Live> {
        Arc::new(MutantLive { live, broken: self.broken })
    }
}

#[async_trait]
impl Substrate for Mutant {
    fn addresses(&self, order: &Order) -> Addresses {
        self.memory.addresses(order)
    }

    async fn choose_ports(&self, roles: &[RoleSpec]) -> Result<model::Addresses, SubstrateError> {
        let mut chosen = self.memory.choose_ports(roles).await?;
        if self.broken == Broken::AllPortsAreOne {
            chosen.values_mut().for_each(|address| *address = "memory:1".to_owned());
        }
        Ok(chosen)
    }

    async fn start(&self, order: &Order) -> Result<Arc<dyn Live>, SubstrateError> {
        if self.broken == Broken::AStartTakesEarlierWords && order.start > 2 {
            self.memory.forget_output(&Order { start: order.start - 2, ..order.clone() }).await;
        }
        match self.memory.start(order).await {
            Err(_) if self.broken == Broken::StartHidesItsFailure => {
                self.memory.start(&laws::order(3, "exit 127")).await
            }
            started => started.map(|live| self.wrap(live)),
        }
    }

    async fn adopt(&self, order: &Order) -> Adopted {
        match self.memory.adopt(order).await {
            Adopted::Live(_) if self.broken == Broken::AdoptFindsNothing => {
                Adopted::Gone(Exit::default())
            }
            Adopted::Live(_) if self.broken == Broken::AdoptStartsAgain => {
                Adopted::Live(self.memory.start(order).await.unwrap())
            }
            Adopted::Live(live) => Adopted::Live(self.wrap(live)),
            gone => gone,
        }
    }

    async fn remains(&self, order: &Order, offset: u64) -> Output {
        let offset = if self.broken == Broken::OutputStartsOver { 0 } else { offset };
        self.memory.remains(order, offset).await
    }

    async fn forget_output(&self, order: &Order) {
        if self.broken != Broken::WordsStayForEver {
            self.memory.forget_output(order).await;
        }
    }

    async fn outbox(&self) -> Vec<LogSource> {
        if self.broken == Broken::SweepTakesWordsToo {
            Vec::new()
        } else {
            self.memory.outbox().await
        }
    }

    async fn outbox_output(&self, source: &LogSource, offset: u64) -> Output {
        self.memory.outbox_output(source, offset).await
    }

    async fn empty_outbox(&self, source: &LogSource) {
        self.memory.empty_outbox(source).await;
    }

    async fn last_words(&self, order: &Order, max_bytes: usize) -> LastWords {
        self.memory.last_words(order, max_bytes).await
    }

    async fn sweep(&self, scope: &Scope) -> Leftovers {
        match (self.broken, scope) {
            (Broken::SweepDoesNothing, _) => return Leftovers::default(),
            (Broken::SweepTakesContendersToo, Scope::ClustersBelow(..)) => {
                let contender = laws::contender(10, "").slot.group;
                self.memory.sweep(&Scope::Group(contender)).await;
            }
            (Broken::SweepOfAttemptsTakesAContender, Scope::Attempts(_)) => {
                let contender = laws::contender(10, "").slot.group;
                self.memory.sweep(&Scope::Group(contender)).await;
            }
            (Broken::SweepTakesTheIncarnationItself, Scope::ClustersBelow(..)) => {
                self.memory.sweep(&Scope::Group(laws::order(12, "").slot.group)).await;
            }
            _ => {}
        }
        self.memory.sweep(scope).await
    }
}

#[async_trait]
impl Live for MutantLive {
    fn pid(&self) -> u32 {
        self.live.pid()
    }

    async fn exited(&self) -> Exit {
        let exit = self.live.exited().await;
        if self.broken == Broken::ExitIsForgotten { Exit::default() } else { exit }
    }

    async fn answers(&self) -> bool {
        self.live.answers().await
    }

    async fn end(&self, grace: Duration) -> Exit {
        if self.broken == Broken::EndLeavesItRunning {
            Exit::default()
        } else {
            self.live.end(grace).await
        }
    }

    async fn output(&self, offset: u64) -> Result<Output, SubstrateError> {
        self.live.output(offset).await
    }

    async fn release(&self) {
        self.live.release().await;
    }
}

/// A clock whose waits are short: a law that waits for something that never comes is broken as
/// well.
fn impatient() -> SharedClock {
    struct Impatient;

    #[async_trait]
    impl chassis::clock::Clock for Impatient {
        fn wall(&self) -> std::time::SystemTime {
            SystemClock.wall()
        }

        fn boot(&self) -> chassis::clock::Boot {
            SystemClock.boot()
        }

        async fn sleep_until(&self, at: chassis::clock::Boot) {
            let soon = self.boot() + Duration::from_millis(300);
            SystemClock.sleep_until(at.min(soon)).await;
        }
    }
    Arc::new(Impatient)
}

async fn laws_hold(broken: Broken) -> bool {
    let memory = Memory::new();
    let mutant = || Arc::new(Mutant { memory: memory.clone(), broken });
    let subject = laws::Subject { substrate: mutant(), another: mutant(), clock: impatient() };
    tokio::spawn(async move { laws::all(&subject).await }).await.is_ok()
}

#[tokio::test]
async fn every_broken_promise_is_noticed() {
    assert!(laws_hold(Broken::Nothing).await, "the control");
    for broken in [
        Broken::SweepDoesNothing,
        Broken::SweepTakesContendersToo,
        Broken::SweepOfAttemptsTakesAContender,
        Broken::SweepTakesTheIncarnationItself,
        Broken::AdoptFindsNothing,
        Broken::AdoptStartsAgain,
        Broken::StartHidesItsFailure,
        Broken::OutputStartsOver,
        Broken::EndLeavesItRunning,
        Broken::ExitIsForgotten,
        Broken::AllPortsAreOne,
        Broken::SweepTakesWordsToo,
        Broken::WordsStayForEver,
        Broken::AStartTakesEarlierWords,
    ] {
        assert!(!laws_hold(broken).await, "{broken:?} went unnoticed");
    }
}
