//! Electors with one thing wrong each: a law checks only those faults that it sees in these
//! mutants.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use chassis::clock::{Boot, Clock, ManualClock};
use proto::{ApplicationId, Epoch, EpochFence};

use super::rig::{BOOT, LEASE, Open, Rig, TestLocks};
use crate::election::ledger::Ledger;
use crate::election::lock::Locks;
use crate::election::memory::{MemoryElection, MemoryLedger};
use crate::election::single::Single;
use crate::election::{Campaign, Election, Observation};
use crate::error::Error;
use crate::model::{Cause, Elected, Enter, Grant, Position};

type Mutant = (&'static str, Rig);

/// The mutants that have to fail the law.
pub(super) fn of(law: &str) -> Vec<Mutant> {
    match law {
        "1 at most one holder at a time" => vec![
            ("its clock runs three times as fast", with_clock()),
            ("it takes renewals from whoever led once", wrapped(Quirk::TakesEveryRenewal)),
        ],
        "2 epochs only grow" => vec![("it forgets with the process", forgetful())],
        "2 an epoch is above at_least" => {
            vec![("it does not hear at_least", wrapped(Quirk::IgnoresAtLeast))]
        }
        "3 a silent holder loses" => vec![("it renews by itself", wrapped(Quirk::RenewsByItself))],
        "3 a renewing holder stays" => {
            vec![("it does not take renewals", wrapped(Quirk::IgnoresRenewals))]
        }
        "4 a holder resumes within its lease"
        | "4 a holder resumes after a restart"
        | "6 a restart is no break" => vec![("nobody resumes", wrapped(Quirk::IgnoresResume))],
        "4 nobody resumes after the lease" | "4 only the holder resumes" => {
            vec![("everybody resumes", wrapped(Quirk::BelievesEveryResume))]
        }
        "5 whoever resigned is succeeded at once" => {
            vec![("resigning does nothing", wrapped(Quirk::IgnoresResign))]
        }
        "5 resigned is resigned after a restart" => {
            vec![("it does not write that down", unresigning())]
        }
        "6 a broken stream and a free lock free early" => {
            vec![("no lock looks free", with_locks(false))]
        }
        "6 a held lock frees nothing" => vec![("every lock looks free", with_locks(true))],
        "6 a free lock alone frees nothing" => {
            vec![("it takes open streams for broken", wrapped(Quirk::Breaks))]
        }
        "7 who waits is granted in order" => {
            vec![("whoever listens first is first", wrapped(Quirk::EntersLate))]
        }
        _ => vec![],
    }
}

fn forgetful() -> Rig {
    Rig::new(Box::new(|rig| rig.over(MemoryLedger::default())))
}

fn unresigning() -> Rig {
    let ledger = MemoryLedger::default();
    let open: Open = Box::new(move |rig| {
        let (locks, clock) = (rig.locks.clone(), rig.manual().clone());
        Arc::new(Single::new(Unresigning(ledger.clone()), locks, clock, LEASE, BOOT.into()))
    });
    Rig::new(open)
}

fn with_locks(free: bool) -> Rig {
    let ledger = MemoryLedger::default();
    Rig::new(Box::new(move |rig| {
        let locks = Arc::new(SameLocks(free));
        Arc::new(MemoryElection::new(
            ledger.clone(),
            locks,
            rig.manual().clone(),
            LEASE,
            BOOT.into(),
        ))
    }))
}

fn with_clock() -> Rig {
    let ledger = MemoryLedger::default();
    Rig::new(Box::new(move |rig| {
        let clock = Arc::new(FastClock(rig.manual().clone()));
        Arc::new(MemoryElection::new(ledger.clone(), rig.locks.clone(), clock, LEASE, BOOT.into()))
    }))
}

fn wrapped(quirk: Quirk) -> Rig {
    let ledger = MemoryLedger::default();
    Rig::new(Box::new(move |rig| {
        Arc::new(Wrapped { quirk, inner: rig.over(ledger.clone()), locks: rig.locks.clone() })
    }))
}

#[derive(Clone)]
struct Unresigning(MemoryLedger);

impl Ledger for Unresigning {
    fn read(&self, application: &ApplicationId) -> Result<Option<Grant>, Error> {
        self.0.read(application)
    }

    fn write(&self, grant: &Grant) -> Result<(), Error> {
        self.0.write(&Grant { resigned: false, ..grant.clone() })
    }

    fn blocks(&self) -> bool {
        false
    }
}

struct SameLocks(bool);

impl Locks for SameLocks {
    fn is_free(&self, _: &Path) -> bool {
        self.0
    }
}

struct FastClock(Arc<ManualClock>);

#[async_trait]
impl Clock for FastClock {
    fn wall(&self) -> SystemTime {
        self.0.wall()
    }

    fn boot(&self) -> Boot {
        Boot::from_nanos(self.0.boot().as_nanos() * 3)
    }

    async fn sleep_until(&self, at: Boot) {
        self.0.sleep_until(Boot::from_nanos(at.as_nanos() / 3) + Duration::from_nanos(1)).await;
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Quirk {
    IgnoresAtLeast,
    IgnoresResume,
    BelievesEveryResume,
    RenewsByItself,
    IgnoresRenewals,
    TakesEveryRenewal,
    IgnoresResign,
    Breaks,
    EntersLate,
}

struct Wrapped {
    quirk: Quirk,
    inner: Arc<dyn Election>,
    locks: Arc<TestLocks>,
}

#[async_trait]
impl Election for Wrapped {
    async fn enter(&self, mut enter: Enter) -> Result<Box<dyn Campaign>, Error> {
        let resume = enter.resume;
        let lock = enter.lock_file.clone();
        match self.quirk {
            Quirk::IgnoresAtLeast => enter.at_least = Epoch(0),
            Quirk::IgnoresResume | Quirk::BelievesEveryResume => enter.resume = None,
            _ => {}
        }
        let late = (self.quirk == Quirk::EntersLate).then(|| enter.clone());
        let inner = if late.is_none() { Some(self.inner.enter(enter).await?) } else { None };
        let election = self.inner.clone();
        let free = lock.is_some_and(|path| self.locks.is_free(&path));
        Ok(Box::new(WrappedCampaign {
            quirk: self.quirk,
            election,
            inner,
            late,
            resume,
            free,
            believed: None,
        }))
    }

    async fn observe(&self, application: &ApplicationId) -> Result<Box<dyn Observation>, Error> {
        self.inner.observe(application).await
    }

    async fn resign(&self, fence: &EpochFence, holder: &str) -> Result<bool, Error> {
        if self.quirk == Quirk::IgnoresResign {
            Ok(true)
        } else {
            self.inner.resign(fence, holder).await
        }
    }
}

struct WrappedCampaign {
    quirk: Quirk,
    election: Arc<dyn Election>,
    inner: Option<Box<dyn Campaign>>,
    late: Option<Enter>,
    resume: Option<Epoch>,
    /// The lock was free from the beginning, before the stream broke.
    free: bool,
    believed: Option<Position>,
}

#[async_trait]
impl Campaign for WrappedCampaign {
    async fn next(&mut self) -> Result<Position, Error> {
        if self.quirk == Quirk::BelievesEveryResume
            && let Some(epoch) = self.resume.take()
        {
            return Ok(Position::Elected(Elected { epoch, previous: None, lease: LEASE }));
        }
        if let Some(enter) = self.late.take() {
            self.inner = Some(self.election.enter(enter).await?);
        }
        if self.quirk == Quirk::Breaks
            && self.free
            && matches!(self.believed, Some(Position::Elected(_)))
        {
            self.inner = None;
        }
        match &mut self.inner {
            Some(inner) => {
                if self.quirk == Quirk::RenewsByItself {
                    let _ = inner.renew().await?;
                }
                let position = inner.next().await?;
                self.believed = Some(position.clone());
                Ok(position)
            }
            None => Ok(Position::Lost(Cause::LeaseExpired)),
        }
    }

    async fn renew(&mut self) -> Result<Result<(), Cause>, Error> {
        match (self.quirk, &mut self.inner) {
            (Quirk::IgnoresRenewals | Quirk::TakesEveryRenewal, _) | (_, None) => Ok(Ok(())),
            (_, Some(inner)) => inner.renew().await,
        }
    }

    fn leave_open(self: Box<Self>) {
        if let Some(inner) = self.inner {
            inner.leave_open();
        }
    }
}
