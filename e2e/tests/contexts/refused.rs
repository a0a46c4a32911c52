//! What cannot be meant for another host is refused before anything is asked or started.

use crate::caller::Caller;
use crate::wire::nobody;

/// A caller whose context leads to no process, so that a refusal can only be its own.
fn caller() -> Caller {
    let caller = Caller::new();
    caller.configure(&nobody(), &format!("file: {}", caller.some_key()));
    caller
}

#[test]
fn files_and_directories_of_this_machine_are_refused_with_the_way_out() {
    let caller = caller();
    let script = caller.file("one.sql", "SELECT 1 AS one;\n", 0o600);
    let uri = format!("file://{script}");
    let remote = "https://example.org/x.sql";
    for (line, names) in [
        (vec!["run", "one.sql"], "program.uri: "),
        (vec!["run", &script], "program.uri: "),
        (vec!["run", &uri], "program.uri: "),
        (vec!["run", "--artifact", "one.sql", remote], "artifacts[0].uri: "),
        (vec!["run", "--output", "out", remote], "--output: out"),
        (vec!["run", "--dry-run", "one.sql"], "program.uri: "),
        (vec!["savepoint", "orders", "--dir", "savepoints"], "--dir: savepoints"),
    ] {
        let refused = caller.prod(&line).exits(2).says("error[SPEC_INVALID]").says(names);
        assert!(refused.stderr.contains("the hosts of prod"), "{line:?}: {}", refused.stderr);
        assert!(refused.stderr.contains("  help: "), "{line:?}: {}", refused.stderr);
    }
    let refused = caller.prod(&["run", "one.sql"]).exits(2);
    for way_out in ["http://", "local:///path", "--context local"] {
        assert!(refused.stderr.contains(way_out), "{way_out}: {}", refused.stderr);
    }
    caller.has_started_nothing();
}

#[test]
fn verbs_about_this_machine_say_so() {
    let caller = caller();
    caller.run(&["context", "use", "prod"]).exits(0);
    for line in [&["up"] as &[&str], &["down"], &["doctor"], &["setup", "flink"], &["ui", "orders"]]
    {
        let refused = caller.run(line).exits(2);
        for said in [format!("`{}`", line[0]).as_str(), "context prod", "--context local"] {
            assert!(refused.stderr.contains(said), "{line:?}: {}", refused.stderr);
        }
    }
    caller.run(&["completions", "bash"]).exits(0);
    caller.has_started_nothing();
}

#[test]
fn the_command_line_stands_above_the_environment_and_both_above_the_file() {
    let caller = caller();
    caller.run(&["context", "use", "prod"]).exits(0);
    let in_use = |words: &[&str], variables: &[(&str, &str)]| {
        let mut command = caller.command(&[words, &["context", "list", "-o", "json"]].concat());
        command.envs(variables.iter().copied());
        let listed = e2e::Running::start(command).finish().exits(0).json();
        listed["inUse"].as_str().unwrap().to_owned()
    };
    assert_eq!(in_use(&[], &[]), "prod");
    assert_eq!(in_use(&["--context", "local"], &[]), "local");
    assert_eq!(in_use(&["--context", "local"], &[("MAINSPRING_CONTEXT", "prod")]), "local");
    assert_eq!(in_use(&[], &[("MAINSPRING_CONTEXT", "local")]), "local");
    assert_eq!(in_use(&["--state-dir", "s"], &[]), "local");
    assert_eq!(in_use(&[], &[("MAINSPRING_STATE_DIR", "s")]), "local");
    assert_eq!(in_use(&["--context", "prod"], &[("MAINSPRING_STATE_DIR", "s")]), "prod");

    let both = caller.run(&["--context", "prod", "--state-dir", "s", "list"]).exits(2);
    assert!(both.stderr.contains("leave --state-dir out"), "{}", both.stderr);
    let unknown = caller.run(&["--context", "prd", "list"]).exits(2);
    assert!(unknown.stderr.contains("there are prod, local"), "{}", unknown.stderr);
    caller.has_started_nothing();
}

#[test]
fn a_damaged_file_of_contexts_is_named_and_does_not_count_for_this_machine() {
    let caller = caller();
    let text = std::fs::read_to_string(caller.config()).unwrap().replace("insecure", "insecurely");
    caller.file(".config/mainspring/config.yaml", &text, 0o600);
    let refused = caller.run(&["list"]).exits(2);
    assert!(refused.stderr.contains("config.yaml:4: insecurely is no key"), "{}", refused.stderr);
    caller.run(&["--context", "local", "down"]).exits(0);
    caller.run(&["completions", "fish"]).exits(0);
    caller.has_started_nothing();
}
