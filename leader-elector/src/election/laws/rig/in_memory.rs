//! An in-memory etcd for the laws: time passes as they say, and nothing waits for anything else.
#![allow(clippy::unwrap_used)]

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use chassis::clock::{Clock as _, ManualClock, SharedClock};
use chassis::transport::{Endpoint, SharedTransport};
use etcd::Etcd;
use sim::Network;
use tokio::sync::OnceCell;

/// How many turns of the runtime tasks get until none is expected to have more to do. One turn runs
/// every task that can run, and those that they wake.
const TURNS: usize = 64;

/// An in-memory etcd and the clock that moves it. All that happens without the clock happens within
/// a few turns of the runtime, which has one thread.
pub(super) struct InMemory {
    clock: Arc<ManualClock>,
    etcd: sim::etcd::Etcd,
    transport: SharedTransport,
    member: OnceCell<sim::etcd::Member>,
}

impl InMemory {
    pub(super) fn new(clock: Arc<ManualClock>) -> Self {
        let etcd = sim::etcd::Etcd::new(clock.clone());
        let transport: SharedTransport = Arc::new(Network::default());
        Self { clock, etcd, transport, member: OnceCell::new() }
    }

    /// The way to the etcd, which serves from the first time on.
    pub(super) async fn etcd(&self) -> Etcd {
        let endpoint = Endpoint::Unix("/etcd".into());
        let serve = async { self.etcd.serve(&self.transport, &endpoint).await.unwrap() };
        self.member.get_or_init(|| serve).await;
        let clock: SharedClock = self.clock.clone();
        Etcd::new(&[etcd::Member::at(endpoint.clone())], &self.transport, &clock).await.unwrap()
    }

    /// Lets time pass from one instant at which a task wakes to the next, as a machine's own time
    /// does.
    pub(super) async fn advance(&self, by: Duration) {
        settle().await;
        let until = self.clock.boot() + by;
        while self.clock.boot() < until {
            let now = self.clock.boot();
            let next = self.clock.next_wakeup().filter(|at| now < *at && *at < until);
            self.clock.advance(next.unwrap_or(until).saturating_duration_since(now));
            settle().await;
        }
    }

    /// These of the next writes are done and not answered.
    pub(super) fn lose_answers(&self, writes: Range<usize>) {
        self.etcd.lose_answers(writes);
    }

    /// The members have no leader for so long.
    pub(super) async fn away(&self, time: Duration) {
        self.etcd.lose_leader();
        self.advance(time).await;
        self.etcd.elect_leader();
        settle().await;
    }
}

/// Lets all tasks run until each waits for the clock.
pub(super) async fn settle() {
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
}
