//! What programs do that `flink run` takes and that only main() can tell when it runs: names that
//! differ each time, a parallelism of their own, settings that Flink does not know.

use std::time::Duration;

use e2e::Host;
use e2e::flink::{ExactlyOnce, Part, programs};
use e2e::process::eventually_within;

/// A name that holds the moment of its execution, or an id that is drawn, is another one in the
/// next attempt. With Flink's own high availability such a job goes on.
#[test]
fn jobs_whose_names_are_others_each_time_go_on_without_their_leader() {
    let host = Host::new();
    let jar = programs();
    let id = ExactlyOnce::ID;
    let run = host.start(&[
        "run",
        "--application-id",
        id,
        "--contenders",
        "2",
        "-c",
        "Varying",
        &jar,
        "names",
    ]);
    eventually_within(Duration::from_secs(120), "the second job runs", || {
        let status = host.run(&["status", id, "-o", "json"]);
        status.code == 0 && status.json()["jobs"][1]["state"] == "JOB_STATE_RUNNING"
    });
    Part::Contender.kill(&host);
    let run = run
        .finish()
        .exits(0)
        .says("job \"first of 2")
        .says("named after a moment or by chance")
        .says("answered with the recorded end of the job \"first of 2")
        .says("attached to the running job \"second ")
        .says("with the same operators: taken for the same job")
        .says(&format!("what its jobs printed: mainspring logs {id} --role taskmanager"))
        .says("nothing left over");
    // Flink's plans have other bytes each time, which is no reason for a warning.
    assert!(!run.stderr.contains("another graph"), "{}", run.stderr);
    let jobs = host.status(id)["jobs"].clone();
    let submissions: Vec<_> =
        jobs.as_array().unwrap().iter().map(|job| job["submissions"].clone()).collect();
    assert_eq!(submissions, [1, 1], "{jobs:#?}");
    host.down();
}

/// A table chooses the name of its sink, so that the sink's class tells what it does.
#[test]
fn where_a_table_prints_is_told() {
    let host = Host::new();
    let jar = programs();
    host.run(&["run", "--application-id", "table", "-c", "Varying", &jar, "table"])
        .exits(0)
        .says("what its jobs printed: mainspring logs table --role taskmanager");
    let printed = host.run(&["logs", "table", "--role", "taskmanager"]).exits(0).stdout;
    assert_eq!(printed.matches("+I[").count(), 5, "{printed}");
    host.down();
}

/// Flink itself waits five minutes for slots, twice as long as a command may take here.
#[test]
fn a_job_that_is_wider_than_its_cluster_is_told_before_flink_gives_up() {
    let host = Host::new();
    let jar = programs();
    host.run(&["run", "--application-id", "wide", "-c", "Varying", &jar, "wide"])
        .exits(1)
        .says("job \"wide\" needs 6 slots, there are 4 (1 TaskManager of 4)")
        .says("help: give its cluster as many: -p 6, or -D flink.taskmanagers=2")
        .says("left over: nothing");
    for as_told in [&["-p", "6"][..], &["-D", "flink.taskmanagers=2"]] {
        let arguments = [&["run"], as_told, &["-c", "Varying", &jar, "wide"]].concat();
        host.run(&arguments).exits(0);
    }
    host.down();
}

#[test]
fn what_flink_does_not_know_is_told_and_passed_on() {
    let host = Host::new();
    let jar = programs();
    let settings = [
        "my.own=17",
        "taskmanagr.numberOfTaskSlots=2",
        "hadoop.tmp.dir=/x",
        "s3.access-key=x",
        "yarn.application.name=x",
        "kubernetes.cluster-id=x",
        "iceberg.catalog=x",
        "scheduler-mode=reactive",
    ];
    let settings = settings.iter().flat_map(|setting| ["-D", setting]);
    let arguments: Vec<&str> =
        ["run"].into_iter().chain(settings).chain(["-c", "Varying", &jar, "settings"]).collect();
    let run = host
        .run(&arguments)
        .exits(0)
        .says("knows no setting 'my.own'; it is passed on as it is")
        .says("knows no setting 'taskmanagr.numberOfTaskSlots'; it is passed on as it is; help: did you mean 'taskmanager.numberOfTaskSlots'?");
    assert_eq!(run.stdout, "my.own is 17\n");
    assert_eq!(run.stderr.matches("knows no setting").count(), 2, "{}", run.stderr);
    host.down();
}

/// The libraries of Flink's planner are not the program's, and a trace that main() has just printed
/// is not printed again.
#[test]
fn a_trace_has_the_programs_frames_and_is_printed_once() {
    let host = Host::new();
    let jar = programs();
    let run = host
        .run(&["run", "-c", "Varying", &jar, "column"])
        .exits(1)
        .says("Column 'nowhere' not found in any table")
        .says("at Varying.column(Varying.java:");
    assert!(!run.stderr.contains("at org.apache.calcite."), "{}", run.stderr);
    assert!(!run.stderr.contains("  |     at "), "{}", run.stderr);
    host.down();
}
