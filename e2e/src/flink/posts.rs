//! What JobManagers were sent.

use crate::Host;

/// Flink's own line about each `POST /jobs`, accepted or not.
const RECEIVED: &str = "Received application submission";

/// How many submissions the JobManagers of an application have received, in all its incarnations.
#[track_caller]
pub fn posts(host: &Host, application: &str) -> usize {
    let logs = host.run(&["logs", application, "--role", "jobmanager"]).exits(0).stdout;
    logs.lines().filter(|line| line.contains(RECEIVED)).count()
}
