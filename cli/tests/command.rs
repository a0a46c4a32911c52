//! The command as people type it, where it needs no host: help, usage errors, dry runs, exit codes.
#![allow(clippy::disallowed_methods, reason = "runs the command as people do")]
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::process::{Command, Output, Stdio};

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mainspring"));
        command.args(words).current_dir(self.directory.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("MAINSPRING_") {
                command.env_remove(name);
            }
        }
        command.env("MAINSPRING_STATE_DIR", self.state()).env("NO_COLOR", "1");
        command
    }

    fn state(&self) -> std::path::PathBuf {
        self.directory.path().join("state")
    }

    fn run(&self, line: &str) -> Output {
        self.command(&line.split_whitespace().collect::<Vec<_>>()).output().unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.directory.path().join(name), text).unwrap();
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn help_is_an_answer_of_one_screen_and_so_is_that_of_each_verb() {
    let place = Place::new();
    let help = place.run("--help");
    assert_eq!(code(&help), 0);
    let text = stdout(&help);
    assert!(text.lines().count() <= 40);
    let order = ["mainspring run ", "\nRun\n", "\nLook\n", "\nChange\n", "\nHost\n"]
        .map(|part| text.find(part));
    assert!(order.is_sorted() && order[0].is_some(), "{text}");
    for verb in [
        "run", "attach", "wait", "list", "status", "jobs", "logs", "result", "events", "graph",
        "cancel",
    ] {
        let help = place.run(&format!("{verb} --help"));
        assert_eq!(code(&help), 0, "{verb}");
        assert!(
            stdout(&help).starts_with(&format!("  mainspring {verb}")),
            "{verb}: {}",
            stdout(&help)
        );
    }
    for part in ["serve --help", "serve jobgraph-store --help", "tether --help"] {
        assert_eq!(code(&place.run(part)), 0, "{part}");
    }
    assert!(!place.state().exists(), "help has touched the state directory");
}

#[test]
fn what_is_mistyped_exits_2_and_names_what_was_meant() {
    let place = Place::new();
    for (line, meant) in [
        ("staus orders", "status"),
        ("run --dedline 5m x.sql", "--deadline"),
        ("run --contenders none x.sql", "contenders"),
        ("run --deadline 90 x.sql", "90 has no unit: write 90s, 90m or 90h"),
        ("run -l nothing x.sql", "KEY=VALUE"),
        ("status Orders", "a-z, 0-9 and -"),
        ("status orders@0", "a number from 1"),
        ("wait orders --for supper", "running, ended, clean, or job=NAME"),
        ("list --phase asleep", "submitted, queued, starting"),
        ("run", "which program?"),
        ("run -t local -m h:1 x.jar", "OPTION_MEANINGLESS"),
        ("run --secret A=hush x.sql", "A=@FILE"),
        ("run --env NOT_SET_ANYWHERE x.sql", "NOT_SET_ANYWHERE=VALUE"),
        ("run -f nothere.yaml", "nothere.yaml"),
        ("serve nothing", "nothing"),
        ("tether", "--spec"),
        ("", "Usage"),
    ] {
        let output = place.run(line);
        let said = stderr(&output);
        assert_eq!(code(&output), 2, "{line}: {said}");
        assert!(
            said.contains(meant) || (line.is_empty() && said.contains("mainspring")),
            "{line}: {said}"
        );
        assert_eq!(stdout(&output), "", "{line}");
    }
    assert!(!place.state().exists(), "a usage error has touched the state directory");
}

#[test]
fn with_json_asked_for_errors_are_json_too() {
    let place = Place::new();
    for line in ["-o json run", "run -o json", "-o json staus x", "list --format=json --since 5"] {
        let output = place.run(line);
        let error = json(&stderr(&output));
        assert_eq!((code(&output), &error["error"]["exitCode"]), (2, &2.into()), "{line}");
        assert_eq!(error["error"]["reason"], "REQUEST_INVALID", "{line}");
    }
}

