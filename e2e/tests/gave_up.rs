//! A runner that meets an error which another start would not cure is not started again, and people
//! see why.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::path::{Path, PathBuf};

use chassis::credential::{DeploymentKey, Principal};
use e2e::Host;
use e2e::process::{eventually, signal};
use serde_json::Value;

#[test]
fn a_runner_of_an_application_that_is_not_in_the_record_says_so_and_exits_78() {
    let host = Host::new().with("MAINSPRING_HOST_LINGER", "1m");
    host.run(&["run", &host.file("one.sql", "SELECT 1 AS one;")]).exits(0);
    let state = host.state();
    let state = state.to_str().unwrap();
    let ghost = Principal::Contender { application: "ghost".into(), generation: 1 };
    let token = host.scratch().join("token");
    DeploymentKey::load(&key_file(&host.state())).unwrap().mint(&ghost).write_file(&token).unwrap();
    let contender = [
        "serve",
        "app-runner",
        "--state-dir",
        state,
        "--application",
        "ghost",
        "--generation",
        "1",
    ];
    let contender = [contender.as_slice(), &["--token-file", token.to_str().unwrap()]].concat();
    let ended = host.run(&contender).exits(78);
    let last = ended.stderr.lines().last().unwrap();
    assert!(last.starts_with("error[APPLICATION_NOT_FOUND]: "), "{}", ended.stderr);
    host.down();
}

/// A job that takes hours.
const ENDLESS: &str = "\
-- job: endless
SELECT count(*) FROM (SELECT unnest(generate_series(1, 1000000)) AS a) AS x,
  (SELECT unnest(generate_series(1, 1000000)) AS b) AS y WHERE a % 7 <> b % 11;
";

#[test]
fn a_runner_with_a_wrong_token_is_not_started_for_ever_and_its_application_says_why() {
    let host = Host::new().with("MAINSPRING_HOST_LINGER", "1m");
    let script = host.file("endless.sql", ENDLESS);
    host.run(&["run", "-d", "--application-id", "stuck", &script]).exits(0);
    let status = || host.run(&["status", "stuck", "-o", "json"]).exits(0).json();
    eventually("the job runs", || status()["jobs"][0]["state"] == "JOB_STATE_RUNNING");

    // The elector verifies with another key from now on, so that the next runner's token does not
    // belong to its deployment.
    let key = key_file(&host.state());
    let right = std::fs::read_to_string(&key).unwrap();
    let runners = || {
        host.alive()
            .into_iter()
            .filter(|(_, line)| line.contains("serve app-runner"))
            .collect::<Vec<_>>()
    };
    let restart_elector = |text: &str| {
        std::fs::write(&key, text).unwrap();
        let before = host.pid_of("leader-elector").unwrap();
        signal(before, "KILL");
        eventually("it runs again", || {
            host.pid_of("leader-elector").is_some_and(|pid| pid != before)
        });
    };
    restart_elector(&"ab".repeat(32));
    runners().iter().for_each(|(pid, _)| signal(*pid, "KILL"));
    eventually("it has exited for good", || {
        exits(&host.state()).iter().any(|exit| exit["code"] == 78)
    });
    restart_elector(&right);

    let trouble = || {
        let conditions = status()["conditions"].as_array().cloned().unwrap_or_default();
        let is_false =
            |c: &Value| c["type"] == "ContendersRun" && c["status"] == "CONDITION_STATUS_FALSE";
        conditions.into_iter().find(is_false)
    };
    eventually("its application says why", || trouble().is_some());
    let said = trouble().unwrap();
    assert_eq!(said["reason"], "CONTENDER_GAVE_UP");
    let message = said["message"].as_str().unwrap();
    for text in [
        "runner-0 gave up and is not started again",
        "error[CREDENTIAL_INVALID]",
        "mainspring cancel stuck@1",
    ] {
        assert!(message.contains(text), "{text}: {message}");
    }
    let shown = host.run(&["status", "stuck"]).exits(0).stdout;
    assert!(shown.contains("runner-0 gave up") && shown.contains("help: correct that"), "{shown}");

    // Neither another lifecycle nor another `up` starts it again.
    for service in ["lifecycle", "up"] {
        let before = host.pid_of(service).unwrap();
        signal(before, "KILL");
        eventually("it runs again", || {
            host.run(&["list"]).exits(0);
            host.pid_of(service).is_some_and(|pid| pid != before)
        });
        std::thread::sleep(std::time::Duration::from_secs(1));
        assert!(runners().is_empty(), "{service}: {:?}", runners());
        assert!(trouble().is_some(), "{service}");
    }

    // A cancel is a new wish, for which the contenders are tried again.
    host.run(&["cancel", "stuck", "--wait"]).exits(3);
    assert_eq!(host.status("stuck")["outcome"], "OUTCOME_CANCELLED");
    host.down();
}

/// The deployment's key.
fn key_file(state: &Path) -> PathBuf {
    client::places::Places::new(state).deployment_key()
}

/// The contents of all exit files of the host.
fn exits(state: &Path) -> Vec<Value> {
    let mut found = Vec::new();
    let mut left = vec![state.join("work")];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                left.push(path);
            } else if let Ok(exit) =
                serde_json::from_slice(&std::fs::read(&path).unwrap_or_default())
            {
                found.push(exit);
            }
        }
    }
    found
}
