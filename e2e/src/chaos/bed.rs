//! The deployment that cycles run on, with the witnesses beside it.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::chronicle::Chronicle;
use crate::deployment::Deployment;
use crate::gateway::Gateway;
use crate::host::Host;
use crate::process::Finished;

use super::plan::{HOSTS, POINTS};

/// How long one question may take. A store that cannot reach etcd says so much earlier.
const QUESTION: Duration = Duration::from_secs(100);

/// Three hosts on three members of etcd. Their runners can be held at each of the points.
pub struct Bed {
    // The chronicle asks etcd, so it goes first.
    pub(super) chronicle: Chronicle,
    pub(super) gateway: Gateway,
    pub(super) deployment: Deployment,
    markers: Vec<PathBuf>,
}

impl Bed {
    /// Starts the hosts of a deployment that has none yet, and an etcd of three members.
    #[track_caller]
    pub fn start(mut deployment: Deployment) -> Self {
        let mut markers = Vec::new();
        for point in POINTS {
            let (armed, marker) = deployment.with_failpoint(point, "hold");
            // A failpoint whose marker is there has fired, and is passed.
            std::fs::write(&marker, "").expect("a test may write below its own directory");
            deployment = armed;
            markers.push(marker);
        }
        // Members that are machines are there only once the hosts are.
        let deployment = deployment.start(HOSTS);
        let gateway = deployment.gateway();
        let chronicle = Chronicle::start(gateway.clone());
        Self { chronicle, gateway, deployment, markers }
    }

    /// Has the next runner that comes to a point be held there, and answers the marker, a file that
    /// is there once a runner is held.
    pub(super) fn hold_at(&self, point: &str) -> PathBuf {
        let at = POINTS.iter().position(|known| *known == point).expect("it is one of the points");
        let marker = &self.markers[at];
        let _ = std::fs::remove_file(marker.with_added_extension("go"));
        std::fs::remove_file(marker).expect("every marker is there between two cycles");
        marker.clone()
    }

    /// Lets a runner go on that is held, and no further one be held.
    pub(super) fn release(&self, marker: &Path) {
        for file in [marker.with_added_extension("go"), marker.to_owned()] {
            std::fs::write(file, "").expect("a test may write below its own directory");
        }
    }

    /// Asks the hosts in turn, but for those that are away; `None` if no host answers.
    #[track_caller]
    pub(super) fn ask(&self, away: &BTreeSet<usize>, arguments: &[&str]) -> Option<Finished> {
        let there = (0..HOSTS).filter(|number| !away.contains(number));
        let ask = |number| self.deployment.host(number).start(arguments).finish_within(QUESTION);
        there.map(ask).find(|said| said.code == 0)
    }

    /// One application as any host shows it.
    #[track_caller]
    pub(super) fn status(&self, away: &BTreeSet<usize>, name: &str) -> Option<Value> {
        self.ask(away, &["status", name, "-o", "json"]).map(|said| said.json())
    }

    /// All hosts, by number.
    pub(super) fn hosts(&self) -> impl Iterator<Item = (usize, &Host)> {
        (0..HOSTS).map(|number| (number, self.deployment.host(number)))
    }

    /// The number of the host with this name.
    #[track_caller]
    pub(super) fn numbered(&self, name: &str) -> Option<usize> {
        (0..HOSTS).find(|number| self.deployment.name(*number) == name)
    }

    /// Whether every host answers.
    #[track_caller]
    pub(super) fn all_answer(&self) -> bool {
        (0..HOSTS).all(|number| {
            let asked = self.deployment.host(number).start(&["list"]);
            asked.finish_within(QUESTION).code == 0
        })
    }

    /// Copies the state directories of all hosts, which tell what has happened, and their logs.
    pub fn keep(&self, directory: &Path) {
        for number in 0..HOSTS {
            let to = directory.join(format!("host-{number}"));
            let made = std::fs::create_dir_all(&to);
            let host = self.deployment.host(number);
            let (state, log) = (host.state().join("."), host.log());
            // What is gone while it is copied is left out.
            let copied = Command::new("cp").arg("-R").arg(state).args(log).arg(&to).output();
            if let Some(error) = made.err().or(copied.err()) {
                eprintln!("{}: {error}", to.display());
            }
        }
    }

    /// Ends a deployment whose hosts may be in any state.
    pub fn destroy(mut self) {
        // Each host is killed, because one that hangs would not hear that it is to end, and what is
        // found wrong with its end was found before.
        for number in 0..HOSTS {
            let _ = catch_unwind(AssertUnwindSafe(|| self.deployment.kill(number)));
        }
        let _ = catch_unwind(AssertUnwindSafe(|| drop(self)));
    }
}
