//! When a process is killed: each moment is a state that is seen, or a failpoint that holds the
//! process there; none is a sleep.

use std::path::{Path, PathBuf};

use super::exactly_once::ExactlyOnce;
use crate::Host;
use crate::process::{eventually, eventually_within};
use std::time::Duration;

/// A moment in the life of an application with one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// main() has started, and there is no job yet.
    BeforeSubmission,
    /// The graph is in the record, and no cluster has it yet.
    GraphStored,
    /// The job has committed some of its output.
    Running,
    /// A checkpoint has begun.
    InCheckpoint,
    /// Nearly all of the output is committed.
    Finishing,
    /// The end is in the record, and nothing is torn down yet.
    Dirty,
    /// The cluster is being ended.
    InTeardown,
    /// So much of the output is committed, in percent, which can be any instant of the job's life.
    Committed(u64),
}

impl Moment {
    /// All moments that have a name, in order.
    pub const ALL: [Self; 7] = [
        Self::BeforeSubmission,
        Self::GraphStored,
        Self::Running,
        Self::InCheckpoint,
        Self::Finishing,
        Self::Dirty,
        Self::InTeardown,
    ];

    /// Whether the cluster has done all that it is there for.
    pub fn is_after_the_end(self) -> bool {
        matches!(self, Self::Dirty | Self::InTeardown)
    }

    /// Arms what the moment needs; the path is the marker of a failpoint that holds.
    pub fn prepare(self, host: Host) -> (Host, Option<PathBuf>) {
        let held = |host: Host, point| {
            let (host, marker) = host.with_failpoint(point, "hold");
            (host, Some(marker))
        };
        match self {
            Self::Dirty => held(host, "runner.before-teardown"),
            Self::InTeardown => held(host, "lifecycle.in-teardown"),
            _ => (host, None),
        }
    }

    /// Waits for the moment.
    #[track_caller]
    pub fn wait(self, host: &Host, counted: &ExactlyOnce, marker: Option<&Path>) {
        let event = |kind: &str, state: &str| {
            host.run(&["events", ExactlyOnce::ID, "-o", "jsonl"])
                .json_lines()
                .iter()
                .any(|event| event["kind"] == kind && event["attributes"]["state"] == state)
        };
        match self {
            Self::BeforeSubmission => eventually("main() has started", || event("main", "started")),
            Self::GraphStored => eventually("the graph is stored", || event("job", "stored")),
            Self::Running => counted.until_committed(4),
            Self::InCheckpoint => {
                counted.until_committed(4);
                let before = newest_checkpoint(host);
                eventually("the next checkpoint has begun", || newest_checkpoint(host) > before);
            }
            Self::Finishing => counted.until_percent_committed(95),
            Self::Committed(percent) => counted.until_percent_committed(percent),
            Self::Dirty | Self::InTeardown => {
                let marker = marker.expect("it is armed");
                eventually_within(Duration::from_secs(120), "it is held", || marker.exists());
            }
        }
    }
}

/// The number of the newest checkpoint that was begun.
fn newest_checkpoint(host: &Host) -> Option<u64> {
    let mut newest = None;
    let mut left = vec![host.state().join("checkpoints")];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(number) = name.strip_prefix("chk-") {
                newest = newest.max(number.parse().ok());
            } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                left.push(entry.path());
            }
        }
    }
    newest
}
