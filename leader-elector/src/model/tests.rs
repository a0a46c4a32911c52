#![allow(clippy::unwrap_used)]

use std::time::Duration;

use chassis::clock::Boot;
use proto::{ApplicationRef, Epoch, Generation};

use super::{Cause, Enter, Entered, EntryId, Grant, Leader, Office, Position};

const LEASE: Duration = Duration::from_secs(2);
const START: Boot = Boot::from_nanos(1_000_000_000_000);

fn enter(holder: &str) -> Enter {
    let application = ApplicationRef { id: "orders".parse().unwrap(), generation: Generation(3) };
    Enter { application, holder: holder.into(), at_least: Epoch(0), resume: None, lock_file: None }
}

fn after(ms: u64) -> Boot {
    START + Duration::from_millis(ms)
}

/// An office in which `runner-0` leads since [`START`] as entry 1.
fn led() -> (Office, Grant) {
    let mut office = Office::open(LEASE, None, "boot", START);
    assert_eq!(office.enter(START, EntryId(1), enter("runner-0")), Entered::Queued);
    let grant = office.propose(START, "boot", 7).unwrap();
    office.granted(START);
    (office, grant)
}

#[test]
fn nobody_leads_before_the_grant_is_on_disk() {
    let mut office = Office::open(LEASE, None, "boot", START);
    office.enter(START, EntryId(1), enter("runner-0"));
    office.enter(START, EntryId(2), enter("runner-1"));
    let grant = office.propose(START, "boot", 7).unwrap();
    assert_eq!((grant.epoch, grant.holder.as_str()), (Epoch(1), "runner-0"));
    assert_eq!(office.position(EntryId(1)), Position::Standby(None));
    assert_eq!(office.propose(START, "boot", 7), None, "one write at a time");
    office.granted(START);
    assert!(
        matches!(office.position(EntryId(1)), Position::Elected(elected) if elected.epoch == Epoch(1))
    );
    let leader = Leader { holder: "runner-0".into(), epoch: Epoch(1), since_unix_ms: 7 };
    assert_eq!(office.position(EntryId(2)), Position::Standby(Some(leader)));
}

#[test]
fn a_grant_that_could_not_be_written_leaves_its_entry_first_in_the_queue() {
    let mut office = Office::open(LEASE, None, "boot", START);
    office.enter(START, EntryId(1), enter("runner-0"));
    office.enter(START, EntryId(2), enter("runner-1"));
    office.propose(START, "boot", 7).unwrap();
    office.not_granted();
    assert_eq!(office.view().standbys, ["runner-0", "runner-1"]);
    assert_eq!(office.propose(START, "boot", 7).unwrap().holder, "runner-0");
}

#[test]
fn an_epoch_whose_entry_left_before_it_was_written_is_never_used_again() {
    let mut office = Office::open(LEASE, None, "boot", START);
    office.enter(START, EntryId(1), enter("runner-0"));
    office.enter(START, EntryId(2), enter("runner-1"));
    office.propose(START, "boot", 7).unwrap();
    office.broke(EntryId(1));
    office.granted(START);
    let next = office.propose(START, "boot", 8).unwrap();
    assert_eq!((next.epoch, next.holder.as_str()), (Epoch(2), "runner-1"));
}

#[test]
fn a_lease_ends_at_its_last_renewal_plus_the_lease_and_not_a_moment_sooner() {
    let (mut office, _) = led();
    assert_eq!(office.renew(after(1999), EntryId(1)), Ok(()));
    assert_eq!(office.wake_at(), Some(after(3999)));
    assert!(!office.expire(after(3998)));
    assert!(office.expire(after(3999)));
    assert_eq!(office.position(EntryId(1)), Position::Lost(Cause::LeaseExpired));
    assert_eq!(office.renew(after(4000), EntryId(1)), Err(Cause::LeaseExpired));
}

