//! A backup of a host at work, restored on another one, in a file and in etcd.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "support/squares.rs"]
mod squares;

use e2e::Host;
use e2e::etcd::Etcd;
use e2e::process::eventually;
use squares::{ended_once, start};

/// A host whose application is held while its job runs, and the backup that was taken then.
fn at_work() -> (Host, String) {
    let (host, marker) = Host::new().with_failpoint("runner.job-running", "hold");
    host.run(&["run", "--application-id", "earlier", &e2e::example("flights/carriers.sql")]);
    let run = start(&host);
    eventually("the job runs", || marker.exists());
    let file = host.scratch().join("record.backup").to_str().unwrap().to_owned();
    host.run(&["backup", &file]).exits(0);
    host.run(&["backup", &file]).exits(2).says("is there already");
    drop(run);
    (host, file)
}

/// Restores the backup on this host and sees the application to its end.
fn goes_on(host: Host, file: &str) {
    host.run(&["restore", file]).exits(0);
    host.run(&["restore", file]).exits(5).says("not empty");
    let run = host.start(&["attach", "squares"]).finish();
    ended_once(&host, run);
    let listed = host.run(&["list", "--all", "-o", "json"]).exits(0).json();
    let ids: Vec<&str> = listed["applications"].as_array().unwrap().iter()
        .filter_map(|application| application["applicationId"].as_str())
        .collect();
    assert_eq!(ids.len(), 2, "{listed:#}");
    assert!(ids.contains(&"earlier"), "{listed:#}");
}

#[test]
fn a_running_application_goes_on_from_a_backup_in_a_file() {
    let (host, file) = at_work();
    host.down();
    goes_on(Host::new(), &file);
}

#[test]
fn a_running_application_goes_on_from_a_backup_in_etcd() {
    let (host, file) = at_work();
    host.down();
    let etcd = Etcd::start();
    goes_on(Host::new().with("MAINSPRING_ETCD", format!("http://{}", etcd.address())), &file);
}

#[test]
fn what_is_no_backup_or_was_damaged_is_refused_and_makes_nothing() {
    let host = Host::new();
    let no_backup = host.file("notes", "a shopping list, long enough to be a backup by its length\n");
    host.run(&["restore", &no_backup]).exits(2).says("no backup of mainspring");
    host.run(&["restore", "/nowhere"]).exits(2).says("/nowhere");
    let listed = host.run(&["list", "--all", "-o", "json"]).exits(0).json();
    assert_eq!(listed["applications"].as_array().map_or(0, Vec::len), 0, "{listed:#}");
    let file = host.scratch().join("whole").to_str().unwrap().to_owned();
    host.run(&["backup", &file]).exits(0);
    host.run(&["restore", &file]).exits(6).says("a host runs");
}
