//! The metadata of a host are on a real etcd: the same application, the same outcome, whatever dies
//! under it, etcd included.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "support/squares.rs"]
mod squares;

use std::time::Duration;

use e2e::certificates::Authority;
use e2e::etcd::{Cluster, Etcd};
use e2e::process::{eventually, state_of};
use e2e::{Finished, Host, Running};
use squares::{ended_once, kill_under_a_running_application, run_with, start};

/// How long two of three members are gone: many leases, and less than the holder's patience.
const QUORUM_LOST: Duration = Duration::from_secs(60);

/// A host whose metadata are on this etcd.
fn host_on(etcd: &Etcd) -> Host {
    Host::new().with("MAINSPRING_ETCD", format!("http://{}", etcd.address()))
}

#[test]
fn leaders_are_killed() {
    let points = ["runner.before-main-starting", "runner.after-submit", "runner.before-mark-clean"];
    for point in points {
        let etcd = Etcd::start();
        let (host, run) = run_with(host_on(&etcd), point, "kill");
        ended_once(&host, run);
    }
}

#[test]
fn a_host_that_is_started_again_has_the_history() {
    let etcd = Etcd::start();
    let host = host_on(&etcd);
    let run = start(&host).finish();
    ended_once(&host, run);
    // The host has ended, and the next command starts it anew over the same record.
    let listed = host.run(&["list", "--all", "-o", "json"]).exits(0).json();
    assert_eq!(listed["applications"][0]["applicationId"], "squares", "{listed:#}");
}

#[test]
fn the_store_is_killed() {
    let etcd = Etcd::start();
    kill_under_a_running_application(host_on(&etcd), "jobgraph-store");
}

#[test]
fn the_elector_is_killed() {
    let etcd = Etcd::start();
    kill_under_a_running_application(host_on(&etcd), "leader-elector");
}

#[test]
fn etcd_is_killed_and_comes_back() {
    let mut etcd = Etcd::start();
    let (host, marker) = host_on(&etcd).with_failpoint("runner.after-submit", "hold");
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
        .with_failpoint("runner.after-submit", "hold");
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
    let program = host.program("patient", "exec sleep 1000");
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

#[test]
fn a_host_shows_etcd_its_certificate() {
    let authority = Authority::new("the CA");
    let etcd = Etcd::start_secured(&authority, &authority.sign("etcd", "127.0.0.1"));
    let own = authority.sign("host", "host.test");
    let mut host = Host::new().with("MAINSPRING_ETCD", format!("https://{}", etcd.address()));
    for (variable, file) in [
        ("MAINSPRING_ETCD_CA", authority.file()),
        ("MAINSPRING_ETCD_CERT", own.certificate),
        ("MAINSPRING_ETCD_KEY", own.key),
    ] {
        host = host.with(variable, file.to_str().unwrap());
    }
    let run = start(&host).finish();
    ended_once(&host, run);
}

#[test]
fn a_host_tells_its_password_to_etcd_alone() {
    let etcd = Etcd::start_with(&["--bcrypt-cost", "4"]);
    etcd.ask_for_user("the-host", "correct horse");
    let host = host_on(&etcd).with("MAINSPRING_ETCD_USER", "the-host");
    let password = host.file("password", "wrong horse\n");
    let host = host.with("MAINSPRING_ETCD_PASSWORD_FILE", password.clone());
    let refused = host.run(&["list"]).says("the password of etcd's user the-host in");
    assert!(!refused.stderr.contains("wrong horse"), "{}", refused.stderr);
    std::fs::write(&password, "correct horse\n").unwrap();
    let run = start(&host).finish();
    ended_once(&host, run);
    for log in ["up.log", "jobgraph-store/log", "leader-elector/log"] {
        let text = std::fs::read_to_string(host.state().join(log)).unwrap();
        assert!(!text.contains("horse"), "{log} tells a password:\n{text}");
    }
}

/// Runs a statement on a host, and ends the host.
fn run_one(host: &Host) {
    let script = host.file("one.sql", "SELECT 1 AS one;");
    host.run(&["run", &script]).exits(0);
    host.down();
}

/// Lists the applications of a host whose etcd is another one than before, or none.
fn list_with(host: &Host, etcd: Option<&Etcd>) -> Finished {
    let mut command = host.command(&["list"]);
    match etcd {
        Some(etcd) => command.env("MAINSPRING_ETCD", etcd.address()),
        None => command.env_remove("MAINSPRING_ETCD"),
    };
    Running::start(command).finish()
}

#[test]
fn a_record_in_a_file_is_not_left_for_one_on_etcd() {
    let (host, etcd) = (Host::new(), Etcd::start());
    run_one(&host);
    list_with(&host, Some(&etcd)).says("is in the file").says("leave MAINSPRING_ETCD out");
}

#[test]
fn a_record_on_etcd_is_not_left_for_one_in_a_file_or_on_another_etcd() {
    let (etcd, another) = (Etcd::start(), Etcd::start());
    let host = host_on(&etcd);
    run_one(&host);
    list_with(&host, None).says("is on etcd below /mainspring");
    list_with(&host, Some(&another)).says("name the right members");
}

#[test]
fn payloads_of_a_record_on_etcd_are_not_taken_for_those_of_a_new_one() {
    let etcd = Etcd::start();
    let host = host_on(&etcd);
    run_one(&host);
    let place = host.state().join("jobgraph-store/record.etcd");
    let kept = std::fs::read(&place).unwrap();
    std::fs::remove_file(&place).unwrap();
    host.run(&["list"]).says("record.etcd is gone").says("restore it from a copy");
    std::fs::write(&place, kept).unwrap();
    host.run(&["list"]).exits(0);
}

#[test]
fn a_second_state_directory_needs_a_prefix_of_its_own() {
    let etcd = Etcd::start();
    run_one(&host_on(&etcd));
    let second = host_on(&etcd);
    second.run(&["list"]).says("belongs to the host").says("MAINSPRING_ETCD_PREFIX");
    let second = second.with("MAINSPRING_ETCD_PREFIX", "/second");
    second.run(&["list"]).exits(0);
}
