//! A jar passes through while it comes: no process of mainspring holds it in memory.

use std::fs::File;

use e2e::Host;
use e2e::flink::{ExactlyOnce, Part, padded, programs};
use e2e::process::eventually;

const JAR_BYTES: u64 = 256 << 20;
const MOST_RESIDENT_BYTES: u64 = 128 << 20;

/// The most memory that a process has had at once.
fn peak_resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux says so");
    peak.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}

#[test]
fn a_large_jar_is_never_in_memory() {
    let host = Host::new();
    let jar = padded(&programs(), host.scratch(), JAR_BYTES);
    assert!(File::open(&jar).unwrap().metadata().unwrap().len() > JAR_BYTES);
    host.run(&[
        "run",
        "-d",
        "--application-id",
        ExactlyOnce::ID,
        "-c",
        "Misbehaving",
        &jar,
        "forever",
    ])
    .exits(0);
    eventually("the job runs", || {
        let job = host.status(ExactlyOnce::ID)["jobs"][0].clone();
        job["state"] == "JOB_STATE_RUNNING" && job["progress"]["waiting"] != true
    });
    let services = ["artifact-fetcher", "jobgraph-store", "lifecycle"].map(Part::Service);
    for part in [Part::Front, Part::Contender, Part::Jobs].into_iter().chain(services) {
        let peak = peak_resident_bytes(part.pid(&host).expect("it runs"));
        assert!(peak < MOST_RESIDENT_BYTES, "{part:?} took {} MiB", peak >> 20);
    }
    host.run(&["cancel", ExactlyOnce::ID, "--wait"]).exits(3);
    host.down();
}
