//! The seats of a deployment whose hosts ask one elector: one host, or those of a test.
//!
//! Nothing here runs in the background: leases end inside the calls of those who look. An elector
//! that is started again keeps no seat, and hosts that find their streams ended attend again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chassis::clock::{Boot, Clock as _, SharedClock};
use proto::Place;
use tokio::sync::watch;

use super::{Hosts, Seat, wall_unix_ms};
use crate::error::Error;
use crate::model::hosts::{Held, Host, Seats};

/// Seats in the memory of one elector.
pub struct MemoryHosts(Arc<Shared>);

/// What all streams have in common.
struct Shared {
    seats: Mutex<Seats>,
    changed: watch::Sender<()>,
    clock: SharedClock,
    lease: Duration,
}

impl MemoryHosts {
    /// Free seats. `lease` is how long a seat is kept after a renewal.
    pub fn new(clock: SharedClock, lease: Duration) -> Self {
        let (seats, changed) = (Mutex::new(Seats::new(lease)), watch::Sender::new(()));
        Self(Arc::new(Shared { seats, changed, clock, lease }))
    }
}

impl Shared {
    /// All hosts for the stream that has this seat, and when time alone changes that.
    fn look(&self, held: &Held) -> Result<(Vec<Host>, Option<Boot>), Error> {
        let mut seats = self.seats();
        if seats.expire(self.clock.boot()) {
            self.changed.send_replace(());
        }
        Ok((seats.seen_from(held)?, seats.wake_at()))
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Hosts for MemoryHosts {
    async fn attend(&self, place: Place, version: String) -> Result<Box<dyn Seat>, Error> {
        let shared = self.0.clone();
        let (now, wall) = (shared.clock.boot(), wall_unix_ms(&shared.clock));
        let held = shared.seats().take(now, &place, &version, wall)?;
        shared.changed.send_replace(());
        Ok(Box::new(MemorySeat { shared, held, told: None }))
    }

    async fn list(&self) -> Result<Vec<Host>, Error> {
        let mut seats = self.0.seats();
        if seats.expire(self.0.clock.boot()) {
            self.0.changed.send_replace(());
        }
        Ok(seats.hosts())
    }
}

/// One stream's seat.
struct MemorySeat {
    shared: Arc<Shared>,
    held: Held,
    told: Option<Vec<Host>>,
}

#[async_trait]
impl Seat for MemorySeat {
    fn lease(&self) -> Duration {
        self.shared.lease
    }

    async fn next(&mut self) -> Result<Vec<Host>, Error> {
        let mut changes = self.shared.changed.subscribe();
        loop {
            changes.borrow_and_update();
            let (hosts, wake) = self.shared.look(&self.held)?;
            if self.told.as_ref() != Some(&hosts) {
                self.told = Some(hosts.clone());
                return Ok(hosts);
            }
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
    }

    async fn renew(&mut self) -> Result<Vec<Host>, Error> {
        let now = self.shared.clock.boot();
        self.shared.seats().renew(now, &self.held)?;
        let (hosts, _) = self.shared.look(&self.held)?;
        self.told = Some(hosts.clone());
        Ok(hosts)
    }

    async fn leave(self: Box<Self>) -> Result<(), Error> {
        self.shared.seats().leave(&self.held);
        self.shared.changed.send_replace(());
        Ok(())
    }
}
