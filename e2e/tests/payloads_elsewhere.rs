//! The payloads of a host are in a bucket of a real S3 service, or on a mount that hosts share: the
//! same application, the same outcome, whatever dies under it, the service included.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "support/squares.rs"]
mod squares;

use std::path::Path;

use e2e::Host;
use e2e::process::eventually;
use e2e::s3::S3;
use squares::{ended_once, kill_under_a_running_application, run_with, start};

/// A host whose payloads are in the bucket of this service.
fn host_on(s3: &S3) -> Host {
    s3.variables().into_iter().fold(Host::new(), |host, (name, value)| host.with(name, value))
}

/// A host whose payloads are on this mount.
fn host_at(mount: &Path) -> Host {
    Host::new().with("MAINSPRING_BLOBS", format!("file://{}", mount.display()))
}

/// How many payloads lie below this directory.
fn payloads_below(directory: &Path) -> usize {
    let entries = |directory: &Path| std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries(directory)
        .filter(|below| below.file_name().len() == 2)
        .map(|below| entries(&below.path()).count())
        .sum()
}

/// Runs one application, and reads its result through a host that was started anew.
fn runs_and_is_read_again(host: &Host) {
    let script = host.file("one.sql", "SELECT 41 + 1 AS answer;");
    host.run(&["run", "--application-id", "one", &script]).exits(0);
    host.down();
    let printed = host.run(&["result", "one", "--as", "csv"]).exits(0).stdout;
    assert!(printed.contains("42"), "{printed}");
    let kept = host.state().join("jobgraph-store/payloads");
    assert_eq!(payloads_below(&kept), 0, "payloads are in the state directory");
}

#[test]
fn leaders_are_killed_and_the_payloads_are_in_the_bucket() {
    let s3 = S3::start();
    for point in ["runner.before-main-starting", "runner.after-submit"] {
        let s3 = S3::start();
        let (host, run) = run_with(host_on(&s3), point, "kill");
        ended_once(&host, run);
    }
    runs_and_is_read_again(&host_on(&s3));
    assert!(payloads_below(&s3.objects().join("mainspring")) > 0);
}

#[test]
fn the_store_is_killed_and_finds_its_payloads_in_the_bucket() {
    let s3 = S3::start();
    kill_under_a_running_application(host_on(&s3), "jobgraph-store");
}

#[test]
fn the_service_is_killed_and_comes_back() {
    let mut s3 = S3::start();
    let (host, marker) = host_on(&s3).with_failpoint("runner.after-submit", "hold");
    let run = start(&host);
    eventually("the leader is held", || marker.exists());
    s3.kill();
    std::fs::write(marker.with_extension("go"), "").unwrap();
    s3.restart();
    ended_once(&host, run.finish());
}

#[test]
fn payloads_are_on_a_mount_of_one_record() {
    let mount = tempfile::tempdir().unwrap();
    let host = host_at(mount.path());
    runs_and_is_read_again(&host);
    assert!(payloads_below(mount.path()) > 0);
    host.down();
    let mut moved = host.command(&["list"]);
    moved.env_remove("MAINSPRING_BLOBS");
    let said = e2e::Running::start(moved).finish().says("the payloads of this record are at");
    assert!(said.stderr.contains("MAINSPRING_BLOBS"), "{}", said.stderr);
    // Another record would sweep the payloads of this one.
    host_at(mount.path()).run(&["list"]).says("belong to another record");
}

#[test]
fn a_place_that_cannot_be_used_is_refused_with_the_way_out() {
    let s3 = S3::start();
    let wrong = host_on(&s3).with("AWS_SECRET_ACCESS_KEY", "another");
    wrong.run(&["list"]).says("the credentials have to be right");
    let gone = host_on(&s3).with("MAINSPRING_BLOBS", "s3://gone");
    gone.run(&["list"]).says("is there such a bucket");
    host_at(&gone.scratch().join("absent")).run(&["list"]).says("there is no directory");
}
