//! Arrows that come only after another death, or only in a run that takes its time.

use e2e::Host;
use e2e::process::eventually;

use crate::squares::{ended_once, run_with, start};
use crate::table::Arrow;

/// The first leader dies under a running job, and the second one dies at its adoption of the
/// cluster. The first leader has adopted the cluster before, so that is the second time.
#[track_caller]
fn a_successor_dies(point: &'static str) {
    let arrow = Arrow { point, leaders: 3, clusters: 1 };
    let host = Host::new().with("MAINSPRING_HOST_LINGER", "1m");
    let (host, first) = host.with_failpoint("runner.after-submit", "kill");
    let (host, run) = run_with(host, arrow.point, "kill");
    assert!(first.exists(), "the first leader has not died");
    let run = run.exits(0);
    arrow.holds(&host.status("squares"));
    ended_once(&host, run);
}

#[test]
fn a_successor_dies_before_it_adopts_the_cluster() {
    a_successor_dies("runner.before-adopt@2");
}

#[test]
fn a_successor_dies_after_it_has_adopted_the_cluster() {
    a_successor_dies("runner.after-adopt@2");
}

/// The leader dies at its fourth renewal, by when it has begun the attempt and holds an output that
/// is to be published.
#[track_caller]
fn a_leader_dies_while_it_leads(point: &'static str) {
    let arrow = Arrow { point, leaders: 2, clusters: 1 };
    let host = Host::new().with("MAINSPRING_HOST_LINGER", "1m");
    let (host, held) = host.with_failpoint("runner.before-publish", "hold");
    let (host, died) = host.with_failpoint(arrow.point, "kill");
    let run = start(&host);
    eventually("the leader has died", || died.exists());
    // On a busy machine the leader may die before it is held, and then its successor is.
    std::fs::write(held.with_added_extension("go"), "").unwrap();
    let run = run.finish().exits(0);
    arrow.holds(&host.status("squares"));
    ended_once(&host, run);
}

#[test]
fn a_leader_dies_before_it_renews() {
    a_leader_dies_while_it_leads("runner.before-renew@4");
}

#[test]
fn a_leader_dies_when_its_renewal_is_answered() {
    a_leader_dies_while_it_leads("runner.after-renew@4");
}
