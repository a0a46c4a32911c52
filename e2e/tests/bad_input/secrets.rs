//! A secret reaches main(), and is shown to no other process or person.

use std::path::Path;

use e2e::Host;
use e2e::process::eventually;

use crate::program;

const VALUE: &str = "hunter2-of-the-night";

#[test]
fn the_value_of_a_secret_is_shown_nowhere() {
    let host = Host::new();
    host.file("password", VALUE);
    host.file("expected", VALUE);
    let script = r#"[ "$PASSWORD" = "$(cat "$1/expected")" ] || exit 9
        echo begun; while [ ! -e "$1/go" ]; do sleep 0.02; done"#;
    let program = program(&host, "secretive", script);
    let scratch = host.scratch().to_str().unwrap().to_owned();
    let submit = [
        "run",
        "--application-id",
        "secretive",
        "--secret",
        "PASSWORD=@password",
        &program,
        &scratch,
    ];

    let mut dry = vec!["run", "--dry-run"];
    dry.extend(&submit[1..]);
    for format in ["yaml", "json"] {
        let mut dry = dry.clone();
        dry.splice(1..1, ["-o", format]);
        let printed = host.run(&dry).exits(0);
        assert!(printed.stdout.contains("PASSWORD"), "the spec names it: {}", printed.stdout);
        hidden(&format!("--dry-run -o {format}"), &[printed.stdout, printed.stderr]);
    }

    let run = host.start(&submit);
    eventually("main() has begun", || host.run(&["logs", "secretive"]).stdout.contains("begun"));
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        hidden("a command line", &[String::from_utf8_lossy(&line).into_owned()]);
    }
    let look = |when: &str| {
        for arguments in [
            &["status", "secretive"][..],
            &["status", "secretive", "-o", "json"],
            &["list", "-o", "json"],
            &["events", "secretive", "-o", "jsonl"],
            &["logs", "secretive"],
            &["doctor"],
        ] {
            let shown = host.run(arguments);
            hidden(&format!("{arguments:?} {when}"), &[shown.stdout, shown.stderr]);
        }
    };
    look("while it runs");
    host.file("go", "");
    let run = run.finish().exits(0);
    hidden("run", &[run.stdout, run.stderr]);
    look("when it is clean");
    host.down();

    // Only the record held the secret, in a directory that only its owner may enter.
    let logs = text_files(&host.state());
    assert!(!logs.is_empty(), "there are logs of services to look at");
    for (path, text) in logs {
        hidden(&path, &[text]);
    }
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(std::fs::metadata(host.state()).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_secret_on_the_command_line_is_refused_without_repeating_it() {
    let host = Host::new();
    let program = program(&host, "secretive", "exit 0");
    let run = host.run(&["run", "--secret", &format!("PASSWORD={VALUE}"), &program]).exits(2);
    hidden("the refusal", &[run.stdout.clone(), run.stderr.clone()]);
    run.says("REQUEST_INVALID").says("PASSWORD=@FILE");
}

#[test]
fn a_secret_whose_file_is_not_there() {
    let host = Host::new();
    let program = program(&host, "secretive", "exit 0");
    host.run(&["run", "--secret", "PASSWORD=@no-such", &program])
        .exits(2)
        .says("REQUEST_INVALID")
        .says("PASSWORD=@no-such")
        .says("No such file");
}

#[track_caller]
fn hidden(place: &str, texts: &[String]) {
    for text in texts {
        assert!(!text.contains(VALUE), "{place} shows it:\n{text}");
    }
}

/// All files below a directory that are text: logs and JSON, not the databases of services.
fn text_files(directory: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(text_files(&path));
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            found.push((path.display().to_string(), text));
        }
    }
    found
}
