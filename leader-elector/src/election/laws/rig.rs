//! What a law runs on: an elector that can be ended and started again, a clock that the law moves,
//! and locks that the law holds.
#![allow(clippy::unwrap_used)]

mod in_memory;

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chassis::clock::{Boot, Clock as _, ManualClock, SharedClock, SystemClock, timeout};
use chassis::transport::{OsTransport, SharedTransport};
use etcd::Etcd;
use proto::{ApplicationRef, Epoch, EpochFence, Generation};
use tempfile::TempDir;

use crate::election::embedded::{EmbeddedElection, EmbeddedLedger};
use crate::election::etcd::EtcdElection;
use crate::election::lock::Locks;
use crate::election::memory::{MemoryElection, MemoryLedger};
use crate::election::{Campaign, Election};
use crate::hosts::Hosts;
use crate::hosts::etcd::EtcdHosts;
use crate::hosts::memory::MemoryHosts;
use crate::model::{Cause, Elected, Enter, Position};
use in_memory::{InMemory, settle};

/// The outcome of a law: `Err` says how the law was broken.
pub(crate) type Verdict = Result<(), String>;

/// The lease of every rig.
pub(super) const LEASE: Duration = Duration::from_secs(2);
/// How long a campaign over etcd is listened to until it has nothing to say.
const QUIET: Duration = Duration::from_millis(100);
/// The id of the machine's present boot.
pub(super) const BOOT: &str = "this-boot";

/// Locks of holders, held and released by the test.
#[derive(Debug, Default)]
pub(super) struct TestLocks(Mutex<BTreeSet<PathBuf>>);

impl TestLocks {
    pub(super) fn hold(&self, path: &Path) {
        self.0.lock().unwrap().insert(path.to_owned());
    }

    pub(super) fn release(&self, path: &Path) {
        self.0.lock().unwrap().remove(path);
    }
}

impl Locks for TestLocks {
    fn is_free(&self, path: &Path) -> bool {
        !self.0.lock().unwrap().contains(path)
    }
}

pub(super) type Open = Box<dyn Fn(&Rig) -> Arc<dyn Election>>;

/// What the time of a rig is.
enum Time {
    /// The law moves a clock that nothing else moves.
    Manual(Arc<ManualClock>),
    /// The law moves a clock that an in-memory etcd keeps the leases by.
    InMemory(Box<InMemory>),
    /// The machine's own time, which also passes on the etcd that keeps the leases.
    Real(Arc<Server>, String),
}

/// A real etcd that keeps the leases of one law, or of several below different prefixes.
pub(crate) struct Server(Mutex<e2e::etcd::Etcd>);

impl Server {
    pub(crate) fn start() -> Arc<Self> {
        Self::start_with(&[])
    }

    /// A server with further arguments of etcd's own.
    pub(super) fn start_with(arguments: &[&str]) -> Arc<Self> {
        Arc::new(Self(Mutex::new(e2e::etcd::Etcd::start_with(arguments))))
    }

    /// Where the server serves, as `host:port`.
    pub(super) fn address(&self) -> String {
        self.0.lock().unwrap().address().to_owned()
    }
}

/// The elector under test and the world around it.
pub(crate) struct Rig {
    pub(crate) clock: SharedClock,
    pub(super) locks: Arc<TestLocks>,
    pub(crate) lease: Duration,
    /// Until when time has passed by the law's own account.
    passed: Mutex<Boot>,
    time: Time,
    open: Open,
}

impl Rig {
    pub(super) fn new(open: Open) -> Self {
        let clock = Arc::new(ManualClock::new());
        let locks = Arc::default();
        Self {
            clock: clock.clone(),
            locks,
            lease: LEASE,
            passed: Mutex::default(),
            time: Time::Manual(clock),
            open,
        }
    }

    /// A rig over a real etcd, below a prefix. A lease is long there, so that a busy machine does
    /// not outlast it where a law says that it lasts.
    pub(crate) fn etcd(server: Arc<Server>, prefix: String) -> Self {
        Self {
            clock: Arc::new(SystemClock),
            locks: Arc::default(),
            lease: LEASE * 5,
            passed: Mutex::new(SystemClock.boot()),
            time: Time::Real(server, prefix),
            open: Box::new(|_| panic!("a rig over etcd opens its elector itself")),
        }
    }

    /// A rig over an in-memory etcd.
    pub(crate) fn in_memory() -> Self {
        let clock = Arc::new(ManualClock::new());
        Self {
            clock: clock.clone(),
            locks: Arc::default(),
            lease: LEASE,
            passed: Mutex::default(),
            time: Time::InMemory(Box::new(InMemory::new(clock))),
            open: Box::new(|_| panic!("a rig over etcd opens its elector itself")),
        }
    }

