//! What a law runs on: a world whose time the law moves, and seats in it.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use chassis::clock::{Clock as _, SystemClock, timeout};
use proto::{Place, PlaceUid};

use crate::election::laws::rig::{Rig, Verdict, so};
use crate::error::Error;
use crate::hosts::{Hosts, Seat};
use crate::model::hosts::Host;

/// The version of every host that a law does not give another one.
pub(super) const VERSION: &str = "0.1.0";

/// What makes a mutant of seats.
pub(super) type Change = Box<dyn Fn(Arc<dyn Hosts>) -> Arc<dyn Hosts>>;

/// The world, and the seats in it.
pub(super) struct Stage {
    pub(super) rig: Rig,
    change: Change,
}

impl Stage {
    /// The seats of a world as they are.
    pub(super) fn of(rig: Rig) -> Self {
        Self { rig, change: Box::new(|hosts| hosts) }
    }

    /// Seats in memory with something wrong.
    pub(super) fn mutant(change: Change) -> Self {
        Self { rig: Rig::memory(), change }
    }

    /// The seats, through an elector of their own.
    pub(super) async fn open(&self) -> Arc<dyn Hosts> {
        (self.change)(self.rig.hosts().await)
    }

    /// What a seat was told last when there is nothing more to say; `None` if nothing has changed.
    pub(super) async fn heard(&self, seat: &mut Box<dyn Seat>) -> Option<Result<Vec<Host>, Error>> {
        let mut last = None;
        loop {
            let patient = timeout(&SystemClock, Duration::from_secs(10), async {
                tokio::select! {
                    biased;
                    told = seat.next() => Some(told),
                    // No news is on the way.
                    () = self.rig.quiet() => None,
                }
            });
            match patient.await.expect("a seat is neither quiet nor told anything") {
                Some(Err(error)) => return Some(Err(error)),
                Some(told) => last = Some(told),
                None => return last,
            }
        }
    }

    /// Fails unless a seat, which renews nothing meanwhile, comes to be told what `is` wanted.
    pub(super) async fn hears(
        &self,
        seat: &mut Box<dyn Seat>,
        is: impl Fn(&[Host]) -> bool,
    ) -> Verdict {
        let until = self.rig.clock.boot() + self.rig.tolerance();
        loop {
            match self.heard(seat).await {
                Some(Ok(told)) if is(&told) => return Ok(()),
                Some(Err(error)) => return Err(format!("the seat is lost: {error}")),
                _ if self.rig.clock.boot() < until => {}
                told => return Err(format!("was told at last {told:?}")),
            }
        }
    }

    /// Why the seat of a stream is lost about now; `None` if the seat is not lost.
    pub(super) async fn last_word(&self, seat: &mut Box<dyn Seat>) -> Option<Error> {
        let until = self.rig.clock.boot() + self.rig.tolerance();
        loop {
            match self.heard(seat).await {
                Some(Err(error)) => return Some(error),
                _ if self.rig.clock.boot() < until => {}
                _ => return None,
            }
        }
    }

    /// Fails unless just these hosts come to be what a seat is told, which renews meanwhile.
    pub(super) async fn sees(&self, seat: &mut Box<dyn Seat>, wanted: &[&str]) -> Verdict {
        let until = self.rig.clock.boot() + self.rig.tolerance();
        loop {
            self.rig.settled().await;
            let told = seat.renew().await.map_err(|error| format!("a renewal failed: {error}"))?;
            if are(&told, wanted) {
                return Ok(());
            }
            so(self.rig.clock.boot() < until, format!("told of {told:?}, not of {wanted:?}"))?;
        }
    }
}

/// The host of this name that has this uid.
pub(super) fn place(name: &str, uid: u8) -> Place {
    Place::host(name, uid_of(uid)).unwrap()
}

pub(super) fn uid_of(uid: u8) -> PlaceUid {
    PlaceUid::from_bytes([uid; 8])
}

/// A host that has taken its seat.
pub(super) async fn attend(hosts: &Arc<dyn Hosts>, place: Place) -> Result<Box<dyn Seat>, String> {
    let name = place.name().to_owned();
    let taken = hosts.attend(place, VERSION.to_owned()).await;
    taken.map_err(|error| format!("{name} gets no seat: {error}"))
}

/// Whether these are the hosts, in this order.
pub(super) fn are(hosts: &[Host], wanted: &[&str]) -> bool {
    hosts.iter().map(|host| host.place.name()).eq(wanted.iter().copied())
}

/// Fails unless just these hosts are listed.
pub(super) async fn listed(hosts: &Arc<dyn Hosts>, wanted: &[&str]) -> Verdict {
    let listed = hosts.list().await.map_err(|error| error.to_string())?;
    so(are(&listed, wanted), format!("{listed:?} are listed, not {wanted:?}"))
}
