//! The I/O around one application's [`Office`]: what the office proposes is written before it
//! counts, and every waiting call is woken afterwards.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use chassis::clock::{Boot, Clock as _};
use chassis::failpoint;
use chassis::telemetry::fields;
use proto::Epoch;
use tokio::sync::watch;

use super::Shared;
use crate::election::ledger::Ledger;
use crate::error::Error;
use crate::model::{Cause, Enter, Entered, EntryId, Grant, Office, Position, View};

/// How often the elector looks at the lock of a holder whose stream broke.
const PROBE_EVERY: Duration = Duration::from_millis(25);

/// One application's office, and the signal for the calls that wait at it.
pub(super) struct Desk<L> {
    shared: Arc<Shared<L>>,
    office: Mutex<Office>,
    changed: watch::Sender<()>,
}

impl<L: Ledger> Desk<L> {
    pub(super) fn new(shared: Arc<Shared<L>>, office: Office) -> Self {
        Self { shared, office: Mutex::new(office), changed: watch::Sender::new(()) }
    }

    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    pub(super) fn position(&self, id: EntryId) -> Position {
        self.office().position(id)
    }

    pub(super) fn view(&self) -> View {
        self.office().view()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.office().is_idle()
    }

    pub(super) fn enter(&self, id: EntryId, enter: Enter) {
        let (application, holder) = (enter.application.clone(), enter.holder.clone());
        let entered = self.office().enter(self.shared.clock.boot(), id, enter);
        match entered {
            Entered::Queued => tracing::debug!({ fields::APP_ID } = %application, holder, "enters"),
            Entered::Resumed => {
                tracing::info!({ fields::APP_ID } = %application, holder, "resumes")
            }
            Entered::Refused(cause) => {
                tracing::info!({ fields::APP_ID } = %application, holder, "cannot resume: {cause}");
            }
        }
        self.changed.send_replace(());
    }

    pub(super) fn renew(&self, id: EntryId) -> Result<(), Cause> {
        let renewed = self.office().renew(self.shared.clock.boot(), id);
        if renewed.is_err() {
            self.changed.send_replace(());
        }
        renewed
    }

    pub(super) fn broke(&self, id: EntryId) {
        self.office().broke(id);
        self.changed.send_replace(());
    }

    /// Waits until something changes or `wake` has come.
    pub(super) async fn wait(&self, changes: &mut watch::Receiver<()>, wake: Option<Boot>) {
        let time = async {
            match wake {
                Some(at) => self.shared.clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // Waiting cannot fail: the sender is in `self`.
            _ = changes.changed() => {}
            () = time => {}
        }
    }

    /// Lets happen what is due: leases end, locks are looked at, and the first in the queue is
    /// granted. Answers when time alone will change something again.
    pub(super) async fn settle(self: &Arc<Self>) -> Result<Option<Boot>, Error> {
        loop {
            let grant = {
                let mut office = self.office();
                let now = self.shared.clock.boot();
                if office.expire(now) {
                    self.changed.send_replace(());
                }
                let probe = office.lock_to_probe();
                if let Some((epoch, path)) = &probe
                    && self.shared.locks.is_free(path)
                    && office.lock_found_free(*epoch)
                {
                    self.changed.send_replace(());
                }
                match office.propose(now, &self.shared.boot_id, self.wall_unix_ms()) {
                    Some(grant) => grant,
                    None => {
                        let end = office.wake_at();
                        let probe_at = office.lock_to_probe().map(|_| now + PROBE_EVERY);
                        return Ok(
                            end.map(|end| probe_at.map_or(end, |probe_at| end.min(probe_at)))
                        );
                    }
                }
            };
            failpoint::hit("elector.before-grant").await;
            let desk = self.clone();
            self.on_disk(move || desk.write_grant(&grant)).await?;
            failpoint::hit("elector.after-grant").await;
        }
    }

    /// Writes a grant, then lets it count. The write runs to its end even when the call that asked
    /// for it is gone.
    fn write_grant(&self, grant: &Grant) -> Result<(), Error> {
        let written = self.shared.ledger.write(grant);
        {
            let mut office = self.office();
            match &written {
                Ok(()) => office.granted(self.shared.clock.boot()),
                Err(_) => office.not_granted(),
            }
        }
        self.changed.send_replace(());
        match &written {
            Ok(()) => tracing::info!(
                { fields::APP_ID } = %grant.application, { fields::EPOCH } = grant.epoch.get(), holder = grant.holder, "elected"
            ),
            Err(error) => {
                tracing::error!(
                    { fields::APP_ID } = %grant.application, "no contender was elected: {error}"
                )
            }
        }
        written
    }

    /// Gives an epoch up; the resignation is durable when this returns.
    pub(super) async fn resign(self: Arc<Self>, epoch: Epoch, holder: &str) -> Result<bool, Error> {
        let Some(grant) = self.office().resign(self.shared.clock.boot(), epoch, holder) else {
            return Ok(false);
        };
        let desk = self.clone();
        self.on_disk(move || {
            desk.shared.ledger.write(&grant)?;
            desk.office().resigned(epoch);
            desk.changed.send_replace(());
            tracing::info!(
                { fields::APP_ID } = %grant.application, { fields::EPOCH } = epoch.get(), holder = grant.holder, "resigned"
            );
            Ok(())
        })
        .await?;
        Ok(true)
    }

    /// Runs a write: on a thread that may wait for a disk if the ledger has one, else in place.
    async fn on_disk(
        &self,
        work: impl FnOnce() -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        if !self.shared.ledger.blocks() {
            return work();
        }
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => done,
            Err(error) => Err(Error::Internal(format!("writing a grant panicked: {error}"))),
        }
    }

    fn wall_unix_ms(&self) -> u64 {
        let since = self.shared.clock.wall().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn office(&self) -> MutexGuard<'_, Office> {
        self.office.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
