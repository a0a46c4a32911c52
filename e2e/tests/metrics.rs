//! What a dashboard reads of a host: one page, over all of its processes.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use e2e::process::eventually;
use e2e::server::free_address;
use e2e::{Host, example, http};

/// The page of a host; empty while it does not answer.
fn page(address: &str) -> String {
    http::ask(address, "GET", "/metrics").map(|answer| answer.body).unwrap_or_default()
}

/// The sum of a family's samples that have all of these labels.
fn sum(page: &str, family: &str, labels: &[&str]) -> f64 {
    let samples = page.lines().filter(|line| {
        line.strip_prefix(family).is_some_and(|rest| rest.starts_with(['{', ' ']))
            && labels.iter().all(|label| line.contains(label))
    });
    samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[test]
fn one_page_has_the_numbers_of_every_process_of_the_host() {
    let address = free_address();
    let host = Host::new()
        .with("MAINSPRING_HOST_LINGER", "60s")
        .with("MAINSPRING_METRICS_LISTEN", address.clone());
    host.run(&["run", &example("flights/carriers.sql")]).exits(0);
    let shown = page(&address);
    for service in ["jobgraph-store", "leader-elector", "artifact-fetcher", "lifecycle"] {
        let label = format!("service_name=\"{service}\"");
        assert_eq!(sum(&shown, "mainspring_service_answers", &[&label]), 1.0, "{shown}");
        let calls = sum(&shown, "mainspring_rpc_duration_seconds_count", &[&label]);
        assert!(calls > 0.0, "{service} counts no call\n{shown}");
    }
    assert_eq!(sum(&shown, "mainspring_elections_total", &["after=\"none\""]), 1.0, "{shown}");
    // A call whose answer is late is made again, so a busy machine counts it twice.
    let begun = ["/BeginAttempt\"", "rpc_code=\"Ok\""];
    assert!(sum(&shown, "mainspring_rpc_duration_seconds_count", &begun) >= 1.0, "{shown}");
    let committed = ["outcome=\"committed\""];
    assert!(sum(&shown, "mainspring_store_commit_duration_seconds_count", &committed) > 3.0);
    assert_eq!(sum(&shown, "mainspring_processes", &["kind=\"cluster\""]), 0.0, "{shown}");
    let limit = sum(&shown, "mainspring_cache_size_bytes", &["of=\"limit\""]);
    assert!(limit > sum(&shown, "mainspring_cache_size_bytes", &["of=\"held\""]), "{shown}");
    assert!(shown.contains("\nmainspring_observation_age_seconds{"), "{shown}");
    assert!(!shown.contains("carriers"), "a label names an application\n{shown}");
    let families: Vec<&str> = shown.lines().filter(|line| line.starts_with("# TYPE")).collect();
    let mut once = families.clone();
    once.dedup();
    assert_eq!(families, once, "Prometheus refuses a family that stands there twice");

    // A service that is killed is missed at once, and is back when its supervisor has started it.
    let store = host.pid_of("jobgraph-store").unwrap();
    e2e::process::signal(store, "KILL");
    eventually("the restart is counted", || {
        let restarts = sum(&page(&address), "mainspring_service_restarts_total", &[]);
        restarts >= 1.0
    });
    assert_eq!(http::ask(&address, "GET", "/").unwrap().status, 404);
}

#[test]
fn an_address_that_is_taken_is_refused_by_name() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let host = Host::new();
    let refused = host.run(&["up", "--metrics-listen", &address]).exits(2);
    refused.says("--metrics-listen");
}

#[test]
fn the_page_shows_what_lives_and_which_leader_is_silent() {
    let address = free_address();
    let host = Host::new()
        .with("MAINSPRING_HOST_LINGER", "60s")
        .with("MAINSPRING_METRICS_LISTEN", address.clone());
    let program = host.program("patient", "exec sleep 1000");
    host.run(&["run", "-d", "--application-id", "patient", &program]).exits(0);
    let number = |family: &str, labels: &[&str]| sum(&page(&address), family, labels);
    for kind in ["kind=\"contender\"", "kind=\"cluster\""] {
        eventually("its processes are counted", || number("mainspring_processes", &[kind]) >= 1.0);
    }
    let silence = || number("mainspring_observation_age_seconds", &[]);
    eventually("its leader is heard", || silence() < 1.5);
    let leader = host.status("patient")["leadership"]["leaderPid"].as_u64().unwrap();
    let leader = u32::try_from(leader).unwrap();
    e2e::process::signal(leader, "STOP");
    eventually("its leader is silent", || silence() > 3.0);
    e2e::process::signal(leader, "CONT");
    eventually("its leader, or the next one, is heard", || silence() < 1.5);
    host.run(&["cancel", "patient", "--wait"]).exits(3);
}
