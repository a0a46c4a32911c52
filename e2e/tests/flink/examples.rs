//! Flink's own examples, unchanged, as a newcomer tries them: each comes to its end, or runs until
//! it is cancelled.

use std::time::Duration;

use e2e::Host;
use e2e::flink::examples;
use e2e::process::eventually_within;

const PACKAGE: &str = "org.apache.flink.streaming.examples";

/// Examples that end by themselves, and print their results in the TaskManager: class, what it
/// prints, arguments.
const FINITE: [(&str, &str, &[&str]); 4] = [
    ("wordcount.WordCount", "(the,", &[]),
    // Without these arguments no window of its few words is ever full.
    ("windowing.WindowWordCount", "(the,", &["--window", "10", "--slide", "5"]),
    ("sideoutput.SideOutputExample", "(be,", &[]),
    ("windowing.SessionWindowing", "(c,", &[]),
];

/// Examples that go on until they are cancelled.
const ENDLESS: [&str; 3] =
    ["windowing.TopSpeedWindowing", "join.WindowJoin", "statemachine.StateMachineExample"];

#[track_caller]
fn ends(mode: &[&str], these: &[(&str, &str, &[&str])]) {
    let host = Host::new().with("MAINSPRING_HOST_LINGER", "1m");
    let jar = examples();
    for (number, (class, printed, arguments)) in these.iter().enumerate() {
        let (id, class) = (format!("example-{number}"), format!("{PACKAGE}.{class}"));
        let mut line = vec!["run", "--application-id", &id, "-c", &class, &jar];
        line.extend(mode.iter().chain(*arguments));
        host.run(&line).exits(0).says("nothing left over");
        let job = &host.status(&id)["jobs"][0];
        assert_eq!(job["end"]["outcome"], "JOB_OUTCOME_SUCCEEDED", "{class}: {job:#}");
        let said = host.run(&["logs", &id, "--role", "taskmanager"]).exits(0).stdout;
        assert!(said.contains(printed), "{class} printed no {printed:?}:\n{said}");
    }
    host.down();
}

#[test]
fn those_that_end_do_so_as_streams() {
    ends(&[], &FINITE);
}

/// All of these but the last have a batch mode.
#[test]
fn those_that_end_do_so_in_batch_mode() {
    ends(&["--execution-mode", "BATCH"], &FINITE[..3]);
}

#[test]
fn those_that_do_not_end_run_until_they_are_cancelled() {
    let host = Host::new().with("MAINSPRING_HOST_LINGER", "1m");
    let jar = examples();
    for (number, class) in ENDLESS.iter().enumerate() {
        let (id, class) = (format!("example-{number}"), format!("{PACKAGE}.{class}"));
        let run = host.start(&["run", "--application-id", &id, "-c", &class, &jar]);
        eventually_within(Duration::from_secs(60), &format!("{class} hands records on"), || {
            let status = host.run(&["status", &id, "-o", "json"]);
            let rows =
                |job: &serde_json::Value| job["progress"]["rowsIn"].as_str().map(str::to_owned);
            status.code == 0 && rows(&status.json()["jobs"][0]).is_some_and(|rows| rows != "0")
        });
        host.run(&["cancel", &id]).exits(0);
        run.finish().exits(3).says("nothing left over");
    }
    host.down();
}
