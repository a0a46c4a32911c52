//! Command lines and specs that cannot work. They are refused before anything is started, except
//! where only the engine can tell.

use e2e::Host;

use crate::each_gets_an_error;

const ONE: (&str, &str) = ("one.sql", "SELECT 1;");

each_gets_an_error! {
    a_malformed_id: [ONE], ["run", "--application-id", "Not_Good", "one.sql"]
        => 2, ["Not_Good", "--application-id", "1 to 63 characters of a-z"];
    a_malformed_id_of_a_verb_that_looks: [], ["status", "a b"] => 2, ["a b", "malformed"];
    a_malformed_generation: [], ["status", "orders@x"] => 2, ["orders@x"];
    an_unknown_option: [ONE], ["run", "--deadlne", "5s", "one.sql"] => 2, ["--deadlne", "--deadline"];
    an_unknown_verb: [ONE], ["runn", "one.sql"] => 2, ["runn", "run"];
    a_bare_number_as_deadline: [ONE], ["run", "--deadline", "5", "one.sql"]
        => 2, ["--deadline", "5 has no unit", "5s, 5m or 5h"];
    a_bare_number_as_timeout: [], ["wait", "orders", "--timeout", "90"] => 2, ["--timeout", "90s"];
    no_program: [], ["run"] => 2, ["REQUEST_INVALID", "which program?", "help:"];
    an_empty_program: [], ["run", ""] => 2, ["REQUEST_INVALID", "empty name", "help:"];
    an_unknown_spec_key: [ONE, ("app.yaml", "applicationId: load\nprogram:\n  uri: one.sql\n  argumnts: [a]\n")],
        ["run", "-f", "app.yaml"] => 2, ["SPEC_INVALID", "app.yaml:4", "program.argumnts", "did you mean arguments?"];
    a_spec_that_is_no_yaml: [("app.yaml", "program: [\n")], ["run", "-f", "app.yaml"] => 2, ["SPEC_INVALID", "app.yaml:"];
    a_spec_value_of_another_type: [ONE, ("app.yaml", "program:\n  uri: one.sql\ncontenders: many\n")],
        ["run", "-f", "app.yaml"] => 2, ["SPEC_INVALID", "app.yaml:3", "many"];
    no_spec: [], ["run", "-f", "app.yaml"] => 2, ["SPEC_INVALID", "app.yaml", "No such file", "after -f"];
    a_deadline_of_nothing: [ONE], ["run", "--deadline", "0s", "one.sql"]
        => 2, ["SPEC_INVALID", "spec.deadline", "longer than 0"];
    no_contenders: [ONE], ["run", "--contenders", "0", "one.sql"] => 2, ["--contenders", "1..=16"];
    two_artifacts_of_one_name: [ONE, ("two.sql", "SELECT 2;")], ["run", "--artifact", "two.sql", "--artifact", "./two.sql", "one.sql"]
        => 2, ["SPEC_INVALID", "spec.artifacts[1].name", "two.sql"];
    an_unknown_target: [ONE], ["run", "-t", "mars", "one.sql"] => 2, ["TARGET_UNKNOWN", "spec.target", "mars", "local"];
    an_unknown_scheme: [], ["run", "s3://bucket/one.sql"] => 2, ["SPEC_INVALID", "spec.program.uri", "s3://bucket/one.sql", "https"];
    a_malformed_digest: [ONE], ["run", "one.sql#sha256=abc"] => 2, ["abc", "sha256"];
    an_unknown_engine: [ONE], ["run", "--engine", "nosuch", "one.sql"]
        => 1, ["ENGINE_NOT_FOUND", "mainspring-nosuch", "MAINSPRING_ENGINE_PATH"];
    an_unknown_setting: [ONE], ["run", "-D", "datafusion.execution.batch_sizee=3", "one.sql"]
        => 1, ["SETTING_UNKNOWN", "'datafusion.execution.batch_sizee'", "did you mean 'datafusion.execution.batch_size'?"];
    an_option_that_means_nothing_to_the_engine: [ONE], ["run", "-c", "org.example.Main", "one.sql"]
        => 1, ["OPTION_MEANINGLESS", "-c", "help:"];
    an_unknown_application: [], ["status", "nobody"] => 7, ["APPLICATION_NOT_FOUND", "nobody", "mainspring list"];
}

#[test]
fn an_error_as_json_says_the_same() {
    let host = Host::new();
    let run = host.run(&["status", "nobody", "-o", "json"]).exits(7);
    assert_eq!(run.stdout, "");
    let error: serde_json::Value = serde_json::from_str(run.stderr.trim()).unwrap();
    assert_eq!(error["error"]["reason"], "APPLICATION_NOT_FOUND", "{error}");
    assert_eq!(error["error"]["exitCode"], 7, "{error}");
    assert!(error["error"]["message"].as_str().unwrap().contains("nobody"), "{error}");
    assert!(error["error"]["help"][0].as_str().unwrap().contains("mainspring list"), "{error}");
}

#[test]
fn an_option_after_the_program_goes_to_main_with_a_note() {
    let host = Host::new();
    let program = crate::program(&host, "tells", r#"echo "$@""#);
    let run =
        host.run(&["run", "--application-id", "tells", &program, "--deadline", "5s"]).exits(0);
    assert_eq!(run.stdout, "--deadline 5s\n");
    run.says("note: --deadline goes to main()");
}

#[test]
fn an_id_that_runs_already() {
    let host = Host::new();
    let program = crate::program(&host, "slow", "exec sleep 1000");
    host.run(&["run", "-d", "--application-id", "taken", &program]).exits(0);
    host.run(&["run", "--application-id", "taken", &program])
        .exits(6)
        .says("APPLICATION_EXISTS")
        .says("taken")
        .says("--if-exists");
    assert_eq!(host.status("taken")["generation"], "1", "the refused one made no generation");
    host.run(&["cancel", "taken"]).exits(0);
    host.run(&["wait", "taken"]).exits(3);
    host.down();
}

#[test]
fn a_request_id_that_was_used_for_something_else() {
    let host = Host::new();
    let (one, two) = (host.file("one.sql", "SELECT 1;"), host.file("two.sql", "SELECT 2;"));
    let submit = |id: &str, file: &str| {
        host.run(&["run", "--request-id", "r-1", "--application-id", id, file])
    };
    submit("first", &one).exits(0);
    submit("second", &two).exits(6).says("REQUEST_ID_REUSED").says("r-1");
    host.run(&["status", "second"]).exits(7);
    host.down();
}