#[test]
fn a_dry_run_prints_the_spec_and_the_spec_runs_as_a_file() {
    let place = Place::new();
    place.write("password", "hunter2\n");
    let line = "run --dry-run -t local --application-id load --contenders 2 -D a=b --output out --env K=V --secret P=@password \
                --deadline 1h30m --artifact data.csv load.sql --year 2013";
    let first = place.run(line);
    assert_eq!(code(&first), 0, "{}", stderr(&first));
    let yaml = stdout(&first);
    let directory = std::fs::canonicalize(place.directory.path()).unwrap();
    assert!(yaml.contains(&format!("uri: file://{}/load.sql", directory.display())), "{yaml}");
    for part in [
        "applicationId: load",
        "engine: datafusion",
        "contenders: 2",
        "deadline: 5400s",
        "- \"2013\"",
    ] {
        assert!(
            yaml.contains(part) || yaml.contains(&part.replace('"', "'")),
            "{part} is not in {yaml}"
        );
    }
    assert!(!yaml.contains("hunter2"), "a secret shows: {yaml}");
    place.write("app.yaml", &yaml);
    let again = place.run("run -f app.yaml --dry-run -o yaml");
    assert_eq!((stdout(&again), code(&again)), (yaml, 0), "{}", stderr(&again));
    let document = json(&stdout(&place.run("run -f app.yaml --dry-run -o json --contenders 3")));
    assert_eq!(
        (&document["contenders"], &document["program"]["arguments"][1]),
        (&3.into(), &"2013".into())
    );
}

#[test]
fn a_dry_run_does_not_show_what_is_secret_in_a_uri_and_says_so() {
    let place = Place::new();
    let dry = place.run(
        "run --dry-run -C https://geheim@host.example/lib.jar \
         https://me:geheim@host.example/a.jar?token=geheim",
    );
    assert_eq!(code(&dry), 0, "{}", stderr(&dry));
    assert!(stdout(&dry).contains("https://***@host.example/a.jar?***"), "{}", stdout(&dry));
    assert!(!stdout(&dry).contains("geheim"), "{}", stdout(&dry));
    assert!(stderr(&dry).contains("*** stands for what is secret"), "{}", stderr(&dry));
}

/// The address belongs to no machine, so that a service that may bind it fails to.
#[test]
fn no_service_listens_in_plain_text_beyond_this_machine_unless_that_is_said() {
    let place = Place::new();
    std::fs::create_dir(place.state()).unwrap();
    let serve = |said: &str| {
        let line = format!("serve leader-elector {said} --listen tcp://192.0.2.1:7070");
        let served = place.run(&line);
        assert_ne!(code(&served), 0);
        stderr(&served)
    };
    let refused = serve("");
    assert!(
        refused.contains("beyond this machine") && refused.contains("--insecure-network"),
        "{refused}"
    );
    let tried = serve("--insecure-network");
    assert!(!tried.contains("beyond this machine") && tried.contains("192.0.2.1"), "{tried}");
}

#[test]
fn an_unknown_key_of_a_spec_is_refused_with_its_line_and_path() {
    let place = Place::new();
    place.write("app.yaml", "engine: datafusion\nprogram:\n  uri: x.sql\n  argumants: [a]\n");
    let output = place.run("run -f app.yaml --dry-run");
    assert_eq!(code(&output), 2);
    let said = stderr(&output);
    assert!(
        said.starts_with(
            "error[SPEC_INVALID]: app.yaml:4: program.argumants is no key of a spec\n"
        ),
        "{said}"
    );
    assert!(said.contains("help: did you mean arguments?"), "{said}");
}

#[test]
fn flinks_spelling_is_understood() {
    let place = Place::new();
    let line = "run --dry-run -o json -t local -c org.Main -C file:///a.jar -C file:///b.jar -p 4 -s /sp -n -cm claim -sae \
                -Dx=y -D z=w job.jar -p 5 -py mine";
    let document = json(&stdout(&place.run(line)));
    let program = &document["program"];
    assert_eq!(program["entryClass"], "org.Main");
    assert_eq!(program["classpaths"], serde_json::json!(["file:///a.jar", "file:///b.jar"]));
    assert_eq!((&program["parallelism"], &program["claimMode"]), (&4.into(), &"CLAIM".into()));
    assert_eq!(
        (&program["savepoint"], &program["allowNonRestoredState"]),
        (&"file:///sp".into(), &true.into())
    );
    assert_eq!(program["arguments"], serde_json::json!(["-p", "5", "-py", "mine"]));
    assert_eq!(document["settings"], serde_json::json!({ "x": "y", "z": "w" }));
    assert_eq!(document["engine"], "flink");
    let python = json(&stdout(
        &place.run("run --dry-run -o json -py job.py -pyfs a.py -pym main -pyexec python3"),
    ));
    assert_eq!(python["program"]["python"]["pyFiles"], "a.py");
    assert_eq!(python["program"]["python"]["pyModule"], "main");
    assert_eq!(python["program"]["python"]["pyExecutable"], "python3");
}

