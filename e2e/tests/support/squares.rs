//! An application of two jobs that has one right outcome, whatever dies under it.

use std::path::Path;
use std::time::Duration;

use e2e::process::{eventually, eventually_within, is_gone, signal};
use e2e::{Finished, Host, Running};

/// Two jobs: one writes, the other reads back.
pub(crate) const SCRIPT: &str = "\
-- job: squares
COPY (SELECT value, value * value AS square FROM (VALUES (1), (2), (3)) AS t(value)) TO 'squares/' STORED AS PARQUET;
-- job: report
SELECT 14 AS sum;
";

/// How long a process may still come to a point when the application is clean: a leader resigns
/// then, and the host ends contenders.
const LAST_STEPS: Duration = Duration::from_secs(20);

/// Starts the script with two contenders.
pub(crate) fn start(host: &Host) -> Running {
    let script = host.file("squares.sql", SCRIPT);
    let out = host.scratch().join("out");
    host.start(&[
        "run",
        "--application-id",
        "squares",
        "--contenders",
        "2",
        "--output",
        out.to_str().unwrap(),
        &script,
    ])
}

/// Runs the script with one failpoint armed, which has to be reached.
#[track_caller]
pub(crate) fn run_with(host: Host, point: &str, action: &str) -> (Host, Finished) {
    let (host, marker) = host.with_failpoint(point, action);
    let run = start(&host).finish();
    let reached = format!("{point} is reached, beside:\n{}", run.stderr);
    eventually_within(LAST_STEPS, &reached, || marker.exists());
    (host, run)
}

/// Kills one process of the host while the leader is held at a point, then lets it go on. The
/// application has its one right outcome.
#[track_caller]
pub(crate) fn kill_under_a_running_application(host: Host, service: &str) {
    let (host, marker) = host.with_failpoint("runner.after-submit", "hold");
    let run = start(&host);
    eventually("the leader is held", || marker.exists());
    let pid = host.pid_of(service).expect("host.json names it");
    signal(pid, "KILL");
    eventually("it is gone", || is_gone(pid));
    std::fs::write(marker.with_extension("go"), "").unwrap();
    ended_once(&host, run.finish());
}

/// Checks that there is one end and one result, that each job ended once, and that nothing is left.
#[track_caller]
pub(crate) fn ended_once(host: &Host, run: Finished) {
    run.exits(0);
    has_one_end(host, &host.scratch().join("out"));
    host.down();
}

/// Checks the same of an application whose output is here, as this host shows it, and leaves the
/// host alone.
#[track_caller]
pub(crate) fn has_one_end(host: &Host, out: &Path) {
    let status = host.status("squares");
    assert_eq!(status["outcome"], "OUTCOME_SUCCEEDED");
    assert_eq!(status["clean"], true);
    let events = host.events("squares");
    let count = |kind: &str| events.iter().filter(|event| event["kind"] == kind).count();
    assert_eq!((count("ended"), count("clean")), (1, 1), "{events:#?}");
    for job in ["squares", "report"] {
        let ends = events.iter().filter(|event| {
            event["kind"] == "job"
                && event["attributes"]["name"] == job
                && event["attributes"]["state"] == "ended"
        });
        assert_eq!(ends.count(), 1, "{job}: {events:#?}");
    }
    assert_eq!(parts(&out.join("squares")), 1);
}

/// How many files are published, beside the marker that they are all there. Anything else in the
/// directory is a failure.
#[track_caller]
fn parts(directory: &Path) -> usize {
    let mut names: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .flatten()
        .map(|f| f.file_name().into_string().unwrap())
        .collect();
    let marker = names.iter().position(|name| name == "_SUCCESS");
    names.remove(marker.unwrap_or_else(|| panic!("not marked: {names:?}")));
    assert!(names.iter().all(|name| name.starts_with("part-")), "{names:?}");
    names.len()
}
