//! What a host gets whose etcd or whose place of payloads is not as it has to be: a clear error
//! with the way out, the same from `doctor` before anything is started, and nothing lost once the
//! cause is mended.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::fs;
use std::path::Path;

use e2e::Host;
use e2e::etcd::Etcd;
use e2e::process::eventually;
use e2e::s3::S3;

/// The key of the head of the application `one`, in base 64:
/// `/mainspring/record/d/a/one/head`.
const HEAD: &str = "L21haW5zcHJpbmcvcmVjb3JkL2QvYS9vbmUvaGVhZA==";

/// A host whose record is on this etcd.
fn host_on(etcd: &Etcd) -> Host {
    Host::new().with("MAINSPRING_ETCD", format!("http://{}", etcd.address()))
}

/// A host whose record is on this etcd, and whose payloads are on this mount.
fn host_at(etcd: &Etcd, mount: &Path) -> Host {
    host_on(etcd).with("MAINSPRING_BLOBS", format!("file://{}", mount.display()))
}

/// A host whose payloads are in the bucket of this service.
fn host_with(s3: &S3) -> Host {
    s3.variables().into_iter().fold(Host::new(), |host, (name, value)| host.with(name, value))
}

/// Runs an application to its end, and ends the host.
#[track_caller]
fn run(host: &Host, id: &str) {
    let script = host.file("one.sql", "SELECT 41 + 1 AS answer;");
    host.run(&["run", "--application-id", id, &script]).exits(0);
    host.down();
}

/// What `doctor` says about one thing, in which it has to find a problem.
#[track_caller]
fn problem(host: &Host, what: &str) -> String {
    let doctor = host.run(&["doctor", "-o", "json"]).exits(1).json();
    let findings = doctor["findings"].as_array().unwrap();
    let found = findings.iter().find(|finding| finding["what"] == what);
    let found = found.unwrap_or_else(|| panic!("{what} is not looked at: {doctor:#}"));
    found["problem"].as_str().unwrap_or_else(|| panic!("{found:#}")).to_owned()
}

/// Checks that `doctor` names the cause in this row, that a command which needs the host is refused
/// for it, and that both say each of these.
#[track_caller]
fn is_refused(host: &Host, row: &str, says: &[&str]) {
    let problem = problem(host, row);
    let said = host.run(&["list"]).exits(5).says("error[HOST_NOT_REACHABLE]").says("help:");
    for text in says {
        assert!(problem.contains(text), "doctor does not say {text:?}: {problem}");
        assert!(said.stderr.contains(text), "{text:?} is not said: {}", said.stderr);
    }
    eventually("nothing of the host is alive", || host.alive().is_empty());
}

/// Checks that what there was is there, result included, that `doctor` finds nothing, and that the
/// host runs further applications.
#[track_caller]
fn goes_on(host: &Host) {
    host.run(&["doctor"]).exits(0);
    assert_eq!(host.status("one")["outcome"], "OUTCOME_SUCCEEDED");
    let printed = host.run(&["result", "one", "--as", "csv"]).exits(0).stdout;
    assert!(printed.contains("42"), "{printed}");
    run(host, "further");
}

#[test]
fn an_etcd_that_is_not_there() {
    let mut etcd = Etcd::start();
    let host = host_on(&etcd);
    run(&host, "one");
    etcd.kill();
    is_refused(&host, "etcd", &["etcd does not answer"]);
    let named = problem(&host, "etcd");
    assert!(named.contains(etcd.address()) && named.contains("MAINSPRING_ETCD"), "{named}");
    etcd.restart();
    goes_on(&host);
}

#[test]
fn a_user_that_may_not_write_and_a_password_that_is_wrong() {
    let etcd = Etcd::start_with(&["--bcrypt-cost", "4"]);
    etcd.ask_for_users(&[("writer", "w", "READWRITE"), ("reader", "r", "READ")]);
    let as_user = |host: Host, name: &str, password: &str| {
        let file = host.file("password", password);
        host.with("MAINSPRING_ETCD_USER", name).with("MAINSPRING_ETCD_PASSWORD_FILE", file)
    };
    let host = as_user(host_on(&etcd), "writer", "w");
    run(&host, "one");
    let host = as_user(host, "reader", "r");
    is_refused(&host, "record", &["the user reader", "permission denied", "grant-permission"]);
    let host = as_user(host, "writer", "of another time");
    is_refused(&host, "etcd", &["the password of etcd's user writer", "put the right one there"]);
    // A password that is mended needs no other setting.
    host.file("password", "w");
    goes_on(&host);
}

