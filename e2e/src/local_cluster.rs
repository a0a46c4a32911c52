//! Hosts and members of etcd that have networks, process trees and mounts of their own, as
//! `deploy/local-cluster` makes them: the way to see what a network does that drops what it is
//! given. It needs root, as mounting does, and a test that runs where namespaces are not permitted
//! fails, because a test that was not run has not passed.

mod machine;
mod relay;

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::host::binary;
use crate::process::{Finished, Running, eventually, signal};
use crate::{http, repository};

pub use machine::Machine;
pub(crate) use machine::namespace_of;

use relay::Relay;

/// Where each machine has what the hosts share, as `cluster.py` says.
const SHARED: &str = "/srv/shared";

/// Where clients reach a member of etcd on its machine.
const CLIENTS: u16 = 2379;

/// How many lines of each log a test shows that has failed.
const LAST_WORDS: usize = 15;

/// What one machine and others do not hear of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Neither the one nor the others hear anything.
    Both,
    /// The others do not hear the one, which hears them.
    Out,
    /// The one does not hear the others, which hear it.
    In,
}

/// A cut between one machine and others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The one machine.
    pub one: String,
    /// The others.
    pub others: Vec<String>,
    /// What is cut.
    pub way: Way,
}

impl Cut {
    /// A cut between a machine and others.
    pub fn new<T: Into<String>>(
        one: impl Into<String>,
        others: impl IntoIterator<Item = T>,
        way: Way,
    ) -> Self {
        Self { one: one.into(), others: others.into_iter().map(T::into).collect(), way }
    }

    /// What the script is told about it, call by call.
    fn words(&self) -> Vec<Vec<&str>> {
        let (one, others) = (self.one.as_str(), self.others.iter().map(String::as_str));
        match self.way {
            Way::Both => vec![[one].into_iter().chain(others).collect()],
            Way::Out => vec![["--one-way", one].into_iter().chain(others).collect()],
            Way::In => others.map(|other| vec!["--one-way", other, one]).collect(),
        }
    }
}

/// A cluster in namespaces, which ends with the value.
pub struct LocalCluster {
    // What asks the members ends before they do.
    relays: Vec<Relay>,
    directory: TempDir,
    environment: Vec<(String, String)>,
    hosts: usize,
}

impl LocalCluster {
    /// The members of etcd of a cluster.
    pub const MEMBERS: [&str; 3] = ["etcd-1", "etcd-2", "etcd-3"];

    /// A cluster that has no machine yet.
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("n")
            .tempdir()
            .expect("the temporary directory is writable");
        Self { relays: Vec::new(), directory, environment: Vec::new(), hosts: 0 }
    }

    /// Makes the hosts and three members of etcd, and waits until everything serves. The variables
    /// are there for everything that a host starts, also after the host was started again.
    #[track_caller]
    pub(crate) fn up(&mut self, hosts: usize, environment: Vec<(String, String)>) {
        (self.environment, self.hosts) = (environment, hosts);
        let bin = binary("mainspring");
        let bin = bin.parent().expect("a binary lies in a directory").display().to_string();
        self.run(&["up", &hosts.to_string(), "--bin", &bin]);
        let router = self.named("router").first().expect("the router runs as long as the cluster");
        // What is cut is what machines send to each other, so that the router reaches all of them.
        self.relays = (1..=Self::MEMBERS.len())
            .map(|number| Relay::start(router, &format!("10.71.{}.1:{CLIENTS}", 100 + number)))
            .collect();
    }

    /// Drops what these machines send to each other, also after one of them was started again.
    #[track_caller]
    pub fn cut(&self, cut: &Cut) {
        cut.words().iter().for_each(|words| _ = self.run(&[&["cut"], &words[..]].concat()));
    }

    /// Lets through what was cut so.
    #[track_caller]
    pub fn mend(&self, cut: &Cut) {
        cut.words().iter().for_each(|words| _ = self.run(&[&["heal"], &words[..]].concat()));
    }

    /// All machines hear each other again.
    #[track_caller]
    pub fn heal(&self) {
        self.run(&["heal"]);
    }

    /// Ends a machine as a power cut does.
    #[track_caller]
    pub fn kill(&self, name: &str) {
        self.run(&["kill", name]);
    }

    /// Starts a machine again, with what its disk had. A host is waited for until it serves.
    #[track_caller]
    pub fn start(&self, name: &str) {
        self.run(&["start", name]);
    }

    /// Starts the members that do not run, and waits until each of them serves.
    #[track_caller]
    pub(crate) fn restart_members(&self) {
        for member in Self::MEMBERS {
            if self.named(member).first().is_none() {
                self.start(member);
            }
        }
        for address in self.each_address() {
            eventually("a member serves again", || {
                http::ask(&address, "GET", "/health").is_ok_and(|answer| answer.status == 200)
            });
        }
    }

    /// A machine of the cluster.
    pub fn named(&self, name: &str) -> Machine {
        Machine::new(self.at(), name)
    }

    /// What the host with this number is called here; the first one has the number 0.
    pub fn host(number: usize) -> String {
        format!("host-{}", number + 1)
    }

    /// Where each of the members can be asked from here, whatever is cut, as `host:port`.
    pub fn each_address(&self) -> Vec<String> {
        self.relays.iter().map(|relay| relay.address().to_owned()).collect()
    }

    /// The directory that all hosts see, as this process sees it.
    pub fn shared(&self) -> PathBuf {
        self.at().join("shared")
    }

    /// The path by which each host knows what is in the shared directory.
    pub fn seen(&self, path: &Path) -> PathBuf {
        path.strip_prefix(self.shared())
            .map_or(path.to_owned(), |below| Path::new(SHARED).join(below))
    }

    fn at(&self) -> PathBuf {
        self.directory.path().join("cluster")
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Finished {
        let mut command = script(&self.at(), arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Running::start(command).finish().exits(0)
    }

    /// The last lines that the hosts have written.
    fn last_words(&self) -> String {
        let logs = (0..self.hosts).map(|number| {
            let log = self.named(&Self::host(number)).directory().join("log");
            let text = std::fs::read(&log).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<&str> = text.lines().collect();
            let last = lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n");
            format!("--- {}\n{last}\n", log.display())
        });
        logs.collect()
    }
}

impl Drop for LocalCluster {
    fn drop(&mut self) {
        if !self.at().join("cluster.json").exists() {
            return;
        }
        if std::thread::panicking() {
            eprintln!("{}", self.last_words());
        }
        let machines = Self::MEMBERS.map(str::to_owned).into_iter().chain(["router".to_owned()]);
        let machines = machines.chain((0..self.hosts).map(Self::host));
        let first: Vec<u32> = machines.filter_map(|name| self.named(&name).first()).collect();
        let ended = Running::start(script(&self.at(), &["down"])).finish();
        // The kernel ends the whole machine with its first process.
        first.into_iter().filter(|_| ended.code != 0).for_each(|pid| signal(pid, "KILL"));
        if !std::thread::panicking() {
            ended.exits(0);
        }
    }
}

/// The script of the cluster in a directory.
fn script(at: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(repository().join("deploy/local-cluster/local-cluster"));
    command
        .arg("--dir")
        .arg(at)
        .args(arguments)
        .env("NO_COLOR", "1")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT");
    command
}

#[cfg(test)]
mod tests;
