//! What does not fit into a deployment of several hosts is refused, with the way out, and harms
//! nothing.

use std::process::Command;
use std::time::Duration;

use e2e::deployment::give_key;
use e2e::process::eventually;
use e2e::{Deployment, Host, Running};
use serde_json::{Value, json};

use crate::run_patient;

/// How long a host may take to find out that it does not fit.
const REFUSAL: Duration = Duration::from_secs(60);

/// The services of a host, and its `up`.
const PARTS: [&str; 5] =
    ["jobgraph-store", "leader-elector", "artifact-fetcher", "lifecycle", "up"];

/// What must not change when another host is refused.
fn state_of_the_first(bed: &Deployment) -> (Vec<Option<u32>>, Value) {
    let host = bed.host(0);
    let pids = PARTS.iter().map(|part| host.pid_of(part)).collect();
    let status = host.status("patient");
    let events = host.events("patient");
    let listed = host.run(&["host", "list"]).exits(0).stdout.lines().count();
    let stays = json!({
        "leadership": status["leadership"]["epoch"],
        "incarnation": status["cluster"]["incarnation"],
        "main": status["main"],
        "events": events,
        "hosts": listed,
    });
    (pids, stays)
}

/// Starts a host that does not fit, and checks that the host says so, and names the way out.
#[track_caller]
fn is_refused(host: &Host, change: impl FnOnce(&mut Command), words: &[&str]) {
    let mut command = host.command(&["up"]);
    change(&mut command);
    let said = Running::start(command).finish_within(REFUSAL);
    assert_ne!(said.code, 0, "it came up: {}", said.stderr);
    for word in words.iter().chain(&["error[", "help:"]) {
        assert!(said.stderr.contains(word), "{word} is not said: {}", said.stderr);
    }
}

#[test]
fn a_host_that_does_not_fit_is_refused_and_the_others_do_not_notice() {
    let bed = Deployment::new().start(1);
    run_patient(&bed, 0, "patient");
    let before = state_of_the_first(&bed);

    let keyless = bed.newcomer();
    is_refused(&keyless, |_| {}, &["deployment.key"]);
    let with_another_key = bed.newcomer();
    give_key(&with_another_key, "5a".repeat(32).as_bytes());
    is_refused(&with_another_key, |_| {}, &["deployment.key"]);

    let fitting = || {
        let host = bed.newcomer();
        bed.hand_key_to(&host);
        host
    };
    let elsewhere = fitting();
    let another = elsewhere.scratch().join("shared");
    std::fs::create_dir(&another).unwrap();
    let shares_another = |command: &mut Command| {
        command.env("MAINSPRING_SHARED_DIR", &another);
    };
    is_refused(&elsewhere, shares_another, &["MAINSPRING_SHARED_DIR"]);
    for lacking in ["MAINSPRING_BLOBS", "MAINSPRING_ETCD"] {
        let without = |command: &mut Command| {
            command.env_remove(lacking);
        };
        is_refused(&fitting(), without, &[lacking, "MAINSPRING_SHARED_DIR"]);
    }

    assert_eq!(state_of_the_first(&bed), before);
    // A host that fits is taken in after all of that.
    let mut bed = bed;
    bed.join();
    bed.host(1).run(&["cancel", "patient", "--wait"]).exits(3);
}

#[test]
fn a_second_host_of_one_name_is_refused_until_it_has_a_name_of_its_own() {
    let bed = Deployment::new().start(1);
    run_patient(&bed, 0, "patient");
    let before = state_of_the_first(&bed);
    let second = bed.newcomer();
    bed.hand_key_to(&second);
    let (first_id, id) = (bed.host(0).state().join("host-id"), second.state().join("host-id"));
    let mut taken: Value = serde_json::from_slice(&std::fs::read(first_id).unwrap()).unwrap();
    taken["uid"] = json!("0123456789abcdef");
    std::fs::write(&id, taken.to_string()).unwrap();
    let name = bed.host(0).name();
    is_refused(&second, |_| {}, &["HOST_NAME_TAKEN", &name]);
    let found = second.run(&["doctor", "-o", "json"]).exits(1).json();
    let findings = found["findings"].as_array().unwrap();
    let row = findings.iter().find(|row| row["what"] == "hosts").unwrap();
    assert!(row["problem"].as_str().unwrap().contains("HOST_NAME_TAKEN"), "{row:#}");
    second.down();
    assert_eq!(state_of_the_first(&bed), before);

    std::fs::remove_file(&id).unwrap();
    second.run(&["list"]).exits(0);
    assert_ne!(second.name(), name);
    eventually("both hosts are there", || {
        second.run(&["host", "list"]).exits(0).stdout.lines().count() == 3
    });
    bed.host(0).run(&["cancel", "patient", "--wait"]).exits(3);
    second.down();
}

#[test]
fn an_output_of_one_host_is_refused_where_there_are_several() {
    let bed = Deployment::new().start(1);
    let script = bed.file("one.sql", "SELECT 1 AS one;");
    let host = bed.host(0);
    let out = host.scratch().join("out");
    let to = out.to_str().unwrap();
    let run = ["run", "--application-id", "local", "--output", to, &script];
    let refused = host.run(&run).says("LOCATION_LOCAL").says("MAINSPRING_SHARED_DIR");
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains(to), "{}", refused.stderr);
    host.run(&["status", "local"]).exits(7);
}
