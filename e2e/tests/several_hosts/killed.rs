//! The host of a leader dies, with everything on it.

use std::path::PathBuf;
use std::time::Duration;

use e2e::Deployment;
use e2e::observer::Kind;
use e2e::process::{eventually, eventually_within};

use crate::hosts::{
    has_each_row_once, intents, not_torn_down, nothing_is_left, submit_squares, wait_for_squares,
};

/// How long the seat of a dead host may last: its lease, and what etcd adds.
const SEAT: Duration = Duration::from_secs(40);

/// A deployment of two hosts. The one that led died when its leader was at a named point, and the
/// other one has brought the application to its end.
struct Bereaved {
    bed: Deployment,
    dead: usize,
    survivor: usize,
    out: PathBuf,
}

impl Bereaved {
    /// Kills the leader's host. `has_cluster` says whether a cluster lives there at that point.
    #[track_caller]
    fn at(bed: Deployment, point: &str, has_cluster: bool) -> Self {
        let (bed, marker) = bed.with_failpoint(point, "hold");
        let mut bed = bed.start(2);
        let out = submit_squares(&bed, 0);
        eventually("the leader is held", || marker.exists());
        let dead = bed.leader(0, "squares").expect("an application that is led names its host");
        let survivor = 1 - dead;
        eventually("what lives there is as expected", || {
            bed.observer().living(dead, Kind::Cluster).is_empty() != has_cluster
        });
        let name = bed.name(dead);
        let early = bed.host(survivor).run(&["host", "give-up", &name, "--yes"]);
        early.exits(6).says("HOST_LIVES");
        bed.kill(dead);
        wait_for_squares(&bed, survivor, "ended").exits(0);
        Self { bed, dead, survivor, out }
    }

    /// Waits until the application says which host it waits for, and how that wait can end.
    #[track_caller]
    fn waits_for_the_dead_host(&self) {
        let (host, name) = (self.bed.host(self.survivor), self.bed.name(self.dead));
        eventually("its status names the host that it waits for", || {
            not_torn_down(&host.status("squares"))
                .is_some_and(|why| why["message"].as_str().unwrap().contains(&name))
        });
        let status = host.status("squares");
        assert_eq!(not_torn_down(&status).unwrap()["reason"], "PLACES_NOT_RELEASED", "{status:#}");
        assert_eq!((&status["terminal"], &status["clean"]), (&true.into(), &false.into()));
        let shown = host.run(&["status", "squares"]).exits(0).stdout;
        for text in ["CLEANING", name.as_str(), "host give-up"] {
            assert!(shown.contains(text), "{text}: {shown}");
        }
    }

    /// Checks that the application has one end, and that the two leaders were never in one place.
    #[track_caller]
    fn has_one_end(&self) {
        has_each_row_once(&self.bed, self.survivor, &self.out);
        self.bed.was_kept_apart();
    }
}

/// Gives the dead host up, as soon as its seat is free.
#[track_caller]
fn gives_up(bereaved: &Bereaved) {
    let Bereaved { bed, dead, survivor, .. } = bereaved;
    let (host, name) = (bed.host(*survivor), bed.name(*dead));
    eventually_within(SEAT, "the seat of the dead host is free", || {
        let answer = host.run(&["host", "give-up", &name, "--yes"]);
        answer.code == 0 || {
            answer.exits(6).says("HOST_LIVES");
            false
        }
    });
    wait_for_squares(bed, *survivor, "clean").exits(0);
    let told = host.events("squares").into_iter().any(|event| {
        event["kind"] == "warning" && event["message"].as_str().unwrap().contains(&name)
    });
    assert!(told, "the application is told that a host was given up");
}

/// Makes one test for each place where the leader's host dies and its cluster with it.
macro_rules! a_host_dies_and_is_given_up {
    ($($test:ident at $point:literal)*) => {$(
        #[test]
        fn $test() {
            let bereaved = Bereaved::at(Deployment::new(), $point, true);
            bereaved.waits_for_the_dead_host();
            gives_up(&bereaved);
            bereaved.has_one_end();
        }
    )*};
}

a_host_dies_and_is_given_up! {
    a_host_that_dies_before_main_is_replaced_and_can_be_given_up at "runner.before-main-starting"
    a_host_that_dies_while_a_job_runs_is_replaced_and_can_be_given_up at "runner.after-submit"
}

#[test]
fn nothing_is_waited_for_on_a_host_that_dies_before_clean() {
    let bereaved = Bereaved::at(Deployment::new(), "runner.before-mark-clean", false);
    wait_for_squares(&bereaved.bed, bereaved.survivor, "clean").exits(0);
    bereaved.has_one_end();
}

#[test]
fn a_host_that_comes_back_cleans_itself_and_is_not_given_up() {
    let mut bereaved = Bereaved::at(Deployment::on_three_members(), "runner.after-submit", true);
    bereaved.waits_for_the_dead_host();
    let left = intents(&bereaved.bed);
    assert!(left.iter().any(|key| key.contains("/cluster/")), "the dead host's: {left:?}");
    bereaved.bed.up(bereaved.dead);
    wait_for_squares(&bereaved.bed, bereaved.survivor, "clean").exits(0);
    bereaved.has_one_end();
    nothing_is_left(&bereaved.bed, &[bereaved.survivor, bereaved.dead]);
    bereaved.bed.has_no_incarnation_twice();
}

#[test]
fn an_abandoned_application_does_not_wait_and_its_dead_host_cleans_itself_later() {
    let mut bereaved = Bereaved::at(Deployment::new(), "runner.after-submit", true);
    bereaved.waits_for_the_dead_host();
    let (host, name) = (bereaved.bed.host(bereaved.survivor), bereaved.bed.name(bereaved.dead));
    host.run(&["abandon", "squares", "--yes", "--wait"]).exits(0);
    let left = host.status("squares")["leftovers"].to_string();
    assert!(left.contains(&name), "{left}");
    bereaved.has_one_end();
    bereaved.bed.up(bereaved.dead);
    nothing_is_left(&bereaved.bed, &[bereaved.survivor, bereaved.dead]);
    bereaved.bed.has_no_incarnation_twice();
}