#[test]
fn only_the_holders_own_stream_renews() {
    let (mut office, _) = led();
    office.enter(START, EntryId(2), enter("runner-1"));
    assert!(office.renew(after(10), EntryId(2)).is_err());
    assert_eq!(office.wake_at(), Some(after(2000)));
}

#[test]
fn a_resumed_stream_takes_over_from_one_that_is_still_open() {
    let (mut office, grant) = led();
    let resume = Enter { resume: Some(grant.epoch), ..enter("runner-0") };
    assert_eq!(office.enter(after(100), EntryId(2), resume), Entered::Resumed);
    assert_eq!(office.position(EntryId(1)), Position::Lost(Cause::Resumed));
    assert!(
        matches!(office.position(EntryId(2)), Position::Elected(elected) if elected.epoch == grant.epoch)
    );
    // The end of the earlier stream says nothing about the holder.
    office.broke(EntryId(1));
    assert_eq!(office.lock_to_probe(), None);
    assert_eq!(office.renew(after(200), EntryId(2)), Ok(()));
}

#[test]
fn a_restart_waits_only_for_an_unresigned_holder_of_this_boot() {
    let (_, grant) = led();
    for (last, waits, why) in [
        (grant.clone(), true, None),
        (Grant { boot_id: "earlier".into(), ..grant.clone() }, false, Some(Cause::ProcessGone)),
        (Grant { resigned: true, ..grant.clone() }, false, Some(Cause::Resigned)),
    ] {
        let mut office = Office::open(LEASE, Some(last), "boot", START);
        office.enter(after(1), EntryId(9), enter("runner-1"));
        let proposed = office.propose(after(1), "boot", 9);
        assert_eq!(proposed.is_none(), waits, "{why:?}");
        if let Some(proposed) = proposed {
            office.granted(after(1));
            assert_eq!(proposed.epoch, Epoch(2));
            let Position::Elected(elected) = office.position(EntryId(9)) else { panic!("elected") };
            assert_eq!(elected.previous, Some((Epoch(1), why.unwrap())));
        } else {
            assert_eq!(office.wake_at(), Some(after(2000)));
        }
    }
}

#[test]
fn a_lock_counts_only_after_a_break_that_this_elector_saw() {
    let (mut office, _) = led();
    assert!(!office.lock_found_free(Epoch(1)), "the stream is open");
    let mut office = Office::open(LEASE, None, "boot", START);
    office.enter(START, EntryId(1), Enter { lock_file: Some("/lock".into()), ..enter("runner-0") });
    office.propose(START, "boot", 7).unwrap();
    office.granted(START);
    office.broke(EntryId(1));
    assert_eq!(office.lock_to_probe(), Some((Epoch(1), "/lock".into())));
    assert!(!office.lock_found_free(Epoch(2)), "of another epoch");
    assert!(office.lock_found_free(Epoch(1)));
    assert_eq!(office.view().leader, None);
}

#[test]
fn a_resignation_counts_when_it_is_on_disk_and_only_for_its_own_epoch() {
    let (mut office, grant) = led();
    assert_eq!(office.resign(START, Epoch(1), "runner-1"), None);
    let written = office.resign(START, Epoch(1), "runner-0").unwrap();
    assert_eq!(written, Grant { resigned: true, ..grant });
    assert!(matches!(office.position(EntryId(1)), Position::Elected(_)), "not on disk yet");
    office.resigned(Epoch(1));
    assert_eq!(office.position(EntryId(1)), Position::Lost(Cause::Resigned));
    office.resigned(Epoch(1));
    assert_eq!(office.resign(START, Epoch(1), "runner-0"), None);
}

#[test]
fn an_office_that_nobody_needs_is_idle() {
    let (mut office, _) = led();
    assert!(!office.is_idle());
    office.resigned(Epoch(1));
    assert!(!office.is_idle(), "its leader has not been told");
    office.broke(EntryId(1));
    assert!(office.is_idle());
}
