//! More applications than a host has room for: they wait in line, are shown to wait, and none is
//! kept waiting by a flood.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use e2e::Host;
use e2e::process::{eventually, signal};

/// A job without an end of its own.
const ENDLESS: &str = "SELECT count(*) FROM (SELECT unnest(generate_series(1, 100000000)) AS a) t \
    CROSS JOIN (SELECT unnest(generate_series(1, 100000000)) AS b) u;";

/// The phase; empty as long as the application was not submitted.
fn phase(host: &Host, id: &str) -> String {
    let shown = host.run(&["status", id, "-o", "json"]);
    if shown.code == 0 { shown.json()["phase"].as_str().unwrap().to_owned() } else { String::new() }
}

fn submit(host: &Host, id: &str, team: &str, program: &str) {
    let label = format!("team={team}");
    host.run(&["run", "-d", "--application-id", id, "--label", &label, program]).exits(0);
}

/// When an event of this kind first happened to an application, as text that sorts by time.
fn at(host: &Host, id: &str, kind: &str) -> String {
    let event = host.events(id).into_iter().find(|event| event["kind"] == kind);
    let at = event.unwrap_or_else(|| panic!("{id} has no event {kind}"))["at"]
        .as_str()
        .unwrap()
        .to_owned();
    // All fractions are made as long as the longest.
    let (seconds, fraction) = at.trim_end_matches('Z').split_once('.').unwrap_or((&at, ""));
    format!("{seconds}.{fraction:0<9}")
}

#[test]
fn what_has_no_room_is_queued_says_why_and_runs_in_its_turn() {
    let host = Host::new().with("MAINSPRING_MAX_RUNNING", "1");
    let (endless, short) = (host.file("endless.sql", ENDLESS), host.file("short.sql", "SELECT 1;"));
    submit(&host, "runs", "a", &endless);
    eventually("the first one runs", || phase(&host, "runs") == "PHASE_RUNNING");
    submit(&host, "unwanted", "a", &endless);
    let waits = host.start(&["run", "--application-id", "waits", &short]);
    eventually("the third one is queued", || phase(&host, "waits") == "PHASE_QUEUED");
    eventually("its place is known", || host.status("waits")["queue"]["length"] == 2);
    let shown = host.run(&["status", "waits"]).exits(0).stdout;
    // The other one is older, but belongs to a team that has one running.
    let why = "place 1 of 2: the host runs 1 of at most 1 applications";
    assert!(shown.contains("QUEUED") && shown.contains(why), "{shown}");
    let queued = host.run(&["list", "--phase", "queued", "-o", "name"]).exits(0).stdout;
    assert_eq!(queued, "waits@1\nunwanted@1\n");

    // A cancel does not wait for another application's end.
    host.run(&["cancel", "unwanted", "--wait"]).exits(3);
    assert_eq!(phase(&host, "runs"), "PHASE_RUNNING");

    // Nothing of the queue is lost with the process that keeps it.
    signal(host.pid_of("up").unwrap(), "KILL");
    host.run(&["version"]).exits(0);
    eventually("it is queued again", || phase(&host, "waits") == "PHASE_QUEUED");
    assert_eq!(phase(&host, "runs"), "PHASE_RUNNING");

    host.run(&["cancel", "runs", "--wait"]).exits(3);
    waits.finish().exits(0).says("queued    place");
    host.down();
}

#[test]
fn no_more_run_at_once_than_was_said_and_a_flood_of_one_team_does_not_keep_another_one_out() {
    let host = Host::new().with("MAINSPRING_MAX_RUNNING", "2").with("MAINSPRING_HOST_LINGER", "1m");
    let (endless, short) = (host.file("endless.sql", ENDLESS), host.file("short.sql", "SELECT 1;"));
    let holders = ["holder-1", "holder-2"];
    holders.iter().for_each(|id| submit(&host, id, "c", &endless));
    let flood: Vec<_> = (1..=8).map(|n| format!("flood-{n}")).collect();
    flood.iter().for_each(|id| submit(&host, id, "a", &short));
    submit(&host, "other", "b", &short);
    let all: Vec<&str> = flood.iter().map(String::as_str).chain(["other"]).collect();
    eventually("all of them wait", || host.status("other")["queue"]["length"] == 9);
    holders.iter().for_each(|id| _ = host.run(&["cancel", id]).exits(0));
    for id in &all {
        host.run(&["wait", id]).exits(0);
    }

    let spans: Vec<_> =
        all.iter().map(|id| (at(&host, id, "leader"), at(&host, id, "clean"))).collect();
    for (began, _) in &spans {
        let together = spans.iter().filter(|(from, to)| from <= began && began < to).count();
        assert!(together <= 2, "{together} ran at once: {spans:?}");
    }
    // The team's first one is let in together with the flood's first; either of the two may be led
    // first.
    let (other, _) = spans.last().unwrap();
    let passed = spans.iter().filter(|(began, _)| began < other).count();
    assert!(passed <= 3, "{passed} of the flood ran first: {spans:?}");
    host.down();
}
