//! What bad input gets: a clear error that names the thing, the value and the remedy, the right exit code, nothing left behind.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use e2e::Host;

/// Runs one command on a host of its own and checks exit code and what it says.
#[track_caller]
fn refused(arguments: impl Fn(&Host) -> Vec<String>, code: i32, says: &[&str]) {
    let host = Host::new();
    let arguments = arguments(&host);
    let run = host.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).exits(code);
    for text in says {
        assert!(run.stderr.contains(text), "stderr lacks {text:?}:\n{}", run.stderr);
    }
}

fn strings(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|&argument| argument.to_owned()).collect()
}

#[test]
fn a_missing_file() {
    refused(|_| strings(&["run", "no-such.sql"]), 1, &["ARTIFACT_NOT_FOUND", "no-such.sql"]);
}

#[test]
fn a_wrong_digest() {
    let uri = |host: &Host| {
        let file = host.file("one.sql", "SELECT 1;");
        strings(&["run", &format!("{file}#sha256={}", "0".repeat(64))])
    };
    refused(uri, 1, &["ARTIFACT_DIGEST_MISMATCH", "sha256:0000"]);
}

#[test]
fn an_unreachable_host() {
    refused(
        |_| strings(&["run", "http://127.0.0.1:1/one.sql"]),
        1,
        &["ARTIFACT_NOT_REACHABLE", "127.0.0.1:1"],
    );
}

#[test]
fn a_program_that_is_not_executable() {
    refused(|host| strings(&["run", &host.file("program", "not a program")]), 1, &["error[PROGRAM"]);
}

#[test]
fn an_sql_error_has_line_and_caret() {
    let script = |host: &Host| strings(&["run", &host.file("bad.sql", "SELECT 1;\nSELEC 2;\n")]);
    refused(script, 1, &["SELEC 2", "^", "2:1"]);
}

#[test]
fn a_malformed_id() {
    let arguments = |host: &Host| {
        let file = host.file("one.sql", "SELECT 1;");
        strings(&["run", "--application-id", "Not_Good", &file])
    };
    refused(arguments, 2, &["Not_Good"]);
}

#[test]
fn an_unknown_option() {
    refused(|_| strings(&["run", "--no-such-option", "one.sql"]), 2, &["--no-such-option"]);
}

#[test]
fn an_unknown_application() {
    refused(|_| strings(&["status", "nobody"]), 7, &["APPLICATION_NOT_FOUND", "nobody"]);
}

#[test]
fn an_option_that_means_nothing_to_the_engine() {
    let arguments = |host: &Host| {
        let file = host.file("one.sql", "SELECT 1;");
        strings(&["run", "-c", "org.example.Main", &file])
    };
    refused(arguments, 1, &["OPTION_MEANINGLESS", "-c"]);
}

#[test]
fn a_main_that_exits_three() {
    let host = Host::new();
    let program = executable(&host, "three", "#!/bin/sh\necho 'no column \"dep_dely\"' >&2\nexit 3\n");
    host.run(&["run", "--application-id", "three", &program])
        .exits(1)
        .says("error[MAIN_EXITED]")
        .says("exited 3")
        .says("dep_dely");
    assert_eq!(host.status("three")["main"]["exitCode"], 3);
}

#[test]
fn a_main_that_is_killed() {
    let host = Host::new();
    let program = executable(&host, "killed", "#!/bin/sh\nkill -9 $$\n");
    host.run(&["run", "--application-id", "killed", &program]).exits(1).says("error[MAIN_KILLED]").says("9");
}

#[test]
fn a_main_that_never_ends_meets_its_deadline() {
    let host = Host::new();
    let program = executable(&host, "forever", "#!/bin/sh\nsleep 1000\n");
    host.run(&["run", "--application-id", "forever", "--deadline", "1s", &program])
        .exits(4)
        .says("DEADLINE_EXCEEDED");
}

#[test]
fn a_main_that_daemonises_leaves_nothing() {
    let host = Host::new();
    let program = executable(&host, "daemon", "#!/bin/sh\nsetsid -f sleep 1000\nexit 0\n");
    host.run(&["run", "--application-id", "daemon", &program]).exits(0);
    host.down();
}

#[test]
fn an_id_that_runs_already() {
    let host = Host::new();
    let program = executable(&host, "slow", "#!/bin/sh\nsleep 1000\n");
    host.run(&["run", "-d", "--application-id", "taken", &program]).exits(0);
    host.run(&["run", "--application-id", "taken", &program]).exits(6).says("APPLICATION_EXISTS");
    host.run(&["cancel", "taken"]).exits(0);
    host.run(&["wait", "taken"]).exits(3);
}

/// A program of the test's own.
fn executable(host: &Host, name: &str, text: &str) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let path = host.file(name, text);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}
