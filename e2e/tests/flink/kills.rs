//! One process after the other is killed under a running, checkpointed job: what is written is exactly what was to be written.

use e2e::Host;
use e2e::flink::{ExactlyOnce, Part, Tally};
use serde_json::Value;

/// Ten seconds or so.
const NUMBERS: u64 = 15_000;

/// The one job, and the cluster's incarnation.
#[track_caller]
fn seen(host: &Host) -> (Value, Value) {
    let status = host.status(ExactlyOnce::ID);
    assert_eq!(status["jobs"].as_array().unwrap().len(), 1, "{status:#}");
    (status["jobs"][0].clone(), status["cluster"]["incarnation"].clone())
}

/// Runs the program, kills this process after the first checkpoints, and checks what is there in the end.
#[track_caller]
fn killed(part: Part, options: &[&str]) -> (Value, Value) {
    let host = Host::new();
    let counted = ExactlyOnce::start(&host, NUMBERS, options);
    counted.until_committed(4);
    part.kill(&host);
    let (run, tally) = counted.finish();
    let run = run.exits(0);
    assert_eq!(tally, Tally::default(), "{}", run.stderr);
    let (job, incarnation) = seen(&host);
    println!("{part:?}: {}\n{}", job["progress"], run.stderr);
    let ends = host
        .events(ExactlyOnce::ID)
        .into_iter()
        .filter(|event| event["kind"] == "job" && event["attributes"]["state"] == "ended");
    assert_eq!(ends.count(), 1);
    host.down();
    (job["end"]["progress"]["restarts"].clone(), incarnation)
}

#[test]
fn a_job_does_not_notice_that_the_leader_is_killed() {
    assert_eq!(killed(Part::Contender, &["--contenders", "2"]), (0.into(), "1".into()));
}

#[test]
fn a_killed_jobmanager_is_a_new_incarnation_from_the_latest_checkpoint() {
    let (_, incarnation) = killed(Part::JobManager, &[]);
    assert_eq!(incarnation, "2");
}

#[test]
fn a_killed_taskmanager_is_started_again_within_the_incarnation() {
    let (restarts, incarnation) = killed(Part::TaskManager, &[]);
    assert!(restarts.as_u64() >= Some(1), "{restarts}");
    assert_eq!(incarnation, "1");
}
