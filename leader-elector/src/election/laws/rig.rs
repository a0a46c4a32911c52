//! What a law runs on: an elector that can be ended and started again, a clock that the law moves,
//! and locks that the law holds.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chassis::clock::{ManualClock, SharedClock, SystemClock, timeout};
use proto::{ApplicationRef, Epoch, EpochFence, Generation};
use tempfile::TempDir;

use crate::election::embedded::{EmbeddedElection, EmbeddedLedger};
use crate::election::lock::Locks;
use crate::election::memory::{MemoryElection, MemoryLedger};
use crate::election::{Campaign, Election};
use crate::model::{Cause, Elected, Enter, Position};

/// The outcome of a law: `Err` says how the law was broken.
pub(super) type Verdict = Result<(), String>;

/// The lease of every rig.
pub(super) const LEASE: Duration = Duration::from_secs(2);
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

/// The elector under test and the world around it.
pub(super) struct Rig {
    pub(super) clock: Arc<ManualClock>,
    pub(super) locks: Arc<TestLocks>,
    open: Open,
}

impl Rig {
    pub(super) fn new(open: Open) -> Self {
        Self { clock: Arc::new(ManualClock::new()), locks: Arc::default(), open }
    }

    pub(super) fn memory() -> Self {
        let ledger = MemoryLedger::default();
        Self::new(Box::new(move |rig| rig.over(ledger.clone())))
    }

    pub(super) fn embedded() -> Self {
        let dir = TempDir::new().unwrap();
        Self::new(Box::new(move |rig| {
            let ledger = EmbeddedLedger::open(dir.path().join("grants.redb")).unwrap();
            let (locks, clock) = (rig.locks.clone(), rig.clock.clone());
            Arc::new(EmbeddedElection::new(ledger, locks, clock, LEASE, BOOT.into()))
        }))
    }

    /// An elector in memory over a ledger that outlives the elector.
    pub(super) fn over(&self, ledger: MemoryLedger) -> Arc<dyn Election> {
        let clock: SharedClock = self.clock.clone();
        Arc::new(MemoryElection::new(ledger, self.locks.clone(), clock, LEASE, BOOT.into()))
    }

    /// Starts an elector on what the previous one has left. The previous elector and its campaigns
    /// have to be dropped first.
    pub(super) fn open(&self) -> Arc<dyn Election> {
        (self.open)(self)
    }

    pub(super) fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// What a campaign has come to when it has nothing more to say; `None` if nothing has changed.
    pub(super) async fn heard(&self, campaign: &mut Box<dyn Campaign>) -> Option<Position> {
        let mut last = None;
        loop {
            let quiet = self.clock.wait_for_sleepers(1);
            let patient = timeout(&SystemClock, Duration::from_secs(10), async {
                tokio::select! {
                    biased;
                    position = campaign.next() => Some(position.unwrap()),
                    // The campaign sleeps until its next instant, so no news is on the way.
                    () = quiet => None,
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

    /// The epoch that the campaign has won by now; an error if it has won none.
    pub(super) async fn won(&self, campaign: &mut Box<dyn Campaign>) -> Result<Elected, String> {
        match self.heard(campaign).await {
            Some(Position::Elected(elected)) => Ok(elected),
            other => Err(format!("expected to be elected, is {other:?}")),
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
pub(super) fn so(it_is: bool, text: impl Into<String>) -> Verdict {
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
