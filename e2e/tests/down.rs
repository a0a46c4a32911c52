//! What `down` leaves behind: nothing but the record.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use e2e::Host;
use e2e::process::eventually;

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
