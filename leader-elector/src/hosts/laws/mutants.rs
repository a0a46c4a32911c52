//! Seats with one thing wrong each: a law checks only those faults that it sees in these mutants.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use proto::Place;

use super::stage::{Stage, uid_of};
use crate::error::Error;
use crate::hosts::{Hosts, Seat};
use crate::model::hosts::Host;

/// The mutants that have to fail the law.
pub(super) fn of(law: &str) -> Vec<(&'static str, Stage)> {
    match law {
        "1 a silent host loses its seat" => {
            vec![("it renews by itself", wrapped(Quirk::RenewsByItself))]
        }
        "1 a host that renews keeps its seat" => {
            vec![("it does not take renewals", wrapped(Quirk::IgnoresRenewals))]
        }
        "2 a name has one host" => vec![("all hosts look the same", wrapped(Quirk::IgnoresUids))],
        "3 a host goes on on another stream" => vec![
            ("no host is known again", wrapped(Quirk::DrawsUids)),
            ("an earlier stream frees the seat", wrapped(Quirk::LeavesForAll)),
        ],
        "4 a seat that is left is free at once" => {
            vec![("leaving does nothing", wrapped(Quirk::Stays))]
        }
        "5 a break frees nothing before the lease does" => {
            vec![("it takes a break for leaving", wrapped(Quirk::LeavesWhenBroken))]
        }
        "6 all hosts are told by name" => {
            vec![("it tells them backwards", wrapped(Quirk::Backwards))]
        }
        "6 each change is told" => vec![
            ("it tells once", wrapped(Quirk::TellsOnce)),
            ("it tells again after a wait that was cut off", wrapped(Quirk::TellsAgain)),
        ],
        _ => vec![],
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quirk {
    RenewsByItself,
    IgnoresRenewals,
    IgnoresUids,
    DrawsUids,
    LeavesForAll,
    Stays,
    LeavesWhenBroken,
    Backwards,
    TellsOnce,
    TellsAgain,
}

fn wrapped(quirk: Quirk) -> Stage {
    Stage::mutant(Box::new(move |inner| {
        let drawn = AtomicU8::new(0);
        Arc::new(Wrapped { quirk, inner, drawn })
    }))
}

struct Wrapped {
    quirk: Quirk,
    inner: Arc<dyn Hosts>,
    drawn: AtomicU8,
}

impl Quirk {
    fn shown(self, mut hosts: Vec<Host>) -> Vec<Host> {
        if self == Self::Backwards {
            hosts.reverse();
        }
        hosts
    }
}

#[async_trait]
impl Hosts for Wrapped {
    async fn attend(&self, place: Place, version: String) -> Result<Box<dyn Seat>, Error> {
        let place = match self.quirk {
            Quirk::IgnoresUids => Place::host(place.name(), uid_of(0)).unwrap(),
            Quirk::DrawsUids => {
                let uid = uid_of(self.drawn.fetch_add(1, Ordering::Relaxed));
                Place::host(place.name(), uid).unwrap()
            }
            _ => place,
        };
        let seat = self.inner.attend(place.clone(), version.clone()).await?;
        let (quirk, hosts, seat) = (self.quirk, self.inner.clone(), Some(seat));
        let (told, waits) = (false, false);
        Ok(Box::new(WrappedSeat { quirk, hosts, place, version, seat, told, waits }))
    }

    async fn list(&self) -> Result<Vec<Host>, Error> {
        Ok(self.quirk.shown(self.inner.list().await?))
    }
}

struct WrappedSeat {
    quirk: Quirk,
    hosts: Arc<dyn Hosts>,
    place: Place,
    version: String,
    /// `None` once the seat is left.
    seat: Option<Box<dyn Seat>>,
    /// Whether the seat was told something.
    told: bool,
    /// Whether a call waits for news, or was cut off while it did.
    waits: bool,
}

#[async_trait]
impl Seat for WrappedSeat {
    fn lease(&self) -> Duration {
        self.seat.as_ref().unwrap().lease()
    }

    async fn next(&mut self) -> Result<Vec<Host>, Error> {
        let quirk = self.quirk;
        let seat = self.seat.as_mut().unwrap();
        if quirk == Quirk::RenewsByItself {
            seat.renew().await?;
        }
        let was_cut_off = std::mem::replace(&mut self.waits, true);
        if quirk == Quirk::TellsAgain && was_cut_off {
            self.waits = false;
            return seat.renew().await;
        }
        loop {
            let hosts = seat.next().await?;
            self.waits = false;
            if quirk != Quirk::TellsOnce || !self.told {
                self.told = true;
                return Ok(quirk.shown(hosts));
            }
        }
    }

    async fn renew(&mut self) -> Result<Vec<Host>, Error> {
        if self.quirk == Quirk::IgnoresRenewals {
            return self.hosts.list().await;
        }
        Ok(self.quirk.shown(self.seat.as_mut().unwrap().renew().await?))
    }

    async fn leave(mut self: Box<Self>) -> Result<(), Error> {
        let seat = self.seat.take().unwrap();
        match self.quirk {
            Quirk::Stays => Ok(()),
            Quirk::LeavesForAll => {
                seat.leave().await?;
                let again = self.hosts.attend(self.place.clone(), self.version.clone()).await?;
                again.leave().await
            }
            _ => seat.leave().await,
        }
    }
}

impl Drop for WrappedSeat {
    fn drop(&mut self) {
        if self.quirk == Quirk::LeavesWhenBroken
            && let Some(seat) = self.seat.take()
        {
            // In memory leaving waits for nothing.
            let _ = seat.leave().now_or_never();
        }
    }
}
