//! Hosts come and go: who is there, and which of them keep contenders.

use std::collections::BTreeSet;

use e2e::Deployment;
use e2e::observer::Kind;
use e2e::process::eventually;

use crate::hosts::nothing_is_left;
use crate::run_patient;

/// How many applications are submitted until one of them has a contender on the newest of three
/// hosts, at most. Two of the three are drawn for each application, so that all of these miss the
/// newest host once in 59,049 times.
const APPLICATIONS: usize = 10;

/// The numbers of those hosts that a host lists.
fn listed(bed: &Deployment, through: usize, hosts: usize) -> BTreeSet<usize> {
    let shown = bed.host(through).run(&["host", "list"]).exits(0).stdout;
    (0..hosts).filter(|&number| shown.contains(&bed.name(number))).collect()
}

/// Whether a host shows a leader that is on one of the hosts, as heard of just now.
fn shows_a_live_leader(bed: &Deployment, through: usize, hosts: usize, id: &str) -> bool {
    let status = bed.host(through).status(id);
    let leader = status["leadership"]["leader"].as_str().unwrap_or_default();
    let is_named = (0..hosts).any(|n| leader.starts_with(&format!("{}/runner-", bed.name(n))));
    is_named && status["observation"]["stale"] == false
}

/// Whether a host shows the contender of the other one of two hosts as the only standby.
fn shows_the_standby(bed: &Deployment, through: usize, id: &str) -> bool {
    let leadership = bed.host(through).status(id)["leadership"].clone();
    let other = (0..2).find(|&number| leadership["host"] != bed.name(number).as_str());
    other.is_some_and(|other| {
        leadership["standbys"] == serde_json::json!([format!("{}/runner-0", bed.name(other))])
    })
}

/// The numbers of the hosts on which contenders of an application live.
fn living(bed: &Deployment, hosts: usize, id: &str) -> BTreeSet<usize> {
    let application = format!("{id}@1");
    let lives = |number: &usize| {
        let living = bed.observer().living(*number, Kind::Contender);
        living.iter().any(|mark| mark.application == application)
    };
    (0..hosts).filter(lives).collect()
}

#[test]
fn hosts_are_listed_while_they_are_there() {
    let mut bed = Deployment::new().start(2);
    let both = BTreeSet::from([0, 1]);
    for through in [0, 1] {
        eventually("both hosts are listed", || listed(&bed, through, 2) == both);
    }
    bed.down(1);
    eventually("the other one is listed alone", || listed(&bed, 0, 2) == BTreeSet::from([0]));
    bed.up(1);
    eventually("both hosts are listed again", || listed(&bed, 0, 2) == both);
}

#[test]
fn an_application_has_contenders_on_two_hosts_and_a_host_that_joins_takes_new_ones() {
    let mut bed = Deployment::new().start(2);
    let both = BTreeSet::from([0, 1]);
    run_patient(&bed, 0, "first");
    eventually("each host has a contender", || living(&bed, 2, "first") == both);
    for through in [0, 1] {
        eventually("each host knows how the leader does", || {
            shows_a_live_leader(&bed, through, 2, "first")
        });
        eventually("each host knows who stands by", || shows_the_standby(&bed, through, "first"));
    }
    let before = bed.host(0).status("first")["leadership"].clone();

    let third = bed.join();
    eventually("all hosts are listed", || listed(&bed, 0, 3).len() == 3);
    let takes_part = (0..APPLICATIONS).any(|number| {
        let id = format!("next-{number}");
        run_patient(&bed, number % 3, &id);
        // Three have, if the third one joined between the choices of the others.
        eventually("two hosts have contenders", || living(&bed, 3, &id).len() >= 2);
        let takes_part = living(&bed, 3, &id).contains(&third);
        bed.host(0).run(&["cancel", &id, "--wait"]).exits(3);
        takes_part
    });
    assert!(takes_part, "a host that joined has no contender of {APPLICATIONS} applications");

    let after = bed.host(0).status("first")["leadership"].clone();
    for field in ["epoch", "leader", "leaderPid"] {
        assert_eq!(after[field], before[field], "a host that joins ends no leader: {field}");
    }
    assert!(living(&bed, 3, "first").is_superset(&both), "a host that joins ends no contender");
    bed.host(third).run(&["cancel", "first", "--wait"]).exits(3);
    nothing_is_left(&bed, &[0, 1, third]);
    bed.was_kept_apart();
}

/// A cancel of all that a host has would end what the other one can carry on.
#[test]
fn a_host_that_goes_with_a_cancel_ends_nothing_that_another_one_carries_on() {
    let mut bed = Deployment::new().start(2);
    run_patient(&bed, 0, "kept");
    let both = BTreeSet::from([0, 1]);
    eventually("each host has a contender", || living(&bed, 2, "kept") == both);
    let leader = bed.leader(0, "kept").expect("a host leads");
    let other = 1 - leader;
    bed.host(leader)
        .run(&["down", "--cancel"])
        .exits(0)
        .says("applications go on on 1 other host")
        .says("nothing is cancelled");
    bed.down(leader);
    eventually("the other host leads", || bed.leader(other, "kept") == Some(other));
    let status = bed.host(other).status("kept");
    assert_eq!(status["desired"]["cancel"], false, "{status:#}");
    // The last host has no other one to leave it to.
    bed.host(other).run(&["down", "--cancel"]).exits(0);
    bed.down(other);
    bed.up(other);
    assert_eq!(bed.host(other).status("kept")["outcome"], "OUTCOME_CANCELLED");
    for number in [leader, other] {
        assert_eq!(bed.host(number).owned(), [], "a process of host {number} has stayed");
    }
    bed.was_kept_apart();
}
