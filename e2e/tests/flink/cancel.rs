//! A job that never ends by itself is ended by a cancel.

use e2e::Host;
use e2e::flink::{ExactlyOnce, programs};
use e2e::process::eventually;

#[test]
fn a_running_job_is_cancelled() {
    let host = Host::new().with("MAINSPRING_HOST_LINGER", "1m");
    let jar = programs();
    let run =
        host.start(&["run", "--application-id", "endless", "-c", "Misbehaving", &jar, "forever"]);
    let job = || host.run(&["status", "endless", "-o", "json"]).json()["jobs"][0].clone();
    eventually("the job runs", || {
        let status = host.run(&["status", "endless", "-o", "json"]);
        status.code == 0 && status.json()["jobs"][0]["state"] == "JOB_STATE_RUNNING"
    });
    host.run(&["cancel", "endless"]).exits(0);
    let run = run.finish().exits(3).says("nothing left over");
    assert_eq!(run.stdout, "");
    assert_eq!(job()["end"]["outcome"], "JOB_OUTCOME_CANCELLED");
    assert_eq!(host.status("endless")["outcome"], "OUTCOME_CANCELLED");
    host.down();
}

/// Flink forgets the pointer of such a checkpoint with the job's end, and the sweep must not take
/// the checkpoint for a leftover.
#[test]
fn checkpoints_that_are_to_outlive_a_cancelled_job_do() {
    let host = Host::new();
    let retain = "execution.checkpointing.externalized-checkpoint-retention=RETAIN_ON_CANCELLATION";
    let counted = ExactlyOnce::start(&host, 1_000_000, &["-D", retain]);
    counted.until_committed(2);
    host.run(&["cancel", ExactlyOnce::ID]).exits(0);
    let (run, _) = counted.finish(&host);
    run.exits(3).says("nothing left over");
    let checkpoints = host.state().join("checkpoints").join("counted@1").join("checkpoints");
    let job = std::fs::read_dir(checkpoints).unwrap().next().expect("the job's directory").unwrap();
    let is_whole = |entry: std::fs::DirEntry| entry.path().join("_metadata").exists();
    assert!(
        std::fs::read_dir(job.path()).unwrap().any(|entry| is_whole(entry.unwrap())),
        "{:?}",
        job.path()
    );
    host.down();
}
