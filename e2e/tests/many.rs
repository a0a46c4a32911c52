//! Several applications by one label, and one application again.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use e2e::Host;
use e2e::process::eventually;

/// A job without an end of its own.
const ENDLESS: &str = "SELECT count(*) FROM (SELECT unnest(generate_series(1, 100000000)) AS a) t \
    CROSS JOIN (SELECT unnest(generate_series(1, 100000000)) AS b) u;";

#[test]
fn all_with_a_label_are_cancelled_after_saying_which_and_waited_for() {
    let host = Host::new();
    let (endless, short) = (host.file("endless.sql", ENDLESS), host.file("short.sql", "SELECT 1;"));
    for (id, team, program) in [
        ("one", "a", &endless),
        ("two", "a", &endless),
        ("done", "a", &short),
        ("other", "b", &endless),
    ] {
        let label = format!("team={team}");
        host.run(&["run", "-d", "--application-id", id, "--label", &label, program]).exits(0);
    }
    host.run(&["wait", "done"]).exits(0);

    // There is no terminal at which the command could ask.
    let asked = host.run(&["cancel", "-l", "team=a"]).exits(6);
    let asked =
        asked.says("one@1").says("two@1").says("this cancels these 2 applications").says("--yes");
    assert!(
        !asked.stderr.contains("done@1") && !asked.stderr.contains("other@1"),
        "{}",
        asked.stderr
    );
    assert_eq!(host.status("one")["desired"]["cancel"], false);

    let cancelled = host.run(&["cancel", "-l", "team=a", "--yes", "--wait", "-o", "name"]).exits(3);
    let mut names: Vec<_> = cancelled.stdout.lines().collect();
    names.sort_unstable();
    assert_eq!(names, ["one@1", "two@1"]);
    assert_eq!(host.status("other")["terminal"], false);

    host.run(&["wait", "-l", "team=a"]).exits(3).says("done@1 SUCCEEDED").says("one@1 CANCELLED");
    host.run(&["cancel", "-l", "team=a", "--yes"]).exits(0).says("all of them have ended");
    host.run(&["wait", "-l", "team=b", "--timeout", "200ms"])
        .exits(124)
        .says("other@1 is not clean yet");
    host.run(&["cancel", "-l", "team=none", "--yes"]).exits(7).says("team=none");
    host.run(&["cancel", "-l", "team=b", "other"]).exits(2);
    host.run(&["cancel", "other", "--wait"]).exits(3);
    host.down();
}

#[test]
fn an_application_runs_again_with_the_very_file_that_it_had() {
    let host = Host::new();
    let program = host.file("answer.sql", "SELECT 42 AS answer;");
    host.run(&["run", "--application-id", "answer", "--label", "team=a", &program]).exits(0);
    host.run(&["run", "--application-id", "answer", "--deadline", "5m", &program]).exits(0);

    let again = host.run(&["rerun", "answer", "--generation", "1"]).exits(0).says("answer@1");
    assert!(again.stdout.contains("42"), "{}", again.stdout);
    let (first, third) = (host.status("answer@1"), host.status("answer@3"));
    assert_eq!(third["labels"]["team"], "a");
    assert_eq!(third["spec"]["deadline"], first["spec"]["deadline"]);
    assert_eq!(third["spec"]["program"]["digest"], first["artifacts"][0]["digest"]);

    // Another program by the same name is not the one that ran.
    host.file("answer.sql", "SELECT 43 AS answer;");
    let refused = host.run(&["rerun", "answer@1"]);
    match refused.code {
        1 => _ = refused.says("ARTIFACT_DIGEST_MISMATCH"),
        // This host still has the bytes.
        _ => assert!(refused.exits(0).stdout.contains("42")),
    }
    host.run(&["rerun", "answer@1", "--generation", "2"]).exits(2);
    host.run(&["rerun", "nobody"]).exits(7);

    let secret = host.file("password", "geheim\n");
    let given = format!("PASSWORD=@{secret}");
    host.run(&["run", "--application-id", "quiet", "--secret", &given, &program]).exits(0);
    host.run(&["rerun", "quiet"]).exits(2).says("PASSWORD").says("--secret PASSWORD=@FILE");
    host.run(&["rerun", "quiet", "-d", "--secret", &given]).exits(0);
    host.run(&["wait", "quiet@2"]).exits(0);
    host.down();
}

#[test]
fn what_cannot_run_starts_nothing() {
    let host = Host::new();
    let empty = host.file("empty.sql", "");
    host.run(&["run", &empty]).exits(2).says("is empty");
    assert!(!host.state().join("jobgraph-store").exists(), "not even a host");
    eventually("nothing was started", || host.alive().is_empty());
}
