//! The command on another machine than the host: a context leads to the host's store over TCP, and
//! nothing is started where the command runs.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "contexts/caller.rs"]
mod caller;
#[path = "contexts/credentials.rs"]
mod credentials;
#[path = "contexts/refused.rs"]
mod refused;
#[path = "contexts/wire.rs"]
mod wire;

use std::os::unix::fs::PermissionsExt as _;

use caller::Caller;
use e2e::Host;
use e2e::certificates::Authority;
use e2e::process::eventually;
use wire::{Files, Relay, nobody};

/// A host that runs, and stays when it has nothing to do.
fn running_host() -> Host {
    let host = Host::new().with("MAINSPRING_HOST_LINGER", "600s");
    host.run(&["list"]).exits(0);
    host
}

/// An application that runs until it is cancelled, from a file that the host has.
fn patient(host: &Host) -> String {
    format!("local://{}", host.program("patient", "echo patient\nexec sleep 1000"))
}

#[test]
fn a_context_is_all_that_a_caller_needs_and_nothing_is_started_there() {
    let (host, caller) = (running_host(), Caller::new());
    let relay = Relay::to_store_of(&host);
    let dead = nobody();
    let key = caller.key_of(&host);
    let added = caller
        .run(&[
            "context",
            "add",
            "prod",
            &dead,
            &relay.endpoint(),
            "--insecure",
            "--credential-file",
            &key,
        ])
        .exits(0)
        .says("plain text");
    assert!(added.stderr.contains(&format!("{dead} does not answer")), "{}", added.stderr);
    let mode = std::fs::metadata(caller.config()).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);

    let empty = caller.prod(&["list", "-o", "json"]).exits(0);
    assert_eq!(empty.json()["applications"], serde_json::json!([]));
    // What is sent can be read on the way, and the endpoint is the second one.
    empty.says(&format!("context prod: {}, in plain text", relay.endpoint()));
    let version = caller.prod(&["version", "-o", "json"]).exits(0).json();
    assert_eq!(version["host"]["protocol"], version["protocol"], "{version}");

    let files = Files::serve("SELECT 1 AS one;\n");
    let run = caller.prod(&["run", "--application-id", "one", &files.url("one.sql")]).exits(0);
    assert!(run.stdout.contains("one") && run.stdout.contains('1'), "{}", run.stdout);
    let rows = caller.prod(&["result", "one", "--as", "csv"]).exits(0);
    assert!(rows.stdout.lines().any(|row| row == "1"), "{}", rows.stdout);
    let graph = caller.prod(&["graph", "one", "-o", "name"]).exits(0);
    assert!(!graph.stdout.is_empty(), "the job has a graph");

    caller.prod(&["run", "-d", "--application-id", "patient", &patient(&host)]).exits(0);
    caller.prod(&["wait", "patient", "--for", "running", "--timeout", "2m"]).exits(0);
    eventually("main()'s output is there", || {
        caller.prod(&["logs", "patient", "--role", "main"]).exits(0).stdout == "patient\n"
    });
    caller.prod(&["cancel", "patient", "--wait"]).exits(3);
    let ended = host.status("patient");
    assert_eq!(ended["outcome"], "OUTCOME_CANCELLED", "the host itself knows of it");

    // Without the context, nothing leads there.
    caller.run(&["context", "use", "prod"]).exits(0);
    assert_eq!(caller.run(&["list", "-o", "name"]).exits(0).stdout, "patient@1\none@1\n");
    caller.run(&["context", "remove", "prod"]).exits(0).says("commands use local from now on");
    caller.has_started_nothing();
}

/// The two ways lead to one store, as two hosts of a deployment lead to one record.
#[test]
fn what_waits_and_watches_goes_on_at_another_host_when_its_own_is_cut_off() {
    let (host, caller) = (running_host(), Caller::new());
    let (first, second) = (Relay::to_store_of(&host), Relay::to_store_of(&host));
    let key = caller.key_of(&host);
    let endpoints = format!("{}, {}", first.endpoint(), second.endpoint());
    caller.configure(&endpoints, &format!("file: {key}"));
    host.run(&["run", "-d", "--application-id", "patient", &patient(&host)]).exits(0);
    host.run(&["wait", "patient", "--for", "running"]).exits(0);

    let waits = caller.start_prod(&["wait", "patient"]);
    let watches = caller.start_prod(&["attach", "patient"]);
    eventually("main()'s output is shown", || watches.stdout().contains("patient"));
    eventually("both are connected", || first.connections() >= 2);
    first.cut();
    host.run(&["cancel", "patient"]).exits(0);
    waits.finish().exits(3);
    watches.finish().exits(3);
    assert!(second.connections() > 0);
    caller.has_started_nothing();
}

