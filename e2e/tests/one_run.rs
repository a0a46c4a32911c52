//! From a pointer to the teardown: what the first run of a newcomer comes to.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::process::Command;
use std::time::Duration;

use e2e::process::signal;
use e2e::{Host, example, repository};

/// The answer of `carriers.sql`, computed without any SQL engine.
fn expected_carriers() -> Vec<Vec<String>> {
    let script = repository().join("examples/flights/expected_carriers.py");
    let output = Command::new("python3").arg(script).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().skip(1).map(|line| line.trim().split(',').map(str::to_owned).collect()).collect()
}

/// The rows of a printed table without its header, its rule and its count.
fn rows(table: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    table.lines().skip(1).filter(|line| line.contains('|')).map(cells).collect()
}

#[test]
fn the_first_run_prints_the_answer_and_leaves_nothing_behind() {
    let host = Host::new();
    let out = host.scratch().join("out");
    let run = host
        .run(&[
            "run",
            "--application-id",
            "carriers",
            "--output",
            out.to_str().unwrap(),
            &example("flights/carriers.sql"),
        ])
        .exits(0)
        .says("SUCCEEDED");
    assert_eq!(rows(&run.stdout), expected_carriers(), "{}", run.stdout);

    let written = std::fs::read_dir(out.join("carriers")).unwrap().flatten();
    let (marker, parts): (Vec<_>, Vec<_>) =
        written.partition(|file| file.file_name() == "_SUCCESS");
    assert_eq!(marker.len(), 1, "what is whole says so");
    assert!(
        parts.iter().all(|part| part.file_name().to_string_lossy().starts_with("part-")),
        "{parts:?}"
    );
    assert!(!parts.is_empty());

    let status = host.status("carriers");
    assert_eq!(status["outcome"], "OUTCOME_SUCCEEDED");
    assert_eq!(status["clean"], true);
    assert_eq!(status["generation"], "1");
    let jobs = status["jobs"].as_array().unwrap();
    assert_eq!(
        jobs.iter().map(|job| job["name"].as_str().unwrap()).collect::<Vec<_>>(),
        ["by_carrier", "report"]
    );
    for job in jobs {
        assert_eq!(job["end"]["outcome"], "JOB_OUTCOME_SUCCEEDED", "{job}");
        assert_eq!(job["submissions"], 1, "{job}");
    }
    assert_eq!(status["artifacts"][0]["name"], "carriers.sql");
    host.down();
}

#[test]
fn every_transition_is_an_event_in_order() {
    let host = Host::new();
    let script = host.file("one.sql", "SELECT 1 AS one;");
    let run = host.run(&["run", "--application-id", "one", &script]).exits(0);
    assert!(run.stdout.contains('1'), "{}", run.stdout);

    let events = host.events("one");
    let kinds: Vec<_> =
        events.iter().map(|event| event["kind"].as_str().unwrap().to_owned()).collect();
    let mut at = 0;
    for kind in ["submitted", "leader", "artifact", "main", "job", "main", "ended", "clean"] {
        at += kinds[at..]
            .iter()
            .position(|k| k == kind)
            .unwrap_or_else(|| panic!("no {kind} in order: {kinds:?}"))
            + 1;
    }
    assert!(kinds.contains(&"cluster".to_owned()), "{kinds:?}");
    let ids: Vec<u64> =
        events.iter().map(|event| event["eventId"].as_str().unwrap().parse().unwrap()).collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
}

#[test]
fn an_id_lives_again_as_a_new_generation_only_when_it_is_clean() {
    let host = Host::new();
    let script = host.file("one.sql", "SELECT 1 AS one;");
    for _ in 0..2 {
        host.run(&["run", "--application-id", "again", &script]).exits(0);
    }
    assert_eq!(host.status("again")["generation"], "2");
    assert_eq!(host.status("again@1")["outcome"], "OUTCOME_SUCCEEDED");
}

/// A busy machine may give a process no time for a while; so may a slow disk.
#[test]
fn a_host_whose_store_gets_no_time_at_its_start_is_waited_for() {
    let (host, run, store) = (0..10)
        .find_map(|_| {
            let host = Host::new();
            let script = host.file("one.sql", "SELECT 1 AS one;");
            let run = host.start(&["run", &script]);
            let store = |(pid, line): (u32, String)| line.contains("jobgraph-store").then_some(pid);
            let store = loop {
                if let Some(pid) = host.alive().into_iter().find_map(store) {
                    break pid;
                }
            };
            signal(store, "STOP");
            // On a store that was ready before it was stopped, the command would wait for a call.
            let is_early = !host.state().join("host.json").exists();
            if !is_early {
                signal(store, "CONT");
                host.down();
            }
            is_early.then_some((host, run, store))
        })
        .expect("a store is found before its host is ready");
    std::thread::sleep(Duration::from_secs(35));
    signal(store, "CONT");
    let run = run.finish().exits(0);
    assert!(run.stdout.contains('1'), "{}", run.stdout);
    host.down();
}

#[test]
fn the_same_request_is_accepted_once() {
    let host = Host::new();
    let script = host.file("one.sql", "SELECT 1 AS one;");
    let arguments =
        ["run", "-d", "--application-id", "once", "--request-id", "r-1", script.as_str()];
    host.run(&arguments).exits(0);
    host.run(&["wait", "once"]).exits(0);
    host.run(&arguments).exits(0);
    assert_eq!(host.status("once")["generation"], "1");
}

#[test]
fn a_program_that_fails_says_why_and_the_exit_code_is_one() {
    let host = Host::new();
    let script = host.file("broken.sql", "SELECT 1 AS one;\nSELECT nothing FROM nowhere;");
    let run = host.run(&["run", "--application-id", "broken", &script]).exits(1).says("error[");
    assert!(run.stderr.contains("nowhere"), "{}", run.stderr);
    let status = host.status("broken");
    assert_eq!(status["outcome"], "OUTCOME_FAILED");
    assert_eq!(status["clean"], true);
}
