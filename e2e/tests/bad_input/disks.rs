//! Disks that are full or cannot be written. Each test runs in a mount namespace of its own, with a small tmpfs where the
//! cache, the record or all of the state would be.

use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::process::eventually;
use e2e::{Host, Running};

use crate::program;

/// Set in the process that runs a test inside its namespace.
const INSIDE: &str = "MAINSPRING_E2E_INSIDE";

/// Runs the test in this process if it has a mount namespace of its own, else runs it in another process that has one.
/// Where namespaces are not permitted the test fails, and says so: unseen is not passed.
fn in_a_namespace(name: &str, test: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return test();
    }
    let executable = std::env::current_exe().unwrap();
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "--"])
        .arg(executable)
        .args(["--exact", &format!("disks::{name}"), "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare (util-linux) is installed");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(
        !stderr.contains("unshare failed"),
        "this needs root, or a kernel that permits mount namespaces: {stderr}"
    );
    assert!(output.status.success() && stdout.contains("1 passed"), "{stdout}\n{stderr}");
}

/// A small file system in memory; unmounted when it is dropped.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: PathBuf, options: &str) -> Self {
        std::fs::create_dir_all(&at).unwrap();
        // As the host makes its directories.
        let options = format!("{options},mode=0700");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(&at));
        Self(at)
    }

    /// Takes all room that is left.
    fn fill(&self) {
        use std::io::Write as _;
        let mut filler = std::fs::File::create(self.filler()).unwrap();
        for size in [1 << 16, 1 << 12, 1] {
            while filler.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn make_room(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run(Command::new("umount").arg("--lazy").arg(&self.0));
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn one(host: &Host) -> String {
    host.file("one.sql", "SELECT 1 AS one;")
}

/// A main() that waits for a file, under way.
fn waiting(host: &Host) -> Running {
    let program =
        program(host, "waits", "echo begun; while [ ! -e \"$1/go\" ]; do sleep 0.02; done; echo done");
    let scratch = host.scratch().to_str().unwrap().to_owned();
    let run = host.start(&["run", "--application-id", "waits", &program, &scratch]);
    eventually("main() has begun", || host.run(&["logs", "waits"]).stdout.contains("begun"));
    run
}

#[test]
fn a_full_cache() {
    in_a_namespace("a_full_cache", || {
        let host = Host::new();
        let disk = Disk::mount(host.state().join("artifact-fetcher"), "size=4m");
        let large = host.scratch().join("large");
        std::fs::write(&large, vec![7; 16 << 20]).unwrap();
        host.run(&["run", "--application-id", "large", "--artifact", large.to_str().unwrap(), &one(&host)])
            .exits(1)
            .says("CACHE_FULL")
            .says(large.to_str().unwrap())
            .says(disk.0.to_str().unwrap())
            .says("help: make room");
        assert_eq!(host.status("large")["clean"], true);
        // What does not fit takes no room from what does.
        host.run(&["run", &one(&host)]).exits(0);
        host.down();
    });
}

#[test]
fn a_full_record_takes_nothing_and_loses_nothing() {
    in_a_namespace("a_full_record_takes_nothing_and_loses_nothing", || {
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
                .says(disk.0.to_str().unwrap())
                .says("help: make room");
        }
        // Whoever only asks is answered, and main() ends while nothing can be recorded.
        assert_eq!(host.status("before")["clean"], true);
        host.run(&["status", "after"]).exits(7);
        let main = host.status("waits")["main"]["pid"].as_u64().unwrap();
        host.file("go", "");
        eventually("main() has ended", || !Path::new(&format!("/proc/{main}/cwd")).exists());
        disk.make_room();
        // It goes on by itself: one end, nothing run twice.
        let run = run.finish().exits(0);
        assert_eq!(run.stdout, "begun\ndone\n");
        assert_eq!(host.status("waits")["main"]["executions"], 1);
        host.run(&["run", "--application-id", "after", &script]).exits(0);
        host.down();
    });
}

#[test]
fn a_read_only_cache() {
    in_a_namespace("a_read_only_cache", || read_only("artifact-fetcher"));
}

#[test]
fn a_read_only_record() {
    in_a_namespace("a_read_only_record", || read_only("jobgraph-store"));
}

/// One service's part of the state is on a read-only mount: the host does not start and says which and why.
fn read_only(service: &str) {
    let host = Host::new();
    let disk = Disk::mount(host.state().join(service), "size=4m,ro");
    host.run(&["run", &one(&host)])
        .exits(5)
        .says("HOST_NOT_REACHABLE")
        .says(disk.0.to_str().unwrap())
        .says("Read-only file system")
        .says("help:");
    host.down();
    drop(disk);
    host.run(&["run", &one(&host)]).exits(0);
}

#[test]
fn a_read_only_state_directory() {
    in_a_namespace("a_read_only_state_directory", || {
        let host = Host::new();
        let disk = Disk::mount(host.state(), "size=4m,ro");
        let script = one(&host);
        for arguments in [&["run", script.as_str()][..], &["list"], &["up"]] {
            host.run(arguments)
                .exits(5)
                .says("HOST_NOT_REACHABLE")
                .says(disk.0.to_str().unwrap())
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
    in_a_namespace("an_output_directory_that_cannot_be_written", || {
        let host = Host::new();
        let disk = Disk::mount(host.scratch().join("out"), "size=1m,ro");
        let script = host.file("copy.sql", "COPY (SELECT 1 AS one) TO 'ones/' STORED AS CSV;");
        host.run(&["run", "--application-id", "copies", "--output", disk.0.to_str().unwrap(), &script])
            .exits(1)
            .says(disk.0.to_str().unwrap())
            .says("Read-only file system")
            .says("help:");
        assert_eq!(host.status("copies")["clean"], true);
        host.down();
    });
}