    /// The in-memory etcd does these of the next writes and does not answer them.
    pub(crate) fn lose_answers(&self, writes: Range<usize>) {
        match &self.time {
            Time::InMemory(in_memory) => in_memory.lose_answers(writes),
            Time::Manual(_) | Time::Real(..) => panic!("this rig loses no answers"),
        }
    }

    /// The clock that only the law moves.
    pub(super) fn manual(&self) -> &Arc<ManualClock> {
        match &self.time {
            Time::Manual(clock) => clock,
            Time::InMemory(_) | Time::Real(..) => panic!("this rig has an etcd of its own"),
        }
    }

    /// Time passes in steps of this length, and every campaign listens between two of them.
    pub(crate) fn step(&self) -> Duration {
        self.lease / 8
    }

    /// How many random lives a law tries.
    pub(super) fn lives(&self) -> u64 {
        match self.time {
            Time::Manual(_) => 20,
            Time::InMemory(_) => 6,
            Time::Real(..) => 1,
        }
    }

    /// How many generations of an application a law tries.
    pub(super) fn generations(&self) -> u64 {
        match self.time {
            Time::Manual(_) | Time::InMemory(_) => 6,
            Time::Real(..) => 2,
        }
    }

    /// How many steps a random life has.
    pub(super) fn steps(&self) -> usize {
        match self.time {
            Time::Manual(_) | Time::InMemory(_) => 150,
            Time::Real(..) => 25,
        }
    }

    /// How often a law repeats what has to go well each time.
    pub(crate) fn rounds(&self) -> u32 {
        match self.time {
            Time::Manual(_) | Time::InMemory(_) => 40,
            Time::Real(..) => 6,
        }
    }

    pub(crate) fn memory() -> Self {
        let ledger = MemoryLedger::default();
        Self::new(Box::new(move |rig| rig.over(ledger.clone())))
    }

    pub(super) fn embedded() -> Self {
        let dir = TempDir::new().unwrap();
        Self::new(Box::new(move |rig| {
            let ledger = EmbeddedLedger::open(dir.path().join("grants.redb")).unwrap();
            let (locks, clock) = (rig.locks.clone(), rig.manual().clone());
            Arc::new(EmbeddedElection::new(ledger, locks, clock, LEASE, BOOT.into()))
        }))
    }

    /// An elector in memory over a ledger that outlives the elector.
    pub(super) fn over(&self, ledger: MemoryLedger) -> Arc<dyn Election> {
        let clock: SharedClock = self.manual().clone();
        Arc::new(MemoryElection::new(ledger, self.locks.clone(), clock, LEASE, BOOT.into()))
    }

    /// Starts an elector on what the previous one has left. The previous elector and its campaigns
    /// have to be dropped first.
    pub(super) async fn open(&self) -> Arc<dyn Election> {
        let (etcd, prefix) = match &self.time {
            Time::Manual(_) => return (self.open)(self),
            Time::InMemory(in_memory) => (in_memory.etcd().await, "/laws"),
            Time::Real(_, prefix) => (self.client().await, prefix.as_str()),
        };
        let (locks, clock) = (self.locks.clone(), self.clock.clone());
        Arc::new(EtcdElection::open(etcd, prefix, locks, clock, self.lease).await.unwrap())
    }

    /// The seats of hosts in this world, through an elector of their own.
    pub(crate) async fn hosts(&self) -> Arc<dyn Hosts> {
        let (clock, lease) = (self.clock.clone(), self.lease);
        let prefix = match &self.time {
            Time::Manual(_) => return Arc::new(MemoryHosts::new(clock, lease)),
            Time::InMemory(_) => "/laws",
            Time::Real(_, prefix) => prefix.as_str(),
        };
        Arc::new(EtcdHosts::open(self.client().await, prefix, clock, lease).await.unwrap())
    }

    /// A client of the etcd that keeps the leases.
    pub(crate) async fn client(&self) -> Etcd {
        let address = match &self.time {
            Time::Manual(_) => panic!("this rig has no etcd"),
            Time::InMemory(in_memory) => return in_memory.etcd().await,
            Time::Real(server, _) => server.address(),
        };
        let transport: SharedTransport = Arc::new(OsTransport);
        Etcd::new(&[address.parse().unwrap()], &transport, &self.clock).await.unwrap()
    }

    /// Lets time pass. Of the machine's own time some has passed while the law was listening.
    pub(crate) async fn advance(&self, by: Duration) {
        match &self.time {
            Time::Manual(clock) => return clock.advance(by),
            Time::InMemory(in_memory) => return in_memory.advance(by).await,
            Time::Real(..) => {}
        }
        let until = {
            let mut passed = self.passed.lock().unwrap();
            *passed += by;
            *passed
        };
        self.clock.sleep_until(until).await;
    }

