//! A port was free when it was chosen, and is in use once its process wants it.

use std::net::TcpListener;

use e2e::Host;
use e2e::flink::{Part, programs};
use e2e::process::{eventually, signal};

/// The port that a process was told to use.
fn port_of(pid: u32, name: &str) -> String {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
    let environment = String::from_utf8_lossy(&environment).into_owned();
    let prefix = format!("MAINSPRING_PORT_{name}=");
    let told = environment.split('\0').find_map(|variable| variable.strip_prefix(&prefix));
    told.expect("the substrate names the ports of a role").to_owned()
}

#[test]
fn a_jobmanager_whose_port_was_taken_is_started_again_on_another() {
    let host = Host::new();
    let jar = programs();
    let run =
        host.start(&["run", "--application-id", "busy", "-c", "Misbehaving", &jar, "divides"]);
    let mut jobmanager = None;
    eventually("a JobManager starts", || {
        jobmanager = Part::JobManager.pid(&host);
        jobmanager.is_some()
    });
    // The JobManager is stopped, so that it cannot bind the port first.
    let jobmanager = jobmanager.unwrap();
    signal(jobmanager, "STOP");
    let port = port_of(jobmanager, "REST");
    let _taken = TcpListener::bind(format!("127.0.0.1:{port}"))
        .expect("a JVM takes longer than this to bind it");
    signal(jobmanager, "CONT");

    let run = run
        .finish()
        .exits(1)
        .says("java.lang.ArithmeticException: / by zero")
        .says("nothing left over");
    let why = "exit code 1 (Caused by: java.net.BindException: Could not start rest endpoint on any port in port range";
    run.says("incarnation 2 starting; cause: jobmanager-0 exited").says(&format!("{why} {port})"));
    assert_eq!(host.status("busy")["cluster"]["incarnation"], "2");
    host.down();
}
