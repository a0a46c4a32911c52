//! A backup of a host at work, restored on another one, in a file and in etcd.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use e2e::Host;
use e2e::etcd::Etcd;
use e2e::process::eventually;

/// Three rows, in a file.
const SCRIPT: &str = "\
-- job: squares
COPY (SELECT value, value * value AS square FROM (VALUES (1), (2), (3)) AS t(value)) TO 'squares/' STORED AS PARQUET;
";

/// A host whose application was cut off while its job ran, and the backup that was taken before.
fn cut_off() -> (Host, String) {
    let (host, marker) = Host::new().with_failpoint("runner.after-submit", "hold");
    let (script, out) = (host.file("squares.sql", SCRIPT), host.scratch().join("out"));
    let arguments = ["run", "-d", "--application-id", "squares", "--output"];
    host.run(&[&arguments, [out.to_str().unwrap(), &script].as_slice()].concat()).exits(0);
    eventually("the job runs", || marker.exists());
    let file = host.scratch().join("record.backup").to_str().unwrap().to_owned();
    host.run(&["backup", &file]).exits(0);
    host.run(&["backup", &file]).exits(2).says("is there already");
    host.down();
    (host, file)
}

/// Restores the backup on this host and sees the application to its end.
fn goes_on(host: &Host, original: &Host, file: &str) {
    host.run(&["restore", file]).exits(0);
    host.run(&["restore", file]).exits(5).says("not empty");
    host.run(&["wait", "squares", "--for", "clean"]).exits(0);
    let status = host.status("squares");
    assert_eq!(status["outcome"], "OUTCOME_SUCCEEDED", "{status:#}");
    assert_eq!(status["main"]["executions"], 2, "{status:#}");
    let written = std::fs::read_dir(original.scratch().join("out/squares")).unwrap();
    let names: Vec<_> =
        written.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names.iter().filter(|name| name.starts_with("part-")).count(), 1, "{names:?}");
    assert!(names.iter().any(|name| name == "_SUCCESS"), "{names:?}");
}

#[test]
fn a_running_application_goes_on_from_a_backup_in_a_file() {
    let (original, file) = cut_off();
    goes_on(&Host::new(), &original, &file);
}

#[test]
fn a_running_application_goes_on_from_a_backup_in_etcd() {
    let (original, file) = cut_off();
    let etcd = Etcd::start();
    let host = Host::new().with("MAINSPRING_ETCD", format!("http://{}", etcd.address()));
    goes_on(&host, &original, &file);
}

#[test]
fn what_is_no_backup_is_refused_and_makes_nothing() {
    let host = Host::new();
    let notes = host.file("notes", "a shopping list, long enough to be a backup by its length\n");
    host.run(&["restore", &notes]).exits(2).says("no backup of mainspring");
    host.run(&["restore", "/nowhere"]).exits(2).says("/nowhere");
    let listed = host.run(&["list", "--all", "-o", "json"]).exits(0).json();
    assert_eq!(listed["applications"].as_array().map_or(0, Vec::len), 0, "{listed:#}");
    let file = host.scratch().join("whole").to_str().unwrap().to_owned();
    host.run(&["backup", &file]).exits(0);
    host.run(&["restore", &file]).exits(6).says("a host runs");
}