#[test]
fn another_etcd_and_a_prefix_of_another_host() {
    let (etcd, another) = (Etcd::start(), Etcd::start());
    let host = host_on(&etcd);
    run(&host, "one");
    let host = host.with("MAINSPRING_ETCD", format!("http://{}", another.address()));
    is_refused(&host, "record", &["name the right members", "is on etcd cluster"]);
    let host = host.with("MAINSPRING_ETCD", format!("http://{}", etcd.address()));
    let second = host_on(&etcd);
    is_refused(&second, "record", &["belongs to the host", "MAINSPRING_ETCD_PREFIX"]);
    run(&second.with("MAINSPRING_ETCD_PREFIX", "/second"), "one");
    goes_on(&host);
}

#[test]
fn a_record_that_has_an_entry_of_a_newer_build() {
    let etcd = Etcd::start();
    let host = host_on(&etcd);
    run(&host, "one");
    let written = etcd.value(HEAD).unwrap();
    etcd.put(HEAD, &of_a_newer_build(&written));
    let named = problem(&host, "record");
    assert!(named.contains("a/one/head") && named.contains("run that build"), "{named}");
    host.run(&["status", "one"]).exits(6).says("HOST_INCOMPATIBLE").says("run the build");
    host.down();
    etcd.put(HEAD, &written);
    goes_on(&host);
}

/// The value as a newer build might write it: its first byte, which is the version, is 2 in place
/// of 1. In base 64 the second letter is 16 further then.
fn of_a_newer_build(value: &str) -> String {
    const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let at = LETTERS.find(&value[1..2]).unwrap() + 16;
    format!("{}{}{}", &value[..1], &LETTERS[at..=at], &value[2..])
}

/// etcd goes back under a host that had gone on: the leader and the cluster of then may still be at
/// work, so the record is not gone on with until that is said.
#[test]
fn an_etcd_that_was_restored_from_a_backup() {
    let mut etcd = Etcd::start();
    let (host, marker) = host_on(&etcd).with_failpoint("runner.after-submit", "hold");
    let (script, out) = (host.file("squares.sql", SCRIPT), host.scratch().join("out"));
    let to = out.to_str().unwrap();
    host.run(&["run", "-d", "--application-id", "squares", "--output", to, &script]).exits(0);
    eventually("the job runs", || marker.exists());
    etcd.back_up();
    let note = host.state().join("jobgraph-store/record.seen");
    let seen = || fs::read_to_string(&note).unwrap_or_default();
    let before = seen();
    let one = host.file("one.sql", "SELECT 1 AS one;");
    host.run(&["run", "--application-id", "later", &one]).exits(0);
    eventually("the store has noted how far the record has come", || seen() != before);
    host.down();

    etcd.go_back();
    let says = ["is an earlier one than this host has seen", "restore --etcd-restored"];
    is_refused(&host, "record", &says);
    host.run(&["restore", "--etcd-restored"]).exits(0).says("the record goes on from there");
    host.run(&["wait", "squares", "--for", "clean"]).exits(0);
    let status = host.status("squares");
    assert_eq!(status["outcome"], "OUTCOME_SUCCEEDED", "{status:#}");
    assert_eq!(status["main"]["executions"], 2, "{status:#}");
    host.run(&["status", "later"]).exits(7);
    host.down();
    host.run(&["doctor"]).exits(0);
}

/// Three rows, in a file.
const SCRIPT: &str = "\
-- job: squares
COPY (SELECT value, value * value AS square FROM (VALUES (1), (2), (3)) AS t(value)) TO 'squares/' STORED AS PARQUET;
";

#[test]
fn a_bucket_that_does_not_take_the_host() {
    let mut s3 = S3::start();
    let host = host_with(&s3);
    run(&host, "one");
    let row = "place of payloads";
    let [(blobs, bucket), _, _, (secret, right)] = s3.variables();
    let host = host.with(secret, "another");
    is_refused(&host, row, &["the credentials have to be right"]);
    let host = host.with(secret, right).with(blobs, "s3://gone/mainspring");
    is_refused(&host, row, &["is there such a bucket"]);
    let host = host.with(blobs, bucket);
    s3.kill();
    is_refused(&host, row, &[]);
    s3.restart();
    goes_on(&host);
}

#[test]
fn a_mount_that_is_absent_or_another_one() {
    let (etcd, root) = (Etcd::start(), tempfile::tempdir().unwrap());
    let (mount, away) = (root.path().join("mount"), root.path().join("away"));
    fs::create_dir(&mount).unwrap();
    let host = host_at(&etcd, &mount);
    run(&host, "one");
    let row = "place of payloads";
    fs::rename(&mount, &away).unwrap();
    is_refused(&host, row, &["there is no directory", mount.to_str().unwrap()]);
    fs::create_dir(&mount).unwrap();
    is_refused(&host, row, &["a mount is absent, or the place was emptied"]);
    fs::remove_dir_all(&mount).unwrap();
    fs::rename(&away, &mount).unwrap();
    let named = host.with("MAINSPRING_BLOBS", format!("file://{}", root.path().display()));
    is_refused(&named, row, &["name that place with MAINSPRING_BLOBS"]);
    goes_on(&named.with("MAINSPRING_BLOBS", format!("file://{}", mount.display())));
}
