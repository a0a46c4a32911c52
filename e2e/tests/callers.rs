//! What a host owes to the commands that start it, and to operators who run parts of it themselves.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use e2e::Host;
use e2e::process::eventually;

/// The processes that have a file open.
fn holders(file: &Path) -> Vec<String> {
    let wanted = std::fs::metadata(file).unwrap();
    let is_it = |path: PathBuf| {
        std::fs::metadata(path).is_ok_and(|m| (m.dev(), m.ino()) == (wanted.dev(), wanted.ino()))
    };
    let mut found = Vec::new();
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let open = std::fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        if open.map(|entry| entry.path()).any(is_it) {
            found.push(std::fs::read_to_string(process.path().join("comm")).unwrap_or_default());
        }
    }
    found
}

#[test]
fn a_file_that_the_caller_has_open_is_not_kept_open_by_the_host_or_main() {
    let host = Host::new().with("MAINSPRING_HOST_LINGER", "60s");
    let script = host.file("one.sql", "SELECT 1 AS one;\n");
    let lock = host.file("lock", "");
    let mainspring = host.command(&["run", "-q", &script]);
    let mut shell = std::process::Command::new("bash");
    let line = format!(
        "exec 9>>'{lock}'; flock 9; '{}' run -q '{script}'",
        mainspring.get_program().display()
    );
    shell.args(["-c", &line]);
    for (name, value) in mainspring.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    assert!(
        shell
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap()
            .success()
    );
    assert!(host.pid_of("up").is_some(), "the host lingers");
    assert_eq!(holders(Path::new(&lock)), Vec::<String>::new());
}

#[test]
fn a_second_up_says_that_one_runs() {
    let host = Host::new();
    let up = host.start(&["up"]);
    eventually("the host is up", || host.pid_of("up").is_some());
    let second = host.run(&["up"]).exits(6).says("error[HOST_RUNS]");
    let pid = host.pid_of("up").unwrap();
    assert!(second.stderr.contains(&format!("pid {pid}")), "{}", second.stderr);
    drop(up);
}

/// The elector runs elsewhere: with another directory and another socket, but with the deployment's
/// key.
#[test]
fn a_service_whose_endpoint_is_given_is_used_told_of_and_never_ended() {
    let host = Host::new();
    let script = host.file("one.sql", "SELECT 1 AS one;\n");
    // The run makes the deployment's key.
    host.run(&["run", &script]).exits(0);
    host.down();
    let elsewhere = host.scratch().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::copy(host.state().join("deployment.key"), elsewhere.join("deployment.key")).unwrap();
    let socket = format!("unix:{}", elsewhere.join("e.sock").display());
    let mut elector = host.start(&[
        "serve",
        "leader-elector",
        "--state-dir",
        elsewhere.to_str().unwrap(),
        "--listen",
        &socket,
    ]);
    let up = host.start(&["up", "--host-linger", "60s", "--elector", &socket]);
    eventually("the host is up", || host.pid_of("up").is_some());
    host.run(&["run", "--application-id", "one", &script]).exits(0);
    let doctor = host.run(&["doctor"]).exits(0).stdout;
    assert!(doctor.contains(&format!("given  {socket}")), "{doctor}");
    let file: serde_json::Value =
        serde_json::from_slice(&std::fs::read(host.state().join("host.json")).unwrap()).unwrap();
    let entry = &file["services"]["leader-elector"];
    assert_eq!(
        (entry["endpoint"].as_str(), entry["kept_by"].as_str()),
        (Some(&*socket), Some("given"))
    );
    let own = host.state().join("leader-elector");
    let before = std::fs::metadata(&own).unwrap().modified().unwrap();
    host.run(&["down", "--yes"]).exits(0);
    up.finish();
    assert!(elector.is_running(), "it is not the host's to end");
    assert_eq!(
        std::fs::metadata(&own).unwrap().modified().unwrap(),
        before,
        "no other elector ran"
    );
}

#[test]
fn a_service_that_was_started_by_hand_is_used_and_stays() {
    let host = Host::new();
    let script = host.file("one.sql", "SELECT 1 AS one;\n");
    let state = host.state().display().to_string();
    let mut fetcher = host.start(&["serve", "artifact-fetcher", "--state-dir", &state]);
    host.run(&["run", &script]).exits(0);
    let doctor = host.run(&["doctor"]).exits(0).stdout;
    assert!(doctor.contains(&format!("pid {} (started by hand)", fetcher.pid())), "{doctor}");
    let down = host.run(&["down", "--yes"]).exits(0);
    assert!(down.stderr.contains("was started by hand and stays"), "{}", down.stderr);
    assert!(fetcher.is_running());
    fetcher.signal("TERM");
    fetcher.finish().exits(0);
}

/// Every part of the host is a process of the caller's own, as in a pod. The parts are started in
/// no order.
#[test]
fn a_host_whose_parts_are_started_one_by_one_runs_applications() {
    let host = Host::new();
    let script = host.file("one.sql", "SELECT 1 AS one;\n");
    let state = host.state().display().to_string();
    let serve = |part: &str| host.start(&["serve", part, "--state-dir", &state]);
    let up = host.start(&["serve", "host", "--host-linger", "60s"]);
    let parts = ["lifecycle", "artifact-fetcher", "leader-elector", "jobgraph-store"].map(serve);
    eventually("the host is up", || host.pid_of("up") == Some(up.pid()));
    host.run(&["run", &script]).exits(0);
    let doctor = host.run(&["doctor"]).exits(0).stdout;
    assert_eq!(doctor.matches("given  unix:").count(), 4, "{doctor}");
    host.run(&["down", "--yes"]).exits(0);
    up.finish().exits(0);
    for mut part in parts {
        assert!(part.is_running(), "a part is not the host's to end");
        part.signal("TERM");
        part.finish().exits(0);
    }
}

#[test]
fn one_that_was_started_by_hand_and_listens_elsewhere_is_not_killed_but_has_to_be_given() {
    let host = Host::new();
    let script = host.file("one.sql", "SELECT 1 AS one;\n");
    let (state, socket) = (host.state().display().to_string(), host.scratch().join("e.sock"));
    let at = format!("unix:{}", socket.display());
    host.run(&["run", &script]).exits(0);
    host.down();
    let mut elector =
        host.start(&["serve", "leader-elector", "--state-dir", &state, "--listen", &at]);
    eventually("it serves", || socket.exists());
    let refused = host.run(&["run", &script]).exits(5);
    assert!(refused.stderr.contains("--elector"), "{}", refused.stderr);
    assert!(elector.is_running());
    elector.signal("TERM");
    elector.finish().exits(0);
    host.run(&["run", &script]).exits(0);
}
