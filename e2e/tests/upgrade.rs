//! A host, or one of several, is replaced by one of this build while its applications run: what the
//! earlier build wrote is read, nothing is repeated, and for a while both builds work on one
//! record. `make e2e-upgrade` makes the earlier build and names its directory.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "support/squares.rs"]
#[allow(dead_code, reason = "other tests need what is for a host that is killed")]
mod squares;

use std::path::{Path, PathBuf};

use e2e::host::binaries;
use e2e::process::eventually;
use e2e::{Deployment, Host};

/// How long a command waits for an application, at most.
const WAIT: &str = "60s";

/// Where the executables of the earlier build are.
fn earlier() -> PathBuf {
    let named = std::env::var_os("EARLIER_BUILD");
    PathBuf::from(named.expect("EARLIER_BUILD names it: make e2e-upgrade"))
}

/// A main() that ends when this file exists.
fn until(file: &str) -> String {
    format!("until [ -e '{file}' ]; do sleep 0.1; done")
}

fn run_in_background(host: &Host, id: &str, program: &str) {
    host.run(&["run", "-d", "--application-id", id, program]).exits(0);
    host.run(&["wait", id, "--for", "running", "--timeout", WAIT]).exits(0);
}

fn submit_squares(host: &Host, script: &str, out: &Path) {
    let to = out.to_str().unwrap();
    host.run(&["run", "-d", "--application-id", "squares", "--output", to, script]).exits(0);
}

fn ends_well(host: &Host, id: &str) {
    host.run(&["wait", id, "--for", "clean", "--timeout", WAIT]).exits(0);
    assert_eq!(host.status(id)["outcome"], "OUTCOME_SUCCEEDED");
}

#[test]
#[ignore = "needs an earlier build: make e2e-upgrade"]
fn a_host_is_replaced_under_its_applications() {
    let mut host = Host::new();
    host.set_build(&earlier());
    let (mut host, marker) = host.with_failpoint("runner.after-submit", "hold");
    let go = host.scratch().join("go");
    let patient = host.program("patient", &until(go.to_str().unwrap()));
    run_in_background(&host, "patient", &patient);
    let out = host.scratch().join("out");
    let script = host.file("squares.sql", squares::SCRIPT);
    submit_squares(&host, &script, &out);
    eventually("the leader is held", || marker.exists());

    // A busy host of the earlier build serves the verbs of this one.
    host.set_build(&binaries());
    assert_eq!(host.status("patient")["main"]["state"], "MAIN_STATE_RUNNING");
    host.run(&["down", "--yes"]).exits(0);
    eventually("nothing of the earlier build is alive", || host.alive().is_empty());
    host.run(&["list"]).exits(0);
    ends_well(&host, "squares");
    std::fs::write(&go, "").unwrap();
    ends_well(&host, "patient");
    squares::has_one_end(&host, &out);
    host.down();
}

#[test]
#[ignore = "needs an earlier build: make e2e-upgrade"]
fn hosts_are_replaced_one_after_another_under_their_applications() {
    let (bed, marker) = Deployment::new().with_failpoint("runner.after-submit", "hold");
    let mut bed = bed.of_build(&earlier()).start(2);
    let go = bed.shared().join("go");
    let patient = bed.program("patient", &until(go.to_str().unwrap()));
    run_in_background(bed.host(0), "patient", &patient);
    let script = bed.file("squares.sql", squares::SCRIPT);
    let out = bed.shared().join("out");
    submit_squares(bed.host(0), &script, &out);
    eventually("the leader is held", || marker.exists());
    let led = bed.leader(0, "squares").expect("the record says who leads");
    // The host that goes on with what the earlier build began is of this build.
    for number in [1 - led, led] {
        bed.down(number);
        bed.set_build(number, &binaries());
        bed.up(number);
        let through = bed.host(number);
        through.run(&["wait", "patient", "--for", "running", "--timeout", WAIT]).exits(0);
    }
    ends_well(bed.host(0), "squares");
    squares::has_one_end(bed.host(0), &out);
    std::fs::write(&go, "").unwrap();
    ends_well(bed.host(1), "patient");
    bed.was_kept_apart();
}

/// While hosts are replaced, one of the earlier build may have to go on with what this build wrote.
#[test]
#[ignore = "needs an earlier build: make e2e-upgrade"]
fn a_host_of_the_earlier_build_goes_on_with_what_this_build_began() {
    let mut bed = Deployment::new().of_build(&earlier()).start(1).of_build(&binaries()).start(1);
    let go = bed.shared().join("go");
    let patient = bed.program("patient", &until(go.to_str().unwrap()));
    let ids: Vec<String> = (0..8).map(|number| format!("patient-{number}")).collect();
    for id in &ids {
        run_in_background(bed.host(1), id, &patient);
    }
    let led_by_this_build = |id: &&String| bed.leader(0, id) == Some(1);
    assert!(ids.iter().any(|id| led_by_this_build(&id)), "this build leads one of eight");
    bed.kill(1);
    for id in &ids {
        eventually("the earlier build leads", || bed.leader(0, id) == Some(0));
    }
    std::fs::write(&go, "").unwrap();
    let lost = bed.name(1);
    eventually("the seat of the dead host is free", || {
        bed.host(0).run(&["host", "give-up", &lost, "--yes"]).code == 0
    });
    for id in &ids {
        ends_well(bed.host(0), id);
    }
    bed.was_kept_apart();
}
