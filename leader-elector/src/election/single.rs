//! One elector process that holds all leases: the model, a clock, the locks, and a ledger that
//! every grant reaches before its holder learns of it.
//!
//! Nothing here runs in the background: leases end and grants are written inside the calls of those
//! contenders and observers that wait.

mod desk;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chassis::clock::{Boot, SharedClock};
use proto::{ApplicationId, EpochFence};

use super::ledger::Ledger;
use super::lock::Locks;
use super::{Campaign, Election, Observation};
use crate::error::Error;
use crate::model::{Cause, Enter, EntryId, Office, Position, View};
use desk::Desk;

/// An elector over a ledger.
pub struct Single<L> {
    desks: Arc<Desks<L>>,
}

/// What all desks of one elector have in common.
struct Shared<L> {
    ledger: L,
    locks: Arc<dyn Locks>,
    clock: SharedClock,
    lease: Duration,
    boot_id: String,
    opened: Boot,
}

/// The desks of those applications that a campaign or an observation refers to.
struct Desks<L> {
    shared: Arc<Shared<L>>,
    entries: AtomicU64,
    open: Mutex<BTreeMap<ApplicationId, Arc<Desk<L>>>>,
}

impl<L: Ledger> Single<L> {
    /// An elector that starts now. `boot_id` names the present boot of the machine: no holder of an
    /// earlier boot is alive.
    pub fn new(
        ledger: L,
        locks: Arc<dyn Locks>,
        clock: SharedClock,
        lease: Duration,
        boot_id: String,
    ) -> Self {
        let opened = clock.boot();
        let shared = Arc::new(Shared { ledger, locks, clock, lease, boot_id, opened });
        Self {
            desks: Arc::new(Desks { shared, entries: AtomicU64::new(1), open: Mutex::default() }),
        }
    }
}

impl<L: Ledger> Desks<L> {
    /// The desk of an application, read from the ledger unless it is open already.
    fn desk(&self, application: &ApplicationId) -> Result<Arc<Desk<L>>, Error> {
        let mut open = self.open();
        if let Some(desk) = open.get(application) {
            return Ok(desk.clone());
        }
        let shared = &self.shared;
        let last = shared.ledger.read(application)?;
        let office = Office::open(shared.lease, last, &shared.boot_id, shared.opened);
        let desk = Arc::new(Desk::new(shared.clone(), office));
        open.insert(application.clone(), desk.clone());
        Ok(desk)
    }

    /// Forgets a desk that no caller needs: what has to last is in the ledger.
    fn tidy(&self, application: &ApplicationId) {
        let mut open = self.open();
        // The map has one reference and the caller another; a third cannot appear, because the map
        // is locked.
        let idle = open
            .get(application)
            .is_some_and(|desk| Arc::strong_count(desk) <= 2 && desk.is_idle());
        if idle {
            open.remove(application);
        }
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<ApplicationId, Arc<Desk<L>>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl<L: Ledger> Election for Single<L> {
    async fn enter(&self, enter: Enter) -> Result<Box<dyn Campaign>, Error> {
        let application = enter.application.id.clone();
        let desk = self.desks.desk(&application)?;
        let id = EntryId(self.desks.entries.fetch_add(1, Ordering::Relaxed));
        // The campaign is made before its entry is, so that dropping the campaign takes the entry
        // back even when a later step is cut off.
        let desks = self.desks.clone();
        let campaign =
            SingleCampaign { desks, desk, application, id, told: None, left_open: false };
        campaign.desk.enter(id, enter);
        Ok(Box::new(campaign))
    }

    async fn observe(&self, application: &ApplicationId) -> Result<Box<dyn Observation>, Error> {
        let desk = self.desks.desk(application)?;
        Ok(Box::new(SingleObservation {
            desks: self.desks.clone(),
            desk,
            application: application.clone(),
            told: None,
        }))
    }

    async fn resign(&self, fence: &EpochFence, holder: &str) -> Result<bool, Error> {
        let desk = self.desks.desk(&fence.application.id)?;
        let resigned = desk.clone().resign(fence.epoch, holder).await;
        self.desks.tidy(&fence.application.id);
        resigned
    }
}

struct SingleCampaign<L: Ledger> {
    desks: Arc<Desks<L>>,
    desk: Arc<Desk<L>>,
    application: ApplicationId,
    id: EntryId,
    told: Option<Position>,
    left_open: bool,
}

#[async_trait]
impl<L: Ledger> Campaign for SingleCampaign<L> {
    async fn next(&mut self) -> Result<Position, Error> {
        let mut changes = self.desk.changes();
        loop {
            changes.borrow_and_update();
            let wake = self.desk.settle().await?;
            let position = self.desk.position(self.id);
            if self.told.as_ref() != Some(&position) {
                self.told = Some(position.clone());
                return Ok(position);
            }
            self.desk.wait(&mut changes, wake).await;
        }
    }

    async fn renew(&mut self) -> Result<Result<(), Cause>, Error> {
        Ok(self.desk.renew(self.id))
    }

    fn leave_open(mut self: Box<Self>) {
        self.left_open = true;
    }
}

impl<L: Ledger> Drop for SingleCampaign<L> {
    fn drop(&mut self) {
        if !self.left_open {
            self.desk.broke(self.id);
            self.desks.tidy(&self.application);
        }
    }
}

struct SingleObservation<L: Ledger> {
    desks: Arc<Desks<L>>,
    desk: Arc<Desk<L>>,
    application: ApplicationId,
    told: Option<View>,
}

#[async_trait]
impl<L: Ledger> Observation for SingleObservation<L> {
    async fn next(&mut self) -> Result<View, Error> {
        let mut changes = self.desk.changes();
        loop {
            changes.borrow_and_update();
            let wake = self.desk.settle().await?;
            let view = self.desk.view();
            if self.told.as_ref() != Some(&view) {
                self.told = Some(view.clone());
                return Ok(view);
            }
            self.desk.wait(&mut changes, wake).await;
        }
    }
}

impl<L: Ledger> Drop for SingleObservation<L> {
    fn drop(&mut self) {
        self.desks.tidy(&self.application);
    }
}
