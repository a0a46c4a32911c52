//! `--on-failover fail`: a main() whose side effects must not be repeated is not executed again,
//! and nothing else is lost.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::path::Path;

use e2e::{Finished, Host};

/// Three jobs: one is committed, one is running when the leader is killed, and one main() never
/// comes to.
const SCRIPT: &str = "\
-- job: first
COPY (SELECT 1 AS one) TO 'first/' STORED AS PARQUET;
-- job: second
COPY (SELECT 2 AS two) TO 'second/' STORED AS PARQUET;
-- job: third
SELECT 3 AS three;
";

/// A job that takes hours.
const ENDLESS: &str = "\
-- job: endless
SELECT count(*) FROM (SELECT unnest(generate_series(1, 1000000)) AS a) AS x,
  (SELECT unnest(generate_series(1, 1000000)) AS b) AS y WHERE a % 7 <> b % 11;
";

fn run_with(point: &str, program: impl FnOnce(&Host) -> String) -> (Host, Finished) {
    let (host, marker) = Host::new().with_failpoint(point, "kill");
    let program = program(&host);
    let out = host.scratch().join("out");
    let run = host.run(&[
        "run",
        "--application-id",
        "once",
        "--contenders",
        "2",
        "--on-failover",
        "fail",
        "--output",
        out.to_str().unwrap(),
        &program,
    ]);
    assert!(marker.exists(), "{point} was never reached\n{}", run.stderr);
    (host, run)
}

fn files(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

/// Checks what a killed leader leaves of a main() that must not be repeated: an error with the way
/// out, and a clean application.
#[track_caller]
fn ended_for_good(host: &Host, run: Finished) -> serde_json::Value {
    run.exits(1)
        .says("error[MAIN_NOT_REPEATABLE]: its leader was lost while main() ran, and on_failover is `fail`")
        .says("main() is not executed again")
        .says("left over: nothing")
        .says(
            "help: look at what main() did already (mainspring logs once --role main), then submit it anew",
        );
    let status = host.status("once");
    assert_eq!(status["outcome"], "OUTCOME_FAILED");
    assert_eq!(status["reason"], "MAIN_NOT_REPEATABLE");
    assert_eq!(status["clean"], true);
    assert_eq!(status["main"]["executions"], 1);
    assert_eq!(
        status["main"]["state"], "MAIN_STATE_ENDED",
        "nothing runs of what is clean: {status:#}"
    );
    host.run(&["wait", "once"]).exits(1);
    status
}

#[test]
fn a_main_that_was_cut_off_is_not_executed_again() {
    let (host, run) = run_with("runner.in-main", |host| {
        let program =
            host.file("main", "#!/bin/sh\necho \"$$\" >> \"$0.executed\"\nexec sleep 1000\n");
        std::process::Command::new("chmod").args(["+x", &program]).status().unwrap();
        program
    });
    ended_for_good(&host, run);
    host.down();
}

#[test]
fn jobs_that_ended_stay_and_the_others_are_cancelled() {
    let (host, run) = run_with("runner.before-answer", |host| host.file("once.sql", SCRIPT));
    let status = ended_for_good(&host, run);
    let jobs = status["jobs"].as_array().unwrap();
    assert_eq!(jobs[0]["name"], "first");
    assert_eq!(jobs[0]["end"]["outcome"], "JOB_OUTCOME_SUCCEEDED", "{status:#}");
    assert_eq!(jobs[0]["published"], true);
    // main() may have come to its second job before it was frozen, and no further.
    for job in &jobs[1..] {
        assert_eq!(job["end"]["outcome"], "JOB_OUTCOME_CANCELLED", "{job:#}");
    }
    assert_eq!(
        files(&host.scratch().join("out/first")).len(),
        2,
        "a part and the marker that all are there"
    );
    host.down();
}

#[test]
fn a_job_that_ended_unseen_is_published_and_one_that_runs_is_cancelled() {
    // The end is committed by the cluster; the leader that was to publish it is killed.
    let (host, run) = run_with("runner.before-publish", |host| host.file("once.sql", SCRIPT));
    let status = ended_for_good(&host, run);
    assert_eq!(status["jobs"].as_array().unwrap().len(), 1, "{status:#}");
    assert_eq!(status["jobs"][0]["published"], true, "{status:#}");
    let mut names = files(&host.scratch().join("out/first"));
    names.sort();
    assert!(
        names.len() == 2 && names[0] == "_SUCCESS" && names[1].starts_with("part-"),
        "{names:?}"
    );
    host.down();

    let (host, run) = run_with("runner.after-submit", |host| host.file("long.sql", ENDLESS));
    let status = ended_for_good(&host, run);
    assert_eq!(status["jobs"][0]["end"]["outcome"], "JOB_OUTCOME_CANCELLED", "{status:#}");
    host.down();
}

#[test]
fn a_main_that_was_not_started_is_started_by_the_next_leader() {
    let (host, run) = run_with("runner.before-main-starting", |host| host.file("once.sql", SCRIPT));
    run.exits(0).says("2nd leader");
    let status = host.status("once");
    assert_eq!(status["outcome"], "OUTCOME_SUCCEEDED");
    assert_eq!(status["main"]["executions"], 1);
    host.down();
}

#[test]
fn a_spec_file_may_say_it() {
    let (host, marker) = Host::new().with_failpoint("runner.in-main", "kill");
    host.file("endless.sql", ENDLESS);
    let spec = host.file(
        "app.yaml",
        "applicationId: once\nonFailover: ON_FAILOVER_FAIL\ncontenders: 2\nprogram: {uri: endless.sql}\n",
    );
    let run = host.run(&["run", "-f", &spec]);
    assert!(marker.exists(), "{}", run.stderr);
    ended_for_good(&host, run);
    host.down();
}
