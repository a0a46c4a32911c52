//! The program started by hand, without mainspring around it, which is what a developer does first.

#![allow(clippy::disallowed_methods, reason = "a test starts the program that it tests")]
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn flights() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("flights/flights-2013-01.csv")
}

fn delays(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_delays"))
        .args(arguments)
        .current_dir(directory)
        .env_remove("MAINSPRING_ENDPOINT")
        .env_remove("MAINSPRING_OUTPUT_DIR")
        .output()
        .unwrap()
}

fn expected(arguments: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("expected_delays.py");
    let output = Command::new("python3").arg(script).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn it_prints_the_answer_and_says_on_stderr_that_it_runs_by_hand() {
    let directory = tempfile::tempdir().unwrap();
    let file = flights().display().to_string();
    for column in ["dep_delay", "arr_delay"] {
        let output = delays(directory.path(), &[&file, "--column", column]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected(&["--column", column]));
        assert_eq!(
            stderr.lines().filter(|line| line.contains("started by hand")).count(),
            1,
            "{stderr}"
        );
    }
}

#[test]
fn two_runs_do_not_share_an_output() {
    let directory = tempfile::tempdir().unwrap();
    let file = flights().display().to_string();
    for run in ["delays@1", "delays@2"] {
        assert!(delays(directory.path(), &[&file]).status.success());
        let outputs = directory.path().join("outputs").join(run);
        let announced = std::fs::read_to_string(outputs.join("announced.txt")).unwrap();
        assert_eq!(announced.lines().count(), 1);
        let mut parts: Vec<_> = std::fs::read_dir(outputs.join("clean"))
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        parts.sort();
        assert_eq!(parts.len(), 2, "{parts:?}");
        assert_eq!(parts.remove(0), "_SUCCESS");
        assert!(parts[0].to_str().unwrap().ends_with(".parquet"), "{parts:?}");
    }
}

#[test]
fn what_is_wrong_is_said_and_the_exit_code_is_not_0() {
    let directory = tempfile::tempdir().unwrap();
    let file = flights().display().to_string();
    for (arguments, said) in [
        (vec![file.as_str(), "--column", "dep_dely"], "no column \"dep_dely\""),
        (vec![file.as_str(), "--year", "2014"], "holds no flight of 2014"),
        (vec![file.as_str(), "--year", "last"], "\"last\" is not a year"),
        (vec!["missing.csv"], "no file 'missing.csv'"),
    ] {
        let output = delays(directory.path(), &arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(said), "{stderr}");
        assert!(output.stdout.is_empty());
    }
}
