//! The second seam: which hosts of the deployment are there.
//!
//! The backends differ only in where seats are kept: [`memory`] keeps those of a deployment with
//! one host, and [`mod@etcd`] those that the electors of several hosts share.

pub mod etcd;
pub mod memory;

use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use chassis::clock::{Clock as _, SharedClock};
use proto::Place;

use crate::error::Error;
use crate::model::hosts::Host;

/// Keeps the seats of hosts.
///
/// The service calls this trait once for each stream on which a host attends. No safety rests on
/// a seat, because what a host may write is decided by the fences of the record. The laws are
/// for those who choose hosts: a host that lives is chosen, and one that is gone is not for long.
///
/// Laws:
/// 1. A seat is kept for one lease after the last renewal, and no longer. Nothing renews a seat but
///    [`Seat::renew`].
/// 2. One host has the seat of a name. One with another uid is refused while the seat is kept, and
///    the seat is none the worse for it.
/// 3. A host that attends on another stream goes on in its seat. Its earlier stream has none from
///    then on: it is told so, renews nothing and frees nothing.
/// 4. A seat that is left is free at once.
/// 5. A stream that breaks frees nothing before its lease does.
/// 6. Every seat is told all hosts by name, at once and after each change, and a list says the
///    same. A host that has been told of its seat is in every list that is asked for afterwards.
#[async_trait]
pub trait Hosts: Send + Sync + 'static {
    /// Takes the seat of a host's name for it, or is refused because another host has the seat.
    async fn attend(&self, place: Place, version: String) -> Result<Box<dyn Seat>, Error>;

    /// All hosts that have a seat, by name.
    async fn list(&self) -> Result<Vec<Host>, Error>;
}

/// One stream's seat.
///
/// The service holds one for each open stream. To drop it is how the service says that the stream
/// broke; [`leave`](Self::leave) is the other way to part.
#[async_trait]
pub trait Seat: Send {
    /// How long the seat is kept after a renewal: what was granted, which may be more than what the
    /// elector is set to.
    fn lease(&self) -> Duration;

    /// All hosts that have a seat, by name: at once at the first call, then whenever they change.
    /// An error says why the stream has no seat any more. Cancel safe.
    async fn next(&mut self) -> Result<Vec<Host>, Error>;

    /// Keeps the seat for another lease, in answer to the host's own message, and answers all hosts
    /// that have one.
    async fn renew(&mut self) -> Result<Vec<Host>, Error>;

    /// Frees the seat, if it is still this stream's.
    async fn leave(self: Box<Self>) -> Result<(), Error>;
}

/// Milliseconds since 1970, for people only.
fn wall_unix_ms(clock: &SharedClock) -> u64 {
    let since = clock.wall().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod laws;
