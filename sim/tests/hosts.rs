//! The simulation of whole hosts on a few seeds; `make sim` runs more of them. It is an example of
//! this crate, which has to be built beside this test, as `cargo test` and `make test` do.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::path::Path;
use std::process::{Command, Output};

/// The simulation with these arguments.
fn simulation(arguments: &[&str]) -> Command {
    let test = std::env::current_exe().unwrap();
    let built = test.parent().and_then(Path::parent).unwrap();
    let mut command = Command::new(built.join("examples/hosts"));
    command.args(arguments);
    command
}

/// What the simulation prints.
fn said(ran: &Output) -> String {
    let [out, err] = [&ran.stdout, &ran.stderr].map(|said| String::from_utf8_lossy(said));
    format!("{out}{err}")
}

#[test]
fn a_seed_repeats_in_another_process_home_and_time_zone() {
    let there = tempfile::tempdir().unwrap();
    let here = simulation(&["--seed", "3", "--trace"]).output().unwrap();
    let mut elsewhere = simulation(&["--seed", "3", "--trace"]);
    let elsewhere = elsewhere.env("HOME", there.path()).env("TZ", "Pacific/Kiritimati");
    let elsewhere = elsewhere.current_dir(there.path()).output().unwrap();
    let (here, elsewhere) = (said(&here), said(&elsewhere));
    let differs = here.lines().zip(elsewhere.lines()).find(|(one, other)| one != other);
    assert_eq!(differs, None);
    assert!(here.contains(" lines, "), "there is a verdict: {here}");
    assert_eq!(here, elsewhere);
}

#[test]
fn another_seed_is_another_run() {
    let [one, other] =
        ["3", "4"].map(|seed| said(&simulation(&["--seed", seed]).output().unwrap()));
    assert_ne!(one.replace("seed 3", ""), other.replace("seed 4", ""));
}

#[test]
fn nothing_is_wrong_on_a_few_seeds() {
    let ran = simulation(&["--seeds", "5"]).output().unwrap();
    assert!(ran.status.success(), "{}", said(&ran));
}

/// The control: the invariants would notice.
#[test]
fn a_record_that_compares_no_epochs_is_found_out() {
    let bug = ["--bug", "store.epochs-unfenced", "--seeds", "20"];
    let ran = simulation(&bug).output().unwrap();
    assert!(ran.status.success(), "{}", said(&ran));
}

/// The control of sweeps and payloads, which only a few seeds bring out.
#[test]
fn a_record_that_points_before_the_bytes_are_there_is_found_out() {
    let bug = ["--bug", "store.pointer-before-blob", "--seeds", "20"];
    let ran = simulation(&bug).output().unwrap();
    assert!(ran.status.success(), "{}", said(&ran));
}
