//! A main() that waits, and what a process that has its token can reach.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use chassis::channel::{GrpcChannel, connect};
use chassis::clock::{SharedClock, SystemClock};
use chassis::credential::{Credential, DeploymentKey};
use chassis::transport::{Endpoint, OsTransport};
use client::places::Places;
use e2e::Host;
use e2e::process::eventually;

/// A main() that was started and waits.
pub(crate) struct Waiting {
    pub(crate) pid: u32,
    pub(crate) leader: u32,
    /// The variables that it was started with.
    pub(crate) environment: BTreeMap<String, String>,
}

/// The environment of a living process.
pub(crate) fn environment(pid: u32) -> BTreeMap<String, String> {
    let bytes = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let pairs = text.split('\0').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Writes an executable shell script and returns its path.
pub(crate) fn program(host: &Host, name: &str, script: &str) -> String {
    let program = host.file(name, &format!("#!/bin/sh\n{script}\n"));
    std::process::Command::new("chmod").args(["755", &program]).status().unwrap();
    program
}

impl Waiting {
    /// Runs an application whose main() waits for its end.
    pub(crate) fn start(host: &Host, id: &str) -> Self {
        let program = program(host, id, "exec sleep 1000");
        host.run(&["run", "-d", "--application-id", id, &program]).exits(0);
        host.run(&["wait", id, "--for", "running"]).exits(0);
        let ready = || host.status(id)["cluster"]["state"] == "CLUSTER_STATE_READY";
        eventually("its cluster is ready", ready);
        let status = host.status(id);
        let pid = |of: &serde_json::Value| u32::try_from(of.as_u64().unwrap()).unwrap();
        let main = pid(&status["main"]["pid"]);
        let leader = pid(&status["leadership"]["leaderPid"]);
        Self { pid: main, leader, environment: environment(main) }
    }

    /// main()'s token, as main() reads it.
    pub(crate) fn token(&self) -> Credential {
        Credential::from_file(&PathBuf::from(&self.environment["MAINSPRING_TOKEN_FILE"])).unwrap()
    }

    /// The endpoint at which its runner serves it.
    pub(crate) fn execution(&self) -> Endpoint {
        self.environment["MAINSPRING_ENDPOINT"].parse().unwrap()
    }

    /// A socket beside that endpoint.
    pub(crate) fn beside(&self, name: &str) -> Endpoint {
        let Endpoint::Unix(execution) = self.execution() else { panic!("a socket") };
        Endpoint::Unix(execution.with_file_name(name))
    }
}

pub(crate) fn clock() -> SharedClock {
    Arc::new(SystemClock)
}

/// A channel with a token to an endpoint of the host.
pub(crate) fn channel(endpoint: &Endpoint, token: &Credential) -> GrpcChannel {
    connect(Arc::new(OsTransport), clock(), endpoint.clone(), Some(token.clone()))
}

/// The endpoint of one of the four services.
pub(crate) fn service(host: &Host, name: &str) -> Endpoint {
    places(host).service_endpoint(name)
}

pub(crate) fn places(host: &Host) -> Places {
    Places::new(host.state())
}

pub(crate) fn key(host: &Host) -> DeploymentKey {
    DeploymentKey::load(&places(host).deployment_key()).unwrap()
}
