//! An application that cannot be asked is STALE, with the last known state and a growing age; and a
//! leader that hangs has its main() frozen.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use e2e::Host;
use e2e::process::{eventually, signal, state_of};

fn age(status: &serde_json::Value) -> u64 {
    status["observation"]["ageMillis"].as_str().unwrap().parse().unwrap()
}

#[test]
fn a_leader_that_hangs_is_stale_and_its_main_is_frozen_until_somebody_leads() {
    let host = Host::new();
    let program = host.file("wait", "#!/bin/sh\nexec sleep 1000\n");
    std::process::Command::new("chmod").args(["+x", &program]).status().unwrap();
    host.run(&["run", "-d", "--application-id", "hung", &program]).exits(0);
    host.run(&["wait", "hung", "--for", "running"]).exits(0);

    let before = host.status("hung");
    assert_eq!(before["observation"]["stale"], false, "{before:#}");
    let leader = u32::try_from(before["leadership"]["leaderPid"].as_u64().unwrap()).unwrap();
    let main = u32::try_from(before["main"]["pid"].as_u64().unwrap()).unwrap();
    signal(leader, "STOP");

    eventually("main() is frozen", || state_of(main) == Some('T'));
    eventually("the leader is called stale", || {
        host.status("hung")["observation"]["stale"] == true
    });
    let first = host.status("hung");
    assert_eq!(first["phase"], "PHASE_RUNNING", "the last known state: {first:#}");
    assert!(age(&first) >= 2000, "{first:#}");
    let second = host.status("hung");
    assert!(age(&second) > age(&first), "the age grows: {} after {}", age(&second), age(&first));
    let table = host.run(&["status", "hung"]).exits(0);
    assert!(table.stdout.contains("STALE"), "{}", table.stdout);

    signal(leader, "CONT");
    eventually("a contender leads again", || host.status("hung")["observation"]["stale"] == false);
    host.run(&["cancel", "hung", "--wait"]).exits(3);
    assert_eq!(state_of(main), None, "the frozen main() has ended");
}
