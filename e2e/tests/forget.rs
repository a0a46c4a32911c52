//! Applications that are over are forgotten, by a user, by label, by the host; and none is
//! forgotten by half.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use e2e::Host;
use e2e::process::{eventually, eventually_within};

/// How long things may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A job without an end of its own.
const ENDLESS: &str = "SELECT count(*) FROM (SELECT unnest(generate_series(1, 100000000)) AS a) t \
    CROSS JOIN (SELECT unnest(generate_series(1, 100000000)) AS b) u;";

/// Rows that come back, and a file in the default place.
const WRITES: &str = "SELECT 42 AS answer;\nCOPY (SELECT 1 AS one) TO 'kept.csv';\n";

/// The names of the list, newest first.
fn listed(host: &Host) -> Vec<String> {
    let list = host.run(&["list", "--all", "-o", "name"]).exits(0);
    list.stdout.lines().map(str::to_owned).collect()
}

fn files_below(directory: &Path) -> usize {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| if entry.path().is_dir() { files_below(&entry.path()) } else { 1 }).sum()
}

#[test]
fn what_was_forgotten_is_gone_and_its_id_goes_on_with_the_next_generation() {
    let host = Host::new();
    let program = host.file("writes.sql", WRITES);
    for _ in 0..2 {
        host.run(&["run", "--application-id", "orders", &program]).exits(0);
    }
    let outputs = |generation: u32| host.state().join(format!("outputs/orders@{generation}"));
    assert!(outputs(1).exists() && outputs(2).exists());

    host.run(&["forget", "orders@1"]).exits(0).says("1 generation forgotten");
    assert_eq!(listed(&host), ["orders@2"]);
    for verb in ["status", "logs", "result", "events", "jobs"] {
        let gone = host.run(&[verb, "orders@1"]).exits(7).says("APPLICATION_NOT_FOUND");
        gone.says("generation 1 of application orders was forgotten");
    }
    assert!(!outputs(1).exists() && outputs(2).exists());
    assert!(host.run(&["result", "orders@2"]).stdout.contains("42"));
    host.run(&["forget", "orders@1"]).exits(7).says("was forgotten");
    host.run(&["forget", "orders@7"]).exits(7).says("there is no generation 7");

    // Only forgetting all generations leaves nothing to look at.
    host.run(&["run", "--application-id", "orders", &program]).exits(0).says("orders@3");
    let asked = host.run(&["forget", "orders"]).exits(6).says("orders@2").says("orders@3");
    asked.says("this forgets 2 generations for good").says("--yes");
    assert_eq!(listed(&host), ["orders@3", "orders@2"]);
    host.run(&["forget", "orders", "--yes"]).exits(0).says("2 generations forgotten");
    assert_eq!(listed(&host), [] as [&str; 0]);
    assert_eq!(files_below(&host.state().join("outputs")), 0);
    assert_eq!(files_below(&host.state().join("jobgraph-store/payloads")), 0);
    host.run(&["run", "--application-id", "orders", &program]).exits(0).says("orders@4");
    host.down();
}

