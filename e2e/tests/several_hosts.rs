//! A deployment of several hosts: any of them may die or freeze, all of its processes at once, and
//! another one brings its applications to their one end. An observer beside them looks at all
//! processes, and never sees one incarnation on two hosts.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "several_hosts/frozen.rs"]
mod frozen;
#[path = "several_hosts/intents.rs"]
mod intents;
#[path = "several_hosts/killed.rs"]
mod killed;
#[path = "several_hosts/refused.rs"]
mod refused;
#[path = "several_hosts/runners.rs"]
mod runners;
#[path = "several_hosts/together.rs"]
mod together;

#[path = "support/squares.rs"]
#[allow(dead_code, reason = "other tests need what is for one host")]
mod squares;

use std::path::{Path, PathBuf};

use e2e::process::eventually;
use e2e::{Deployment, Finished};
use serde_json::Value;

/// How long a command waits for an application, at most.
const WAIT: &str = "60s";

/// Submits the application of two jobs through one host, and returns where its output comes to.
fn submit_squares(bed: &Deployment, through: usize) -> PathBuf {
    let script = bed.file("squares.sql", squares::SCRIPT);
    let out = bed.shared().join("out");
    let to = out.to_str().unwrap();
    let run = ["run", "-d", "--application-id", "squares", "--output", to, &script];
    bed.host(through).run(&run).exits(0);
    out
}

/// Waits for the application of two jobs, through one host.
fn wait_for_squares(bed: &Deployment, through: usize, what: &str) -> Finished {
    bed.host(through).run(&["wait", "squares", "--for", what, "--timeout", WAIT])
}

/// Checks that there is one end, that each row was written once, and that no incarnation was seen
/// on two hosts.
#[track_caller]
fn has_each_row_once(bed: &Deployment, through: usize, out: &Path) {
    squares::has_one_end(bed.host(through), out);
    let status = bed.host(through).status("squares");
    let jobs = status["jobs"].as_array().unwrap();
    let squares = jobs.iter().find(|job| job["name"] == "squares").unwrap();
    assert_eq!(squares["end"]["manifest"]["outputs"][0]["rows"], "3", "{squares:#}");
    bed.has_no_incarnation_twice();
}

/// Runs an application whose main() waits for ever, and whose cluster is ready.
#[track_caller]
fn run_patient(bed: &Deployment, through: usize, id: &str) {
    let program = bed.program(id, "exec sleep 1000");
    let host = bed.host(through);
    host.run(&["run", "-d", "--application-id", id, &program]).exits(0);
    host.run(&["wait", id, "--for", "running", "--timeout", WAIT]).exits(0);
    eventually("its cluster is ready", || is_ready(&host.status(id)));
}

fn is_ready(status: &Value) -> bool {
    status["cluster"]["state"] == "CLUSTER_STATE_READY"
}

/// The number of the present incarnation.
#[track_caller]
fn incarnation(status: &Value) -> u64 {
    status["cluster"]["incarnation"].as_str().unwrap().parse().unwrap()
}

/// Waits until nothing is left of any application, on any of the hosts, and in the record.
#[track_caller]
fn nothing_is_left(bed: &Deployment, hosts: &[usize]) {
    for &number in hosts {
        let host = bed.host(number);
        eventually("no process of an application lives", || host.owned().is_empty());
        eventually("no working directory is left", || {
            let work = std::fs::read_dir(host.state().join("work"));
            work.into_iter().flatten().flatten().next().is_none()
        });
    }
    eventually("no process is in the record", || intents::of(bed.host(hosts[0])).is_empty());
}
