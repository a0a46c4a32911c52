//! Processes of a cluster that die and are started again: what users are told of it while it
//! happens, and with the end.

use e2e::Host;
use e2e::flink::{Part, programs};
use e2e::process::{eventually, signal};

#[test]
fn a_taskmanager_without_memory_is_told_and_the_end_names_it() {
    let host = Host::new();
    let jar = programs();
    let run = host
        .run(&[
            "run",
            "--application-id",
            "large",
            "-D",
            "taskmanager.jvm-exit-on-oom=true",
            "-D",
            "restart-strategy.type=fixed-delay",
            "-D",
            "restart-strategy.fixed-delay.attempts=2",
            "-D",
            "restart-strategy.fixed-delay.delay=1 s",
            "-c",
            "Misbehaving",
            &jar,
            "memory",
        ])
        .exits(1);
    let cause = "java.lang.OutOfMemoryError: Java heap space";
    let told = |restart: u32, text: &str| {
        let start = format!("taskmanager-0: restart {restart}; cause: exit code ");
        text.lines().any(|line| line.contains(&start) && line.contains(cause))
    };
    assert!(told(1, &run.stderr) && told(2, &run.stderr), "while it happens: {}", run.stderr);
    let (_, error) = run.stderr.split_once("\nerror[").expect("it failed");
    assert!(told(3, error) && error.contains("MAIN_EXITED"), "with the end: {error}");

    let events = host.events("large");
    let restarts = events.iter().filter(|event| event["attributes"]["process"] == "taskmanager-0");
    let restarts: Vec<_> = restarts.map(|event| event["attributes"]["restart"].clone()).collect();
    assert_eq!(restarts, ["1", "2", "3"]);
    let message = host.status("large")["message"].as_str().unwrap().to_owned();
    assert!(told(3, &message), "{message}");
    host.down();
}

#[test]
fn a_taskmanager_that_was_killed_is_told_by_status_as_long_as_its_cluster_lives() {
    let host = Host::new();
    let jar = programs();
    let run =
        host.start(&["run", "--application-id", "killed", "-c", "Misbehaving", &jar, "forever"]);
    let mut taskmanager = None;
    eventually("a TaskManager works", || {
        let running = host.run(&["status", "killed"]).stdout.contains("RUNNING");
        taskmanager = Part::TaskManager.pid(&host).filter(|_| running);
        taskmanager.is_some()
    });
    signal(taskmanager.unwrap(), "KILL");
    let told = "taskmanager-0: restart 1; cause: signal 9";
    eventually("status tells it", || host.run(&["status", "killed"]).stdout.contains(told));
    host.run(&["cancel", "killed"]).exits(0);
    run.finish().exits(3).says(told);
    host.down();
}