#[test]
fn where_no_host_answers_each_is_named_and_none_is_started() {
    let caller = Caller::new();
    let (first, second) = (nobody(), nobody());
    caller.configure(&format!("{first}, {second}"), &format!("file: {}", caller.some_key()));
    for line in [&["list"] as &[&str], &["run", "https://example.org/x.sql"], &["wait", "orders"]] {
        let failed = caller.prod(line).exits(5).says("error[HOST_NOT_REACHABLE]");
        for said in [first.as_str(), &second, "context show prod --check"] {
            assert!(failed.stderr.contains(said), "{line:?}: {}", failed.stderr);
        }
        assert!(!failed.stderr.contains("--state-dir"), "{}", failed.stderr);
    }
    // What is known here is said all the same.
    let version = caller.prod(&["version"]).exits(5);
    assert!(version.stdout.starts_with("mainspring "), "{}", version.stdout);
    let shown = caller.run(&["context", "show", "prod", "--check", "-o", "json"]).exits(1).json();
    assert_eq!(shown["answers"].as_array().unwrap().len(), 2, "{shown}");
    caller.has_started_nothing();
}

#[test]
fn a_store_that_listens_on_tcp_is_all_that_answers_need() {
    let (host, caller) = (Host::new(), Caller::new());
    std::fs::create_dir(host.state()).unwrap();
    let endpoint = nobody();
    let state = host.state().display().to_string();
    let store =
        host.start(&["serve", "jobgraph-store", "--state-dir", &state, "--listen", &endpoint]);
    eventually("the key is made", || host.state().join("deployment.key").exists());
    caller.configure(&endpoint, &format!("file: {}", caller.key_of(&host)));
    eventually("the store serves", || {
        caller.run(&["context", "show", "prod", "--check"]).code == 0
    });
    let listed = caller.prod(&["list", "-o", "json"]).exits(0).json();
    assert_eq!(listed["applications"], serde_json::json!([]));
    caller.prod(&["status", "orders"]).exits(7).says("error[APPLICATION_NOT_FOUND]");
    caller.has_started_nothing();
    drop(store);
}

#[test]
fn a_context_with_certificates_is_answered_and_one_of_another_ca_is_not() {
    let [ours, theirs] = ["this deployment's CA", "another CA"].map(Authority::new);
    let caller = Caller::new();
    let tls = caller.home().join("of-the-host");
    ours.equip(&tls);
    let host = Host::new().with("MAINSPRING_TLS", tls.to_str().unwrap());
    std::fs::create_dir(host.state()).unwrap();
    let endpoint = nobody();
    let state = host.state().display().to_string();
    let store =
        host.start(&["serve", "jobgraph-store", "--state-dir", &state, "--listen", &endpoint]);
    eventually("the key is made", || host.state().join("deployment.key").exists());
    let credential = caller.key_of(&host);
    let add = |name: &str, authority: &Authority| {
        let own = authority.sign(name, "laptop.test");
        let files = [authority.file(), own.certificate, own.key];
        let [ca, cert, key] = files.each_ref().map(|file| file.to_str().unwrap());
        let wire = ["--ca", ca, "--cert", cert, "--key", key, "--credential-file", &credential];
        caller.run(&[&["context", "add", name, &endpoint][..], &wire].concat())
    };
    eventually("the store answers", || add("ours", &ours).code == 0);
    let listed = caller.run(&["--context", "ours", "list", "-o", "json"]).exits(0).json();
    assert_eq!(listed["applications"], serde_json::json!([]));
    let refused = add("theirs", &theirs);
    assert!(refused.code != 0 && refused.stderr.contains("another CA"), "{}", refused.stderr);
    caller.has_started_nothing();
    drop(store);
}
