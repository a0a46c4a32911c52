//! A deployment of several hosts: any of them may die or freeze, all of its processes at once, and
//! another one brings its applications to their one end. An observer beside them looks at all
//! processes, and never sees one incarnation on two hosts.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "several_hosts/frozen.rs"]
mod frozen;
#[path = "several_hosts/killed.rs"]
mod killed;
#[path = "several_hosts/refused.rs"]
mod refused;
#[path = "several_hosts/runners.rs"]
mod runners;
#[path = "several_hosts/together.rs"]
mod together;

#[path = "support/hosts.rs"]
mod hosts;
#[path = "support/squares.rs"]
#[allow(dead_code, reason = "other tests need what is for one host")]
mod squares;

use e2e::Deployment;
use e2e::process::eventually;
use serde_json::Value;

use hosts::WAIT;

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
