//! A host with a past: applications that once ended cost it nothing, and a store that dies while it
//! tells of them is asked again.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod history {
    pub(crate) mod past;
}

use std::time::Duration;

use e2e::Host;
use e2e::process::{eventually, eventually_within, signal};

use history::past;

/// A host that hangs is found out after ten seconds; the rest is for a busy machine.
const PATIENCE: Duration = Duration::from_secs(50);

#[test]
fn a_host_with_three_hundred_ended_applications_runs_the_next_one() {
    let host = Host::new();
    let script = host.file("one.sql", "SELECT 1 AS one;\n");
    past::write(&host, 300, &script);
    let up = host.start(&["up"]);
    eventually("the host is up", || host.pid_of("up").is_some());
    host.start(&["wait", "waiting"]).finish_within(PATIENCE).exits(0);
    // The host supervises, too, and it hears a signal.
    let elector = host.pid_of("leader-elector").unwrap();
    signal(elector, "KILL");
    eventually("the elector runs again", || host.pid_of("leader-elector") != Some(elector));
    up.signal("TERM");
    up.finish_within(PATIENCE).exits(0);
}

#[test]
fn a_store_that_dies_while_it_tells_of_the_past_is_asked_again() {
    let (host, marker) = Host::new().with_failpoint("store.in-snapshot", "kill");
    let script = host.file("one.sql", "SELECT 1 AS one;\n");
    past::write(&host, 3, &script);
    let up = host.start(&["up"]);
    eventually("the store has died", || marker.exists());
    eventually_within(PATIENCE, "a host is up", || host.pid_of("up").is_some());
    host.start(&["wait", "waiting"]).finish_within(PATIENCE).exits(0);
    up.signal("TERM");
    up.finish_within(PATIENCE).exits(0);
}

#[test]
fn a_reconciler_that_hangs_ends_its_host_by_name_and_the_next_verb_starts_another() {
    let (host, marker) = Host::new().with_failpoint("up.reconciling", "hang");
    let script = host.file("one.sql", "SELECT 1 AS one;\n");
    let up = host.start(&["up"]);
    eventually("the reconciler hangs", || marker.exists());
    up.finish_within(PATIENCE).exits(70).says("reconcile has not turned for 10 s");
    host.run(&["run", &script]).exits(0);
}
