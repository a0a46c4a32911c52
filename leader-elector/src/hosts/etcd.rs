//! Seats on etcd: any number of electors, each of them stateless, over one key per host.
//!
//! A seat is a key under a lease of the stream that has the seat. The lease is renewed only in
//! answer to the host's own messages. A host that attends anew puts the key under another lease,
//! which is how every elector knows whose stream has the seat.

mod keys;
mod register;
mod seat;

use std::sync::Arc;
use std::time::Duration;

use ::etcd::{Etcd, Lease};
use async_trait::async_trait;
use chassis::clock::SharedClock;
use proto::Place;

use super::{Hosts, Seat, wall_unix_ms};
use crate::error::Error;
use crate::model::hosts::Host;
use register::{Register, Seated, Take};
use seat::EtcdSeat;

/// How long a call goes from member to member. An election of etcd's own leader takes one to two
/// seconds.
const PATIENCE: Duration = Duration::from_secs(8);

/// How often a stream tries to take a seat that others take at the same moment. Each of them comes
/// before it once, and a host has one stream, and maybe a few that it has just left.
const TRIES: usize = 8;

/// All hosts that have a seat below `prefix` now, by name. The question takes no seat and renews
/// none.
pub async fn seats(etcd: &Etcd, prefix: &str) -> Result<Vec<Host>, Error> {
    register::seats(etcd, prefix).await
}

/// Seats that all electors of one etcd share.
pub struct EtcdHosts {
    etcd: Etcd,
    register: Arc<Register>,
    clock: SharedClock,
    lease: Duration,
}

impl EtcdHosts {
    /// The seats below `prefix`. `lease` is how long a seat is kept after a renewal; etcd may grant
    /// more.
    pub async fn open(
        etcd: Etcd,
        prefix: &str,
        clock: SharedClock,
        lease: Duration,
    ) -> Result<Self, Error> {
        let register = Arc::new(Register::open(etcd.clone(), prefix).await?);
        Ok(Self { etcd, register, clock, lease })
    }

    /// Takes the seat, which was seen like this, under a lease.
    async fn take(
        &self,
        place: &Place,
        version: &str,
        mut seen: Option<Seated>,
        lease: &Lease,
    ) -> Result<Seated, Error> {
        let now = wall_unix_ms(&self.clock);
        for _ in 0..TRIES {
            let before = seen.as_ref().map(|seated| &seated.held.host);
            let host = Host::seated(place, version, now, before)?;
            let revision = seen.as_ref().map(|seated| seated.revision);
            match self.register.take(&host, revision, lease).await? {
                Take::Taken(seated) => return Ok(seated),
                Take::Beaten(present) => seen = present,
                Take::TooLate => return Err(Error::SeatFree { host: place.name().to_owned() }),
            }
        }
        let why = format!("the seat of {place} is taken by one stream after the other");
        Err(Error::Etcd { why, full: false })
    }
}

#[async_trait]
impl Hosts for EtcdHosts {
    async fn attend(&self, place: Place, version: String) -> Result<Box<dyn Seat>, Error> {
        let seen = self.register.look(place.name()).await?;
        // A host that is refused costs etcd no lease.
        let now = wall_unix_ms(&self.clock);
        Host::seated(&place, &version, now, seen.as_ref().map(|seated| &seated.held.host))?;
        // A lease that gets no key, because the seat is not taken or its caller goes meanwhile,
        // runs out by itself.
        let (lease, granted) = Lease::grant(&self.etcd, self.lease, PATIENCE).await?;
        let seated = self.take(&place, &version, seen, &lease).await?;
        Ok(Box::new(EtcdSeat::of(self.register.clone(), seated, lease, granted)))
    }

    /// What etcd says now: what this elector has heard may be late, and a caller may act on a host
    /// that is missing.
    async fn list(&self) -> Result<Vec<Host>, Error> {
        self.register.list().await
    }
}
