//! The elector is away for longer than a lease: main() is frozen in the meantime, and then goes on
//! under the same epoch.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::time::{Duration, Instant};

use e2e::Host;
use e2e::process::{eventually, signal, state_of};

/// The embedded elector's lease.
const LEASE: Duration = Duration::from_secs(2);

#[test]
fn an_elector_that_is_away_for_two_and_a_half_leases_costs_no_take_over() {
    let host = Host::new();
    let script = "echo started >> \"$MAINSPRING_OUTPUT_DIR.starts\"\nexec sleep 1000";
    let program = host.program("patient", script);
    let out = host.scratch().join("out");
    let out = out.to_str().unwrap();
    let arguments = [
        "run",
        "-d",
        "--application-id",
        "patient",
        "--contenders",
        "2",
        "--output",
        out,
        &program,
    ];
    host.run(&arguments).exits(0);
    host.run(&["wait", "patient", "--for", "running"]).exits(0);
    let before = host.status("patient");
    let main = u32::try_from(before["main"]["pid"].as_u64().unwrap()).unwrap();

    let (up, elector) = (host.pid_of("up").unwrap(), host.pid_of("leader-elector").unwrap());
    // `up` is stopped, so that it does not start the elector again for now.
    signal(up, "STOP");
    signal(elector, "KILL");
    let killed = Instant::now();
    eventually("main() is frozen", || state_of(main) == Some('T'));
    eventually("two and a half leases have passed", || killed.elapsed() > LEASE * 5 / 2);
    assert_eq!(state_of(main), Some('T'), "it is kept, frozen");
    signal(up, "CONT");

    eventually("main() goes on", || state_of(main) == Some('S'));
    eventually("the elector is back", || {
        host.pid_of("leader-elector").is_some_and(|pid| pid != elector)
    });
    let after = host.status("patient");
    for field in ["epoch", "leader", "leaderPid", "ordinal"] {
        assert_eq!(after["leadership"][field], before["leadership"][field], "{field}: {after:#}");
    }
    assert_eq!(after["main"]["pid"], main, "{after:#}");
    assert_eq!(after["main"]["executions"], 1, "{after:#}");
    assert_eq!(std::fs::read_to_string(format!("{out}.starts")).unwrap(), "started\n");
    host.run(&["cancel", "patient", "--wait"]).exits(3);
}
