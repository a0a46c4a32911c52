#![allow(clippy::unwrap_used)]

use proto::PlaceUid;

use super::*;

const LEASE: Duration = Duration::from_secs(10);
const START: Boot = Boot::from_nanos(1_000_000_000_000);

fn place(name: &str, uid: u8) -> Place {
    Place::host(name, PlaceUid::from_bytes([uid; 8])).unwrap()
}

fn after(seconds: u64) -> Boot {
    START + Duration::from_secs(seconds)
}

#[test]
fn a_seat_is_free_one_lease_after_the_last_renewal() {
    let mut seats = Seats::new(LEASE);
    let held = seats.take(START, &place("a", 1), "0.1.0", 7).unwrap();
    assert_eq!(seats.wake_at(), Some(after(10)));
    seats.renew(after(9), &held).unwrap();
    assert!(!seats.expire(after(18)), "it was renewed at 9");
    assert_eq!(seats.seen_from(&held).unwrap(), seats.hosts());
    assert!(seats.expire(after(19)));
    let free = Error::SeatFree { host: "a".to_owned() };
    assert_eq!(seats.renew(after(19), &held), Err(free.clone()));
    assert_eq!(seats.seen_from(&held), Err(free));
    assert!(seats.hosts().is_empty() && seats.wake_at().is_none());
}

#[test]
fn a_renewal_that_comes_too_late_keeps_nothing_although_nobody_looked_meanwhile() {
    let mut seats = Seats::new(LEASE);
    let held = seats.take(START, &place("a", 1), "0.1.0", 7).unwrap();
    assert_eq!(seats.renew(after(10), &held), Err(Error::SeatFree { host: "a".to_owned() }));
}

#[test]
fn a_name_is_taken_for_every_other_uid_for_as_long_as_the_lease_lasts() {
    let mut seats = Seats::new(LEASE);
    let held = seats.take(START, &place("a", 1), "0.1.0", 7).unwrap();
    let by =
        |uid: u8| Error::HostNameTaken { host: "a".to_owned(), by: PlaceUid::from_bytes([uid; 8]) };
    assert_eq!(seats.take(after(9), &place("a", 2), "0.1.0", 8), Err(by(1)));
    let other = seats.take(after(10), &place("a", 2), "0.1.0", 8).unwrap();
    assert_eq!(seats.renew(after(10), &held), Err(by(2)), "the name is another host's now");
    seats.leave(&held);
    assert_eq!(seats.seen_from(&other).unwrap(), [other.host]);
}

#[test]
fn the_same_host_goes_on_in_its_seat_and_its_earlier_stream_has_none() {
    let mut seats = Seats::new(LEASE);
    let first = seats.take(START, &place("a", 1), "0.1.0", 7).unwrap();
    let second = seats.take(after(3), &place("a", 1), "0.2.0", 3_007).unwrap();
    assert_eq!(seats.hosts(), std::slice::from_ref(&second.host));
    assert_eq!((second.host.version.as_str(), second.host.since_unix_ms), ("0.2.0", 7));
    let superseded = Error::HostSuperseded { host: "a".to_owned() };
    assert_eq!(seats.renew(after(4), &first), Err(superseded.clone()));
    assert_eq!(seats.seen_from(&first), Err(superseded));
    seats.leave(&first);
    assert!(seats.renew(after(12), &second).is_ok(), "its lease began anew, and it is there");
    seats.leave(&second);
    assert!(seats.hosts().is_empty());
}
