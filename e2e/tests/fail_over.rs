//! The leader hangs, or main(), a service or `up` dies, under a running application. Each time
//! there is one end and one result, an ended job is not run again, and nothing is left over. Deaths right
//! before and right after each arrow of a run are in `arrows.rs`.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "support/squares.rs"]
mod squares;

use e2e::Host;
use e2e::process::{eventually, signal};
use squares::{ended_once, kill_under_a_running_application, run_with};

#[test]
fn a_leader_that_hangs_is_replaced_and_its_main_is_frozen() {
    let (host, run) = run_with(Host::new(), "runner.after-submit", "stop");
    ended_once(&host, run);
}

#[test]
fn an_artifact_has_the_same_path_in_every_attempt() {
    let (host, marker) = Host::new().with_failpoint("runner.after-submit", "kill");
    let program = e2e::host::binary("delays");
    let data = e2e::example("flights/flights-2013-01.csv");
    let program = program.to_str().unwrap();
    let arguments = [
        "run",
        "--application-id",
        "delays",
        "--contenders",
        "2",
        "--artifact",
        data.as_str(),
        program,
    ];
    let run = host.run(&arguments).exits(0);
    assert!(marker.exists());
    assert!(run.stderr.contains("2nd leader"), "{}", run.stderr);
    for job in host.status("delays")["jobs"].as_array().unwrap() {
        assert_eq!(job["divergedDigest"], "", "{job}");
    }
}

#[test]
fn the_store_is_killed() {
    kill_under_a_running_application(Host::new(), "jobgraph-store");
}

#[test]
fn the_elector_is_killed() {
    kill_under_a_running_application(Host::new(), "leader-elector");
}

#[test]
fn the_fetcher_is_killed() {
    kill_under_a_running_application(Host::new(), "artifact-fetcher");
}

#[test]
fn lifecycle_is_killed() {
    kill_under_a_running_application(Host::new(), "lifecycle");
}

#[test]
fn up_is_killed() {
    kill_under_a_running_application(Host::new(), "up");
}

/// The kernel's OOM killer kills a main() like this: the running job goes on, and the main() that
/// is executed again attaches to it.
#[test]
fn a_main_that_is_killed_is_executed_again_and_no_job_notices() {
    let host = Host::new().with("MAINSPRING_HOST_LINGER", "1m");
    // The failpoint holds before main() is answered, so that main() still waits when it is killed.
    let (host, marker) = host.with_failpoint("runner.before-publish", "hold");
    let script = host.file("squares.sql", squares::SCRIPT);
    let out = host.scratch().join("out");
    let run = host.start(&[
        "run",
        "--application-id",
        "killed",
        "--output",
        out.to_str().unwrap(),
        &script,
    ]);
    eventually("the first job has ended, and main() is not told yet", || marker.exists());
    let main = || host.status("killed")["main"].clone();
    let first = main()["pid"].as_u64().unwrap();
    signal(u32::try_from(first).unwrap(), "KILL");
    eventually("the kill is in the record", || main()["kills"] == 1);
    std::fs::write(marker.with_added_extension("go"), "").unwrap();
    let run = run.finish().exits(0);
    run.says("killed by signal 9 (").says("is executed again").says("executed again (pid");
    let status = host.status("killed");
    assert_eq!((&main()["executions"], &main()["kills"]), (&2.into(), &1.into()));
    assert_eq!(status["cluster"]["incarnation"], "1");
    let submissions: Vec<_> =
        status["jobs"].as_array().unwrap().iter().map(|job| &job["submissions"]).collect();
    assert_eq!(submissions, [1, 1]);
    host.down();
}

/// A user sees which contender would take over, also after one has taken over.
#[test]
fn status_names_who_stands_by() {
    let host = Host::new();
    let program = host.program("sleeper", "exec sleep 300");
    let run = host.start(&["run", "--application-id", "sleeper", "--contenders", "2", &program]);
    let leadership = || {
        let status = host.run(&["status", "sleeper", "-o", "json"]);
        if status.code == 0 { status.json()["leadership"].clone() } else { serde_json::Value::Null }
    };
    let stands_by = |leader: &str| {
        let known = leadership();
        let other = if leader == "runner-0" { "runner-1" } else { "runner-0" };
        known["leader"] == leader && known["standbys"] == serde_json::json!([other])
    };
    eventually("one contender leads and the other one stands by", || {
        stands_by("runner-0") || stands_by("runner-1")
    });
    let first = leadership();
    signal(u32::try_from(first["leaderPid"].as_u64().unwrap()).unwrap(), "KILL");
    let next = if first["leader"] == "runner-0" { "runner-1" } else { "runner-0" };
    eventually("the other one leads, and the first, started again, stands by", || stands_by(next));
    host.run(&["cancel", "sleeper"]).exits(0);
    run.finish().exits(3);
    host.down();
}
