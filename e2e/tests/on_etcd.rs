//! The metadata of a host are on a real etcd: the same application, the same outcome, whatever dies
//! under it, etcd included.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "support/squares.rs"]
mod squares;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use e2e::Host;
use e2e::etcd::{Cluster, Etcd};
use e2e::process::{eventually, signal};
use squares::{ended_once, run_with, start};

/// How long two of three members are gone: many leases, and less than the holder's patience.
const QUORUM_LOST: Duration = Duration::from_secs(45);

/// A host whose metadata are on this etcd.
fn host_on(etcd: &Etcd) -> Host {
    Host::new().with("MAINSPRING_ETCD", format!("http://{}", etcd.address()))
}

#[test]
fn leaders_are_killed_and_the_next_host_on_the_same_etcd_has_the_history() {
    let etcd = Etcd::start();
    for point in ["runner.before-main", "runner.job-running", "runner.before-clean"] {
        let etcd = Etcd::start();
        let (host, run) = run_with(host_on(&etcd), point, "kill");
        ended_once(&host, run);
    }
    let host = host_on(&etcd);
    let run = start(&host).finish();
    ended_once(&host, run);
    // The host has ended, and the next command starts it anew over the same record.
    let listed = host.run(&["list", "--all", "-o", "json"]).exits(0).json();
    assert_eq!(listed["applications"][0]["applicationId"], "squares", "{listed:#}");
}

/// Kills one process of the host while the leader is held at a point, then lets it go on.
fn kill_under_a_running_application(service: &str) {
    let etcd = Etcd::start();
    let (host, marker) = host_on(&etcd).with_failpoint("runner.job-running", "hold");
    let run = start(&host);
    eventually("the leader is held", || marker.exists());
    let pid = host.pid_of(service).expect("host.json names it");
    signal(pid, "KILL");
    eventually("it is gone", || !Path::new(&format!("/proc/{pid}/cwd")).exists());
    std::fs::write(marker.with_extension("go"), "").unwrap();
    ended_once(&host, run.finish());
}

#[test]
fn the_store_is_killed() {
    kill_under_a_running_application("jobgraph-store");
}

#[test]
fn the_elector_is_killed() {
    kill_under_a_running_application("leader-elector");
}

#[test]
fn etcd_is_killed_and_comes_back() {
    let mut etcd = Etcd::start();
    let (host, marker) = host_on(&etcd).with_failpoint("runner.job-running", "hold");
    let run = start(&host);
    eventually("the leader is held", || marker.exists());
    etcd.restart();
    std::fs::write(marker.with_extension("go"), "").unwrap();
    ended_once(&host, run.finish());
}

/// Each member in turn is gone for a while: the one that the host speaks to, and the one that leads
/// among the members.
#[test]
fn any_member_of_three_may_be_killed() {
    let mut cluster = Cluster::start();
    let (host, marker) = Host::new()
        .with("MAINSPRING_ETCD", cluster.addresses())
        .with_failpoint("runner.job-running", "hold");
    let run = start(&host);
    eventually("the leader is held", || marker.exists());
    for number in 0..3 {
        cluster.member(number).kill();
        eventually("the record answers", || {
            host.run(&["status", "squares", "-o", "json"]).code == 0
        });
        cluster.restart();
    }
    cluster.member(0).kill();
    std::fs::write(marker.with_extension("go"), "").unwrap();
    ended_once(&host, run.finish());
}

/// Two of three members are gone for many leases: main() is frozen, and goes on under the same
/// epoch, because etcd keeps a lease while it cannot decide.
#[test]
fn a_quorum_that_is_lost_costs_no_take_over() {
    let mut cluster = Cluster::start();
    let host = Host::new().with("MAINSPRING_ETCD", cluster.addresses());
    let program = host.file("patient", "#!/bin/sh\nexec sleep 1000\n");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let arguments = ["run", "-d", "--application-id", "patient", "--contenders", "2", &program];
    host.run(&arguments).exits(0);
    host.run(&["wait", "patient", "--for", "running"]).exits(0);
    let before = host.status("patient");
    let main = u32::try_from(before["main"]["pid"].as_u64().unwrap()).unwrap();

    cluster.member(0).kill();
    cluster.member(1).kill();
    eventually("main() is frozen", || state_of(main) == Some('T'));
    std::thread::sleep(QUORUM_LOST);
    assert_eq!(state_of(main), Some('T'), "it is kept, frozen");
    cluster.restart();

    eventually("main() goes on", || state_of(main) == Some('S'));
    let after = host.status("patient");
    for field in ["epoch", "leader", "leaderPid", "ordinal"] {
        assert_eq!(after["leadership"][field], before["leadership"][field], "{field}: {after:#}");
    }
    assert_eq!(after["main"]["executions"], 1, "{after:#}");
    host.run(&["cancel", "patient", "--wait"]).exits(3);
}

/// The state of a process, such as `S` or `T`; `None` once it is gone.
fn state_of(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

#[test]
fn a_state_directory_keeps_to_where_its_record_is() {
    let etcd = Etcd::start();
    let in_a_file = Host::new();
    let script = in_a_file.file("one.sql", "SELECT 1 AS one;");
    in_a_file.run(&["run", &script]).exits(0);
    in_a_file.down();
    let mut moved = in_a_file.command(&["list"]);
    moved.env("MAINSPRING_ETCD", etcd.address());
    e2e::Running::start(moved).finish().says("is in the file").says("leave MAINSPRING_ETCD out");

    let on_etcd = host_on(&etcd);
    let script = on_etcd.file("one.sql", "SELECT 1 AS one;");
    on_etcd.run(&["run", &script]).exits(0);
    on_etcd.down();
    let mut moved = on_etcd.command(&["list"]);
    moved.env_remove("MAINSPRING_ETCD");
    e2e::Running::start(moved).finish().says("is on etcd below /mainspring");
    let another = Etcd::start();
    let mut moved = on_etcd.command(&["list"]);
    moved.env("MAINSPRING_ETCD", another.address());
    e2e::Running::start(moved).finish().says("name the right members");

    let second = host_on(&etcd);
    second.run(&["list"]).says("belongs to the host").says("MAINSPRING_ETCD_PREFIX");
    let second = second.with("MAINSPRING_ETCD_PREFIX", "/second");
    second.run(&["list"]).exits(0);
}
