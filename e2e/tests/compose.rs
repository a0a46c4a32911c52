//! deploy/compose as its page says, in real containers: up, a run, a power cut of a host, a run on
//! another host, down. `make e2e-compose` sees to Docker and makes the image.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::process::Command;

use e2e::process::{Finished, Running, eventually};
use e2e::repository;

/// A line of the table that the flights example prints.
const UNITED: &str = "UA      |    4637 |";

/// The deployment, which goes with the value, and its volumes with it.
struct Composed;

impl Composed {
    /// Refuses a deployment that is somebody's own, because the end of the test would remove it.
    fn up() -> Self {
        let secrets = repository().join("deploy/compose/secrets");
        assert!(!secrets.exists(), "there is a deployment: deploy/compose/down --volumes");
        let composed = Self;
        composed.script("up", &[]).exits(0);
        composed
    }

    fn script(&self, name: &str, arguments: &[&str]) -> Finished {
        let mut command = Command::new(repository().join("deploy/compose").join(name));
        command.args(arguments);
        Running::start(command).finish()
    }

    /// What a host answers to a verb.
    fn on(&self, host: &str, verb: &[&str]) -> Finished {
        let exec = ["exec", "-T", host, "mainspring"];
        self.script("compose", &[&exec[..], verb].concat())
    }

    fn runs_flights(&self, on: &[&str]) {
        let run = self.script("run-flights", on).exits(0);
        assert!(run.stdout.contains(UNITED), "{}", run.stdout);
    }

    /// The outcome of each application, as a host tells it.
    fn outcomes(&self, host: &str) -> Vec<String> {
        let listed = self.on(host, &["list", "-o", "json"]).exits(0).json();
        let applications = listed["applications"].as_array().unwrap();
        applications.iter().map(|each| each["outcome"].as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Composed {
    fn drop(&mut self) {
        let down = self.script("down", &["--volumes"]);
        if !std::thread::panicking() {
            down.exits(0);
        }
    }
}

/// The ids of what Docker keeps for the deployment: `ps -aq` or `volume ls -q`.
fn kept(what: &[&str]) -> String {
    let of = ["--filter", "label=com.docker.compose.project=mainspring"];
    let mut command = Command::new("docker");
    command.args(what).args(of);
    Running::start(command).finish().exits(0).stdout
}

#[test]
#[ignore = "needs Docker and the image: make e2e-compose"]
fn a_deployment_of_containers_outlives_one_of_its_hosts() {
    let composed = Composed::up();
    composed.runs_flights(&[]);
    composed.script("compose", &["kill", "host-1"]).exits(0);
    composed.runs_flights(&["host-2"]);
    assert_eq!(composed.outcomes("host-3"), ["OUTCOME_SUCCEEDED"; 2]);

    composed.script("compose", &["start", "host-1"]).exits(0);
    eventually("the host that was cut off serves again", || {
        composed.on("host-1", &["doctor"]).code == 0
    });
    assert_eq!(composed.outcomes("host-1"), ["OUTCOME_SUCCEEDED"; 2]);

    // A trace of main(), and the numbers of a service.
    let collected =
        composed.script("compose", &["logs", "--no-color", "collector"]).exits(0).stdout;
    for part in ["service.name=main ", "mainspring.rpc.duration"] {
        assert!(collected.contains(part), "the collector lacks {part:?}: {collected}");
    }

    drop(composed);
    assert_eq!(kept(&["ps", "-aq"]), "");
    assert_eq!(kept(&["volume", "ls", "-q"]), "");
}
