//! A whole host is frozen, as a machine that is suspended, and thawed when another one has taken
//! its applications over.

use std::time::{Duration, Instant};

use e2e::Deployment;
use e2e::observer::Kind;
use e2e::process::eventually;

use crate::hosts::{has_each_row_once, nothing_is_left, submit_squares, wait_for_squares};
use crate::{incarnation, is_ready, run_patient};

/// How long a host is frozen at least: three leases of a leader.
const FROZEN: Duration = Duration::from_secs(6);

/// How long main() of a machine that wakes may run until its tether, which wakes with it, has seen
/// the time.
const AWAKE: Duration = Duration::from_millis(500);

/// Waits until the host has been frozen for three leases.
fn stay_frozen(since: Instant) {
    std::thread::sleep(FROZEN.saturating_sub(since.elapsed()));
}

/// Checks that no two main()s ran at one instant, but for the moment in which the host woke.
#[track_caller]
fn main_ran_alone(bed: &Deployment, thawed: Instant) {
    for overlap in bed.observer().overlaps() {
        let woke = overlap.first >= thawed && overlap.last <= thawed + AWAKE;
        assert!(woke, "two main()s ran: {overlap:#?}; the host was thawed at {thawed:?}");
    }
}

#[test]
fn a_host_that_was_frozen_while_a_job_ran_ends_what_was_superseded_and_nothing_else() {
    let (bed, marker) = Deployment::new().with_failpoint("runner.after-submit", "hold");
    let bed = bed.start(2);
    let out = submit_squares(&bed, 0);
    eventually("the leader is held", || marker.exists());
    let frozen = bed.leader(0, "squares").expect("an application that is led names its host");
    let other = 1 - frozen;
    assert!(!bed.observer().living(frozen, Kind::Cluster).is_empty(), "its cluster is there");
    bed.freeze(frozen);
    let since = Instant::now();
    std::fs::write(marker.with_added_extension("go"), "").unwrap();
    stay_frozen(since);
    let thawed = bed.thaw(frozen);
    wait_for_squares(&bed, other, "clean").exits(0);
    has_each_row_once(&bed, other, &out);
    main_ran_alone(&bed, thawed);
    nothing_is_left(&bed, &[other, frozen]);
}

/// An application whose main() waits, on two hosts. The host that led it is frozen.
struct Frozen {
    bed: Deployment,
    frozen: usize,
    other: usize,
    /// The incarnation that lives on the frozen host.
    first: u64,
    since: Instant,
}

impl Frozen {
    #[track_caller]
    fn begin(bed: Deployment) -> Self {
        let bed = bed.start(2);
        run_patient(&bed, 0, "patient");
        let frozen = bed.leader(0, "patient").expect("an application that is led names its host");
        let other = 1 - frozen;
        let first = incarnation(&bed.host(other).status("patient"));
        assert!(!bed.observer().living(frozen, Kind::Cluster).is_empty(), "its cluster is there");
        bed.freeze(frozen);
        let since = Instant::now();
        eventually("the other host leads", || bed.leader(other, "patient") == Some(other));
        Self { bed, frozen, other, first, since }
    }
}

#[test]
fn main_of_a_host_that_was_frozen_does_not_run_beside_its_successor() {
    let Frozen { bed, frozen, other, first, since } = Frozen::begin(Deployment::new());
    let host = bed.host(other);
    eventually("main() runs on the other host", || {
        bed.observer().mains().iter().any(|main| main.host == other)
    });
    eventually("a cluster is ready on the other host", || {
        let status = host.status("patient");
        is_ready(&status) && incarnation(&status) > first
    });
    bed.was_kept_apart();
    stay_frozen(since);
    let thawed = bed.thaw(frozen);
    eventually("main() and the cluster of the frozen host have ended", || {
        let observer = bed.observer();
        let left = [Kind::Attempt, Kind::Cluster].map(|kind| observer.living(frozen, kind));
        left.iter().all(|left| left.is_empty())
    });
    let status = host.status("patient");
    assert_eq!(status["leadership"]["host"], bed.name(other), "{status:#}");
    assert_eq!(status["main"]["state"], "MAIN_STATE_RUNNING", "{status:#}");
    main_ran_alone(&bed, thawed);
    let mains = bed.observer().mains();
    assert!([frozen, other].iter().all(|at| mains.iter().any(|main| main.host == *at)));
    host.run(&["cancel", "patient", "--wait"]).exits(3);
    bed.has_no_incarnation_twice();
    nothing_is_left(&bed, &[other, frozen]);
}

/// The control of the observer: with the bug that an incarnation is not bound to its place, the
/// leader on the other host has the incarnation of the frozen one started anew.
#[test]
fn an_incarnation_that_is_provisioned_on_a_second_host_is_seen() {
    let bed = Deployment::new().with_bug("places.same-incarnation");
    let Frozen { mut bed, frozen, other, first, .. } = Frozen::begin(bed);
    eventually("the incarnation is seen on both hosts", || {
        let doubled = bed.observer().doubled();
        doubled.iter().any(|(application, number, hosts)| {
            application == "patient@1" && *number == first && hosts.len() == 2
        })
    });
    // With such a bug the application may never become clean, so nothing is ended in good order.
    bed.kill(frozen);
    bed.kill(other);
}
