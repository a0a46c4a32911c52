//! The hosts that are there beside this one, as the elector tells of their seats.

use std::time::Duration;

use chassis::clock::Boot;
use client::hosts::Host;
use proto::PlaceUid;
use tokio::sync::watch;

use super::rendezvous::Live;

/// How long nothing may be known of the other hosts until this one acts as if it were alone. That
/// is long enough for an elector to be started again: while a host does not reach its elector it
/// can lead nothing, so that contenders which it started at once would bring nothing either.
const PATIENCE: Duration = Duration::from_secs(10);

/// Follows which hosts are there.
pub(crate) struct Company {
    me: PlaceUid,
    /// The hosts that have a seat, as they were told last. A list without this host is no list: the
    /// elector has told nothing yet.
    seats: watch::Receiver<Vec<Host>>,
    live: Live,
    unknown_since: Option<Boot>,
}

impl Company {
    /// The company of this host, whose own seat is in the list whenever the list is known.
    pub(crate) fn new(me: PlaceUid, seats: watch::Receiver<Vec<Host>>) -> Self {
        Self { me, seats, live: Live::alone(me), unknown_since: None }
    }

    /// The hosts that are there, as of the last look.
    pub(super) fn live(&self) -> &Live {
        &self.live
    }

    /// Looks which hosts are there now. True if they are others than at the last look.
    pub(super) fn look(&mut self, now: Boot) -> bool {
        let listed: Vec<_> = self.seats.borrow().iter().map(|host| host.place.uid()).collect();
        let live = if listed.contains(&self.me) {
            self.unknown_since = None;
            Live::among(self.me, listed)
        } else {
            let since = *self.unknown_since.get_or_insert(now);
            if now.saturating_duration_since(since) < PATIENCE {
                return false;
            }
            Live::alone(self.me)
        };
        let has_changed = live != self.live;
        self.live = live;
        has_changed
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::SystemTime;

    use proto::Place;

    use super::*;

    const NOW: Boot = Boot::from_nanos(1_000_000_000_000);

    fn uid(n: u8) -> PlaceUid {
        PlaceUid::from_bytes([n; 8])
    }

    fn hosts(numbers: &[u8]) -> Vec<Host> {
        let host = |n: &u8| Host {
            place: Place::host(&format!("node-{n}"), uid(*n)).unwrap(),
            version: "0.1.0".into(),
            since: SystemTime::UNIX_EPOCH,
        };
        numbers.iter().map(host).collect()
    }

    #[test]
    fn a_change_of_the_hosts_is_seen_once() {
        let (seats, told) = watch::channel(hosts(&[1, 2]));
        let mut company = Company::new(uid(1), told);
        assert_eq!(*company.live(), Live::alone(uid(1)), "nothing was looked at yet");
        assert!(company.look(NOW));
        assert_eq!(*company.live(), Live::among(uid(1), [uid(1), uid(2)]));
        assert!(!company.look(NOW));
        seats.send_replace(hosts(&[1, 2, 3]));
        assert!(company.look(NOW));
        assert_eq!(company.live().others(), 2);
        seats.send_replace(hosts(&[1]));
        assert!(company.look(NOW), "a host that went is noticed at once");
        assert_eq!(*company.live(), Live::alone(uid(1)));
    }

    #[test]
    fn an_elector_that_is_away_for_a_moment_leaves_no_host_alone() {
        let (seats, told) = watch::channel(hosts(&[1, 2]));
        let mut company = Company::new(uid(1), told);
        company.look(NOW);
        seats.send_replace(Vec::new());
        assert!(!company.look(NOW));
        assert!(!company.look(NOW + PATIENCE / 2));
        seats.send_replace(hosts(&[1, 2]));
        assert!(!company.look(NOW + PATIENCE), "the same hosts are there again");
        seats.send_replace(Vec::new());
        assert!(!company.look(NOW + PATIENCE), "the patience begins anew");
        assert!(company.look(NOW + PATIENCE * 2));
        assert_eq!(*company.live(), Live::alone(uid(1)));
    }

    #[test]
    fn a_list_without_this_host_is_no_list() {
        let (_seats, told) = watch::channel(hosts(&[2, 3]));
        let mut company = Company::new(uid(1), told);
        assert!(!company.look(NOW));
        assert!(!company.look(NOW + PATIENCE), "it is alone, as it was before");
        assert_eq!(*company.live(), Live::alone(uid(1)));
    }
}
