//! A deployment whose services are reached by TCP, with certificates of `mainspring certs`.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use e2e::process::eventually;
use e2e::{Finished, Host, Running};

/// A host with a CA beside its state directory, and certificates of its own from it.
fn equipped() -> (Host, PathBuf) {
    let host = Host::new();
    host.run(&["certs", "init"]).exits(0);
    host.run(&["certs", "issue", "host-a"]).exits(0);
    let own = host.scratch().join("certs/host-a");
    (host.with("MAINSPRING_TLS", own.to_str().unwrap()), own)
}

/// `mainspring` as a process of the same host that has other certificates.
fn run_with(host: &Host, tls: &Path, arguments: &[&str]) -> Finished {
    let mut command = host.command(arguments);
    command.env("MAINSPRING_TLS", tls);
    Running::start(command).finish()
}

/// An endpoint on this machine that was free a moment ago.
fn endpoint() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("tcp://{}", listener.local_addr().unwrap())
}

#[test]
fn an_application_runs_over_an_elector_that_is_reached_by_tls() {
    let (host, own) = equipped();
    let script = host.file("one.sql", "SELECT 1 AS one;\n");
    // The run makes the deployment's key, and needs no TCP.
    host.run(&["run", &script]).exits(0);
    host.down();
    let elsewhere = host.scratch().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::copy(host.state().join("deployment.key"), elsewhere.join("deployment.key")).unwrap();
    let at = endpoint();
    let directory = elsewhere.to_str().unwrap();
    let _elector =
        host.start(&["serve", "leader-elector", "--state-dir", directory, "--listen", &at]);
    let up = host.start(&["up", "--host-linger", "60s", "--elector", &at]);
    eventually("the host is up", || host.pid_of("up").is_some());
    host.run(&["run", "--application-id", "one", &script]).exits(0);
    let doctor = host.run(&["doctor"]).exits(0).stdout;
    assert!(doctor.contains(&format!("given  {at}")), "{doctor}");
    assert!(doctor.contains("host-a (service)"), "{doctor}");

    // Who has no certificate of this CA gets no answer, whatever its token.
    let stranger = host.scratch().join("stranger");
    host.run(&["certs", "init", "--dir", stranger.to_str().unwrap()]).exits(0);
    host.run(&["certs", "issue", "host-a", "--dir", stranger.to_str().unwrap()]).exits(0);
    let doctor = run_with(&host, &stranger.join("host-a"), &["doctor"]).exits(1).stdout;
    assert!(doctor.contains("it is of another CA"), "{doctor}");

    // Elector and contenders go on with certificates that are renewed under them.
    let before = fs::read(own.join("tls.crt")).unwrap();
    host.run(&["certs", "issue", "host-a"]).exits(0).says("renewed");
    assert_ne!(fs::read(own.join("tls.crt")).unwrap(), before);
    host.run(&["run", "--application-id", "two", &script]).exits(0);

    host.run(&["down", "--yes"]).exits(0);
    up.finish();
}

#[test]
fn a_service_does_not_start_with_certificates_that_no_peer_would_accept() {
    let (host, own) = equipped();
    let stranger = host.scratch().join("stranger");
    host.run(&["certs", "init", "--dir", stranger.to_str().unwrap()]).exits(0);
    fs::copy(stranger.join("ca/ca.crt"), own.join("ca.crt")).unwrap();
    let (state, at) = (host.state().display().to_string(), endpoint());
    let serve = ["serve", "leader-elector", "--state-dir", &state, "--listen", &at];
    let refused = host.run(&serve).exits(70);
    assert!(refused.stderr.contains("another CA"), "{}", refused.stderr);
    assert!(refused.stderr.contains("host-a/tls.crt"), "{}", refused.stderr);
}

#[test]
fn a_ca_is_made_once_and_its_certificates_say_what_they_are_for() {
    let (host, own) = equipped();
    let again = host.run(&["certs", "init"]).exits(2);
    assert!(again.stderr.contains("has a CA already"), "{}", again.stderr);
    host.run(&["certs", "issue", "laptop", "--client", "--days", "30"]).exits(0);
    host.run(&["certs", "issue", "store", "--san", "10.0.0.7"]).exits(0);
    for (file, mode) in [("tls.key", 0o600), ("tls.crt", 0o644), ("ca.crt", 0o644)] {
        let found = fs::metadata(own.join(file)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found & !0o022, mode & !0o022, "{file}: {found:o}");
    }
    let shown = host.run(&["certs", "show", "-o", "json"]).exits(0).json();
    let said: Vec<[&str; 2]> = (0..4)
        .map(|at| [&shown[at]["subject"], &shown[at]["purpose"]].map(|text| text.as_str().unwrap()))
        .collect();
    assert!(said[0][0].starts_with("mainspring development CA"), "{shown:#}");
    assert_eq!(said[1..], [["host-a", "service"], ["laptop", "client"], ["store", "service"]]);
    assert!((29..=30).contains(&shown[2]["daysLeft"].as_i64().unwrap()), "{shown:#}");
    assert_eq!(shown[2]["names"], serde_json::json!([]));
    let names = serde_json::json!(["store", "10.0.0.7", "localhost", "127.0.0.1", "::1"]);
    assert_eq!(shown[3]["names"], names);
    assert_eq!(shown[3]["issuer"], shown[0]["subject"]);
}

#[test]
fn the_doctor_finds_what_is_wrong_with_certificates_first() {
    let (host, own) = equipped();
    let certificates = |says: &str| {
        let found = host.run(&["doctor", "-o", "json"]).exits(1).json();
        let findings = found["findings"].as_array().unwrap();
        let row = findings.iter().find(|row| row["what"] == "certificates").unwrap();
        assert!(row["problem"].as_str().unwrap().contains(says), "{says}: {row:#}");
    };
    host.run(&["doctor"]).exits(0);
    host.run(&["certs", "issue", "host-a", "--days", "7"]).exits(0);
    certificates("renew it");
    host.run(&["certs", "issue", "host-a"]).exits(0);
    fs::set_permissions(own.join("tls.key"), Permissions::from_mode(0o644)).unwrap();
    certificates("chmod 600");
    fs::set_permissions(own.join("tls.key"), Permissions::from_mode(0o600)).unwrap();
    let other = host.scratch().join("other");
    host.run(&["certs", "init", "--dir", other.to_str().unwrap()]).exits(0);
    fs::copy(other.join("ca/ca.crt"), own.join("ca.crt")).unwrap();
    certificates("another CA");
    fs::remove_file(own.join("ca.crt")).unwrap();
    certificates("ca.crt");
}
