//! What `down` leaves behind: nothing but the record.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use e2e::Host;
use e2e::process::{eventually, is_gone, signal};

#[test]
fn down_of_a_host_that_leaves_meanwhile_is_no_error() {
    let (host, marker) = Host::new().with_failpoint("down.store-answers", "hold");
    let script = host.file("one.sql", "SELECT 1 AS one;\n");
    host.run(&["run", &script]).exits(0);
    let down = host.start(&["down"]);
    eventually("down has found the store", || marker.exists());
    eventually("the host has left by itself", || !host.state().join("host.json").exists());
    eventually("so has its store", || !host.alive().iter().any(|(_, line)| line.contains("serve")));
    std::fs::write(marker.with_added_extension("go"), "").unwrap();
    down.finish().exits(0).says("down: ");
}

/// A store that dies is started again by its host: what runs is not ended without a word.
#[test]
fn down_asks_although_the_store_has_died_meanwhile() {
    let (host, marker) = Host::new().with_failpoint("down.store-answers", "hold");
    let main = host.program("long", "sleep 600");
    host.run(&["run", "-d", "--application-id", "long", &main]).exits(0);
    eventually("main() runs", || host.status("long")["main"]["state"] == "MAIN_STATE_RUNNING");
    let down = host.start(&["down"]);
    eventually("down has found the store", || marker.exists());
    let store = host.pid_of("jobgraph-store").unwrap();
    signal(store, "KILL");
    eventually("the store is gone", || is_gone(store));
    std::fs::write(marker.with_added_extension("go"), "").unwrap();
    down.finish()
        .exits(6)
        .says("1 application not clean (long@1)")
        .says("--yes ends the host all the same");
    assert_eq!(host.status("long")["main"]["state"], "MAIN_STATE_RUNNING");
    host.run(&["cancel", "long"]).exits(0);
    host.down();
}

#[test]
fn down_right_after_a_run_finishes_the_teardown_of_its_contenders() {
    // `up` knows that the application is clean, and has not asked for the teardown yet.
    let (host, marker) = Host::new().with_failpoint("up.before-teardown", "hold");
    let script = host.file("one.sql", "SELECT 1 AS one;\n");
    host.run(&["run", "--application-id", "one", "--contenders", "2", &script]).exits(0);
    eventually("up is about to tear its contenders down", || marker.exists());
    host.down();
    let work = host.state().join("work");
    let left: Vec<_> = std::fs::read_dir(&work)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
