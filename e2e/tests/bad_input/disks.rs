//! Disks that are full or cannot be written. Each test runs in a mount namespace of its own, with a
//! small tmpfs where the cache, the record or all of the state would be.

use std::path::Path;

use e2e::disk::{Disk, in_a_namespace};
use e2e::process::eventually;
use e2e::{Host, Running};

use crate::program;

fn one(host: &Host) -> String {
    host.file("one.sql", "SELECT 1 AS one;")
}

/// A running main() that waits for a file.
fn waiting(host: &Host) -> Running {
    let program = program(
        host,
        "waits",
        "echo begun; while [ ! -e \"$1/go\" ]; do sleep 0.02; done; echo done",
    );
    let scratch = host.scratch().to_str().unwrap().to_owned();
    let run = host.start(&["run", "--application-id", "waits", &program, &scratch]);
    eventually("main() has begun", || host.run(&["logs", "waits"]).stdout.contains("begun"));
    run
}

#[test]
fn a_full_cache() {
    in_a_namespace("disks::a_full_cache", || {
        let host = Host::new();
        let disk = Disk::mount(host.state().join("artifact-fetcher"), "size=4m");
        let large = host.scratch().join("large");
        std::fs::write(&large, vec![7; 16 << 20]).unwrap();
        host.run(&[
            "run",
            "--application-id",
            "large",
            "--artifact",
            large.to_str().unwrap(),
            &one(&host),
        ])
        .exits(1)
        .says("CACHE_FULL")
        .says(large.to_str().unwrap())
        .says(disk.path().to_str().unwrap())
        .says("help: make room");
        assert_eq!(host.status("large")["clean"], true);
        // A file that does not fit takes no room from files that do.
        host.run(&["run", &one(&host)]).exits(0);
        host.down();
    });
}

#[test]
fn a_full_record_takes_nothing_and_loses_nothing() {
    in_a_namespace("disks::a_full_record_takes_nothing_and_loses_nothing", || {
        let host = Host::new().with("MAINSPRING_HOST_LINGER", "5m");
        let disk = Disk::mount(host.state().join("jobgraph-store"), "size=24m");
        let script = one(&host);
        host.run(&["run", "--application-id", "before", &script]).exits(0);
        let run = waiting(&host);
        disk.fill();
        for refused in [&["run", "--application-id", "after", &script][..], &["cancel", "waits"]] {
            host.run(refused)
                .exits(6)
                .says("STORE_FULL")
                .says(disk.path().to_str().unwrap())
                .says("help: make room");
        }
        // Questions are still answered, and main() ends while nothing can be recorded.
        assert_eq!(host.status("before")["clean"], true);
        host.run(&["status", "after"]).exits(7);
        let main = host.status("waits")["main"]["pid"].as_u64().unwrap();
        host.file("go", "");
        eventually("main() has ended", || !Path::new(&format!("/proc/{main}/cwd")).exists());
        disk.make_room();
        // The application goes on by itself: one end, nothing run twice.
        let run = run.finish().exits(0);
        assert_eq!(run.stdout, "begun\ndone\n");
        assert_eq!(host.status("waits")["main"]["executions"], 1);
        host.run(&["run", "--application-id", "after", &script]).exits(0);
        host.down();
    });
}

#[test]
fn a_read_only_cache() {
    in_a_namespace("disks::a_read_only_cache", || read_only("artifact-fetcher"));
}

#[test]
fn a_read_only_record() {
    in_a_namespace("disks::a_read_only_record", || read_only("jobgraph-store"));
}

/// One service's part of the state is on a read-only mount: the host does not start, and says which
/// part and why.
fn read_only(service: &str) {
    let host = Host::new();
    let disk = Disk::mount(host.state().join(service), "size=4m,ro");
    host.run(&["run", &one(&host)])
        .exits(5)
        .says("HOST_NOT_REACHABLE")
        .says(disk.path().to_str().unwrap())
        .says("Read-only file system")
        .says("help:");
    host.down();
    drop(disk);
    host.run(&["run", &one(&host)]).exits(0);
}

#[test]
fn a_read_only_state_directory() {
    in_a_namespace("disks::a_read_only_state_directory", || {
        let host = Host::new();
        let disk = Disk::mount(host.state(), "size=4m,ro");
        let script = one(&host);
        for arguments in [&["run", script.as_str()][..], &["list"], &["up"]] {
            host.run(arguments)
                .exits(5)
                .says("HOST_NOT_REACHABLE")
                .says(disk.path().to_str().unwrap())
                .says("Read-only file system")
                .says("help:")
                .says("--state-dir");
        }
        assert!(host.alive().is_empty(), "{:?}", host.alive());
        drop(disk);
        host.run(&["run", &script]).exits(0);
    });
}

#[test]
fn an_output_directory_that_cannot_be_written() {
    in_a_namespace("disks::an_output_directory_that_cannot_be_written", || {
        let host = Host::new();
        let disk = Disk::mount(host.scratch().join("out"), "size=1m,ro");
        let script = host.file("copy.sql", "COPY (SELECT 1 AS one) TO 'ones/' STORED AS CSV;");
        host.run(&[
            "run",
            "--application-id",
            "copies",
            "--output",
            disk.path().to_str().unwrap(),
            &script,
        ])
        .exits(1)
        .says(disk.path().to_str().unwrap())
        .says("Read-only file system")
        .says("help:");
        assert_eq!(host.status("copies")["clean"], true);
        host.down();
    });
}
