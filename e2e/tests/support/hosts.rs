//! What the tests of several hosts do alike, and what has to hold on each of their deployments.

use std::path::{Path, PathBuf};

use e2e::gateway::PREFIX;
use e2e::process::eventually;
use e2e::{Deployment, Finished};
use serde_json::Value;

use crate::squares;

/// How long a command waits for an application, at most.
pub(crate) const WAIT: &str = "60s";

/// Submits the application of two jobs through one host, and returns where its output comes to.
pub(crate) fn submit_squares(bed: &Deployment, through: usize) -> PathBuf {
    let script = bed.file("squares.sql", squares::SCRIPT);
    submit(bed, through, &script, "out")
}

/// Submits a program under the id of the application of two jobs, and returns where its output
/// comes to.
pub(crate) fn submit(bed: &Deployment, through: usize, program: &str, out: &str) -> PathBuf {
    let out = bed.shared().join(out);
    let to = bed.seen(&out);
    let run = ["run", "-d", "--application-id", "squares", "--output", &to, program];
    bed.host(through).run(&run).exits(0);
    out
}

/// Waits for the application of two jobs, through one host.
pub(crate) fn wait_for_squares(bed: &Deployment, through: usize, what: &str) -> Finished {
    bed.host(through).run(&["wait", "squares", "--for", what, "--timeout", WAIT])
}

/// Checks that there is one end, that each row was written once, and that no incarnation was seen
/// on two hosts.
#[track_caller]
pub(crate) fn has_each_row_once(bed: &Deployment, through: usize, out: &Path) {
    squares::has_one_end(bed.host(through), out);
    let status = bed.host(through).status("squares");
    let jobs = status["jobs"].as_array().unwrap();
    let squares = jobs.iter().find(|job| job["name"] == "squares").unwrap();
    assert_eq!(squares["end"]["manifest"]["outputs"][0]["rows"], "3", "{squares:#}");
    bed.has_no_incarnation_twice();
}

/// The condition that says why the application is not clean.
pub(crate) fn not_torn_down(status: &Value) -> Option<&Value> {
    let is_it = |c: &&Value| c["type"] == "TornDown" && c["status"] == "CONDITION_STATUS_FALSE";
    status["conditions"].as_array()?.iter().find(is_it)
}

/// The processes that the record keeps: those that may live. Their keys are as etcd has them.
#[track_caller]
pub(crate) fn intents(bed: &Deployment) -> Vec<String> {
    let found = bed.gateway().list(&format!("{PREFIX}record/d/x/"), 0);
    let found = found.expect("etcd answers").entries.into_iter();
    found.map(|entry| entry.key).collect()
}

/// Waits until nothing is left of any application, on any of the hosts, and in the record.
#[track_caller]
pub(crate) fn nothing_is_left(bed: &Deployment, hosts: &[usize]) {
    nothing_is_left_but_empty_directories(bed, hosts);
    for &number in hosts {
        let host = bed.host(number);
        eventually("no working directory is left", || {
            entries(&host.state().join("work")).is_empty()
        });
    }
}

/// Waits for the same, but for empty working directories of a host that had to clean itself late,
/// which the host looks for once a minute.
#[track_caller]
pub(crate) fn nothing_is_left_but_empty_directories(bed: &Deployment, hosts: &[usize]) {
    for &number in hosts {
        let host = bed.host(number);
        eventually("no process of an application lives", || host.owned().is_empty());
        eventually("no working directory has anything in it", || {
            let work = entries(&host.state().join("work"));
            work.iter().all(|of_application| entries(of_application).is_empty())
        });
    }
    eventually("no process is in the record", || intents(bed).is_empty());
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}