#[test]
fn what_is_not_clean_is_refused_by_name_and_rules_choose_among_what_is() {
    let host = Host::new();
    let (endless, short) = (host.file("endless.sql", ENDLESS), host.file("short.sql", "SELECT 1;"));
    host.run(&["run", "-d", "--application-id", "runs", "--label", "team=a", &endless]).exits(0);
    for _ in 0..3 {
        host.run(&["run", "--application-id", "short", "--label", "team=a", &short]).exits(0);
    }
    host.run(&["run", "--application-id", "other", "--label", "team=b", &short]).exits(0);

    let refused =
        host.run(&["forget", "runs"]).exits(6).says("error[NOT_CLEAN]: runs@1 is not clean");
    refused.says("mainspring wait runs@1").says("cancel it");
    host.run(&["forget"]).exits(2);
    host.run(&["forget", "-l", "team=none"]).exits(7).says("team=none");

    let would =
        host.run(&["forget", "-l", "team=a", "--keep", "1", "--dry-run", "-o", "name"]).exits(0);
    let mut names: Vec<_> = would.stdout.lines().collect();
    names.sort_unstable();
    assert_eq!(names, ["short@1", "short@2"]);
    host.run(&["forget", "--older-than", "30d", "--yes"])
        .exits(0)
        .says("there is nothing to forget");
    assert_eq!(listed(&host).len(), 5);

    host.run(&["forget", "-l", "team=a", "--keep", "1", "--yes"])
        .exits(0)
        .says("2 generations forgotten");
    assert_eq!(listed(&host), ["other@1", "short@3", "runs@1"]);
    // By the label alone a running application is named and stays; the others are forgotten.
    let some = host.run(&["forget", "-l", "team=a", "--yes"]).exits(6);
    some.says("runs@1 is not clean").says("1 generation forgotten");
    assert_eq!(listed(&host), ["other@1", "runs@1"]);
    host.run(&["cancel", "runs", "--wait"]).exits(3);
    host.run(&["forget", "runs"]).exits(0);
    host.down();
}

#[test]
fn a_store_that_dies_in_the_middle_of_forgetting_shows_nothing_of_it_and_goes_on() {
    for failpoint in ["store.half-forgotten", "store.in-forgetting"] {
        // A host that leaves takes its store with it, and what is left to be done waits for the
        // next host.
        let host = Host::new().with("MAINSPRING_HOST_LINGER", "5m");
        let (host, marker) = host.with_failpoint(failpoint, "kill");
        let program = host.file("writes.sql", WRITES);
        host.run(&["run", "--application-id", "orders", &program]).exits(0);
        // The verb is told what a store that died can tell: done, or unknown.
        let said = host.run(&["forget", "orders"]);
        assert!([0, 5, 8].contains(&said.code), "{failpoint}: exit {} {}", said.code, said.stderr);
        assert!(marker.exists(), "{failpoint} was not passed");
        eventually_within(PATIENCE, "the record shows nothing of it", || {
            let list = host.run(&["list", "--all", "-o", "name"]);
            list.code == 0 && list.stdout.is_empty()
        });
        host.run(&["status", "orders"]).exits(7).says("was forgotten");
        // Where the store died later, the payloads are left to the sweep, which comes in its own
        // time.
        if failpoint == "store.half-forgotten" {
            let payloads = host.state().join("jobgraph-store/payloads");
            eventually_within(PATIENCE, "its payloads are swept", || files_below(&payloads) == 0);
        }
        host.run(&["run", "--application-id", "orders", &program]).exits(0).says("orders@2");
        host.down();
    }
}

#[test]
fn a_host_forgets_what_is_over_for_long_and_removes_what_it_left() {
    let host = Host::new();
    let program = host.file("writes.sql", WRITES);
    for id in ["first", "second", "third"] {
        host.run(&["run", "--application-id", id, &program]).exits(0);
    }
    host.down();
    // Directories that an earlier host had no time to remove.
    fs::create_dir_all(host.state().join("outputs/first@1/more")).unwrap();
    fs::create_dir_all(host.state().join("outputs/nobody@1")).unwrap();
    let up = host.start(&["up", "--host-linger", "1h", "--retain-for", "0s", "--retain-last", "1"]);
    eventually("the host is up", || host.pid_of("up").is_some());
    eventually_within(PATIENCE, "only the last one is kept", || listed(&host) == ["third@1"]);
    let left = || {
        let entries = fs::read_dir(host.state().join("outputs")).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    eventually_within(PATIENCE, "their outputs are gone", || left() == ["nobody@1", "third@1"]);
    let doctor = host.run(&["doctor"]);
    assert!(doctor.stdout.contains("holds"), "{}", doctor.stdout);
    assert!(host.run(&["result", "third"]).stdout.contains("42"));
    up.signal("TERM");
    up.finish_within(PATIENCE).exits(0);
    host.down();
}