    /// Lets a lease pass, and what etcd may take until it looks at it.
    pub(crate) async fn outlast_the_lease(&self) {
        if matches!(self.time, Time::Manual(_) | Time::InMemory(_)) {
            return self.advance(self.lease).await;
        }
        self.clock.sleep(self.lease * 5 / 4).await;
        *self.passed.lock().unwrap() = self.clock.boot();
    }

    /// What keeps the leases is away for so long; a real one only for as long as it takes to start
    /// it again.
    pub(super) async fn away(&self, time: Duration) {
        match &self.time {
            Time::Manual(clock) => clock.advance(time),
            Time::InMemory(in_memory) => in_memory.away(time).await,
            Time::Real(server, _) => server.0.lock().unwrap().restart(),
        }
    }

    /// What a campaign has come to when it has nothing more to say; `None` if nothing has changed.
    pub(super) async fn heard(&self, campaign: &mut Box<dyn Campaign>) -> Option<Position> {
        let mut last = None;
        loop {
            let patient = timeout(&SystemClock, Duration::from_secs(10), async {
                tokio::select! {
                    biased;
                    position = campaign.next() => Some(position.unwrap()),
                    // No news is on the way.
                    () = self.quiet() => None,
                }
            });
            match patient.await.expect("a campaign is neither quiet nor says anything") {
                Some(position) => {
                    let lost = matches!(position, Position::Lost(_));
                    last = Some(position);
                    if lost {
                        return last;
                    }
                }
                None => return last,
            }
        }
    }

    /// Waits until a campaign that says nothing will say nothing: it sleeps until its next instant,
    /// or all tasks do, or some time has passed.
    pub(crate) async fn quiet(&self) {
        match &self.time {
            Time::Manual(clock) => clock.wait_for_sleepers(1).await,
            Time::InMemory(_) => settle().await,
            Time::Real(..) => self.clock.sleep(QUIET).await,
        }
    }

    /// Waits until all that happens without the clock has happened.
    pub(crate) async fn settled(&self) {
        match &self.time {
            Time::Manual(_) => {}
            Time::InMemory(_) => settle().await,
            Time::Real(..) => self.clock.sleep(QUIET).await,
        }
    }

    /// Hears a campaign whose lease ends about now until it has said its last word. `told` is what
    /// it has said so far.
    pub(super) async fn last_word(
        &self,
        campaign: &mut Box<dyn Campaign>,
        mut told: Option<Position>,
    ) -> Option<Position> {
        let until = self.clock.boot() + self.tolerance();
        while !matches!(told, Some(Position::Lost(_))) && self.clock.boot() < until {
            told = self.heard(campaign).await.or(told);
        }
        told
    }

    /// How much later than at its instant something may happen: etcd looks at its leases twice a
    /// second, and on a busy machine later.
    pub(crate) fn tolerance(&self) -> Duration {
        match self.time {
            Time::Manual(_) | Time::InMemory(_) => Duration::ZERO,
            Time::Real(..) => self.lease * 2,
        }
    }

    /// The epoch that the campaign has won by now; an error if it has won none.
    pub(super) async fn won(&self, campaign: &mut Box<dyn Campaign>) -> Result<Elected, String> {
        let until = self.clock.boot() + self.tolerance();
        loop {
            match self.heard(campaign).await {
                Some(Position::Elected(elected)) => return Ok(elected),
                None | Some(Position::Standby(_)) if self.clock.boot() < until => {}
                other => return Err(format!("expected to be elected, is {other:?}")),
            }
        }
    }

    /// Fails if the campaign is elected by now.
    pub(super) async fn waits(&self, campaign: &mut Box<dyn Campaign>) -> Verdict {
        match self.heard(campaign).await {
            None | Some(Position::Standby(_)) => Ok(()),
            other => Err(format!("expected to wait, is {other:?}")),
        }
    }
}

/// The application that a law campaigns for, in the given generation.
pub(super) fn application(generation: u64) -> ApplicationRef {
    ApplicationRef { id: "orders".parse().unwrap(), generation: Generation(generation) }
}

pub(super) fn enter(holder: &str) -> Enter {
    Enter {
        application: application(1),
        holder: holder.into(),
        at_least: Epoch(0),
        resume: None,
        lock_file: None,
    }
}

pub(super) fn fence(epoch: Epoch) -> EpochFence {
    EpochFence { application: application(1), epoch }
}

/// `Err(text)` unless `it_is`.
pub(crate) fn so(it_is: bool, text: impl Into<String>) -> Verdict {
    if it_is { Ok(()) } else { Err(text.into()) }
}

/// A renewal that the elector has to take.
pub(super) async fn renewed(campaign: &mut Box<dyn Campaign>) -> Verdict {
    campaign
        .renew()
        .await
        .unwrap()
        .map_err(|cause: Cause| format!("a renewal was refused: {cause}"))
}