#[test]
fn an_option_of_ours_after_the_program_is_mains_and_that_is_said() {
    let place = Place::new();
    let output = place.run("run --dry-run -o json load.sql --output there --contenders 2");
    let document = json(&stdout(&output));
    assert_eq!(
        document["program"]["arguments"],
        serde_json::json!(["--output", "there", "--contenders", "2"])
    );
    assert_eq!((&document["output"], &document["contenders"]), (&"".into(), &1.into()));
    let said = stderr(&output);
    assert!(said.contains("note: --output goes to main(); put it before load.sql"), "{said}");
    assert!(said.contains("note: --contenders goes to main()"), "{said}");
    let quiet = place.run("-q run --dry-run load.sql --output there");
    assert_eq!(stderr(&quiet), "");
}

#[test]
fn every_option_has_a_twin_in_the_environment_and_the_command_line_wins() {
    let place = Place::new();
    let twin = |words: &[&str]| {
        let mut command = place.command(words);
        command.envs([
            ("MAINSPRING_CONTENDERS", "3"),
            ("MAINSPRING_DEADLINE", "5m"),
            ("MAINSPRING_FORMAT", "json"),
            ("MAINSPRING_DRY_RUN", "1"),
            ("MAINSPRING_APPEND", "no"),
        ]);
        json(&stdout(&command.output().unwrap()))
    };
    let document = twin(&["run", "load.sql"]);
    assert_eq!((&document["contenders"], &document["deadline"]), (&3.into(), &"300s".into()));
    assert_eq!(document["appendOutput"], false);
    assert_eq!(twin(&["run", "--contenders", "2", "load.sql"])["contenders"], 2);
}

#[test]
fn looking_at_a_host_that_is_not_there_starts_and_makes_nothing() {
    let place = Place::new();
    assert!(stdout(&place.run("version")).starts_with("mainspring 0."));
    assert_eq!(json(&stdout(&place.run("version -o json")))["protocol"], proto::PROTOCOL);
    let doctor = json(&stdout(&place.run("doctor -o json")));
    assert!(doctor["findings"].as_array().unwrap().iter().any(|finding| finding["what"] == "up"));
    let down = place.run("down");
    assert_eq!((code(&down), stdout(&down).as_str()), (0, ""));
    assert!(!Path::new(&place.state()).exists(), "a state directory was made");
}

#[test]
fn doctor_shows_output_that_is_not_in_the_record() {
    let place = Place::new();
    let outbox = |doctor: &serde_json::Value| {
        doctor["findings"]
            .as_array()
            .unwrap()
            .iter()
            .find(|finding| finding["what"] == "outbox")
            .cloned()
    };
    let directory = place.state().join("outbox");
    std::fs::create_dir_all(&directory).unwrap();
    assert_eq!(outbox(&json(&stdout(&place.run("doctor -o json")))), None);
    for name in ["orders@4.main.7.0.1", "orders@4.worker.1.0.2"] {
        std::fs::create_dir(directory.join(name)).unwrap();
    }
    let doctor = place.run("doctor -o json");
    assert_eq!(code(&doctor), 1);
    let found = outbox(&json(&stdout(&doctor))).unwrap();
    assert_eq!(found["found"], *directory.to_string_lossy());
    let problem = found["problem"].as_str().unwrap();
    for part in [
        "the output of 2 process(es) is not in the record yet",
        "make room, and see lifecycle's log",
    ] {
        assert!(problem.contains(part), "{part}: {problem}");
    }
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    let place = Place::new();
    for words in [&["run", "--dry-run", "x.sql"] as &[&str], &["--help"], &["version"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = place.command(words).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!((code(&output), stderr(&output).as_str()), (0, ""), "{words:?}");
    }
}

#[test]
fn a_state_directory_that_cannot_be_made_exits_5_and_names_it() {
    let place = Place::new();
    place.write("file", "");
    let output = place.run("list --state-dir file/below");
    assert_eq!(code(&output), 5, "{}", stderr(&output));
    assert!(stderr(&output).starts_with("error[HOST_NOT_REACHABLE]: "), "{}", stderr(&output));
    assert!(stderr(&output).contains("file/below"), "{}", stderr(&output));
}
