//! The hosts that are there beside this one, as the elector tells of their seats.

use client::hosts::Host;
use proto::PlaceUid;
use tokio::sync::watch;

use super::rendezvous::Live;

/// Follows which hosts are there.
///
/// While the elector tells nothing, all stays as it was told last, and before the first word this
/// host has a share of nothing. A host that does not reach its elector can lead nothing, so that
/// contenders which it started would bring nothing either, and a host that took those of the whole
/// deployment would drown in them.
pub(crate) struct Company {
    me: PlaceUid,
    /// The hosts that have a seat, as they were told last. A list without this host is no list: the
    /// elector has told nothing yet.
    seats: watch::Receiver<Vec<Host>>,
    live: Live,
}

impl Company {
    /// The company of this host, whose own seat is in the list whenever the list is known.
    pub(crate) fn new(me: PlaceUid, seats: watch::Receiver<Vec<Host>>) -> Self {
        Self { me, seats, live: Live::untold() }
    }

    /// The hosts that are there, as of the last look.
    pub(super) fn live(&self) -> &Live {
        &self.live
    }

    /// Looks which hosts are there now. True if they are others than at the last look.
    pub(super) fn look(&mut self) -> bool {
        let listed: Vec<_> = self.seats.borrow().iter().map(|host| host.place.uid()).collect();
        if !listed.contains(&self.me) {
            return false;
        }
        let live = Live::among(self.me, listed);
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
        assert_eq!(*company.live(), Live::untold(), "nothing was looked at yet");
        assert!(company.look());
        assert_eq!(*company.live(), Live::among(uid(1), [uid(1), uid(2)]));
        assert!(!company.look());
        seats.send_replace(hosts(&[1, 2, 3]));
        assert!(company.look());
        assert_eq!(company.live().others(), 2);
        seats.send_replace(hosts(&[1]));
        assert!(company.look(), "a host that went is noticed at once");
        assert_eq!(*company.live(), Live::alone(uid(1)));
    }

    #[test]
    fn an_elector_that_is_away_changes_nothing_however_long() {
        let (seats, told) = watch::channel(hosts(&[1, 2]));
        let mut company = Company::new(uid(1), told);
        company.look();
        seats.send_replace(Vec::new());
        assert!(!company.look());
        assert_eq!(*company.live(), Live::among(uid(1), [uid(2)]));
        seats.send_replace(hosts(&[1, 2]));
        assert!(!company.look(), "the same hosts are there again");
    }

    #[test]
    fn a_list_without_this_host_is_no_list() {
        let (_seats, told) = watch::channel(hosts(&[2, 3]));
        let mut company = Company::new(uid(1), told);
        assert!(!company.look());
        assert_eq!(*company.live(), Live::untold());
    }
}
