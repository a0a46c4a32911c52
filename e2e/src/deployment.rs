//! Several hosts of one deployment on one machine: a state directory for each of them, one etcd,
//! and one directory that stands for what all machines mount.
//!
//! The hosts are machines in what counts here: two of them read nothing in common but etcd, the
//! payloads and the shared directory, their stores ask each other at an address of each, and they
//! die and freeze whole. A deployment [on machines](Deployment::on_machines) also has a network
//! between them, which can be cut.

use std::collections::BTreeSet;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use tempfile::TempDir;

use crate::etcd::{Cluster, Etcd};
use crate::gateway::Gateway;
use crate::host::{Host, binaries, make_executable};
use crate::local_cluster::LocalCluster;
use crate::observer::{Observer, Overlap};
use crate::process::{Running, eventually, signal_all};
use crate::server::free_address;

/// The key that all hosts of a deployment have.
const KEY: &str = "deployment.key";

/// How many passes over its processes stop a host: far more than are needed.
const PASSES: usize = 100;

/// A host of the deployment, and its `up` while it was not killed.
struct Member {
    // The host ends its `up`, so it goes first.
    host: Host,
    up: Option<Running>,
}

/// The etcd of a deployment.
enum Metadata {
    One(Box<Etcd>),
    Three(Box<Cluster>),
    /// Three members and all hosts, each of which is a machine of its own.
    Machines(Box<LocalCluster>),
}

/// Several hosts on one record. Dropping it ends them all.
pub struct Deployment {
    // The hosts go before what they need.
    members: Vec<Member>,
    observer: Observer,
    metadata: Metadata,
    directory: TempDir,
    environment: Vec<(String, String)>,
    failpoints: Vec<String>,
    /// The build of the next host.
    binaries: PathBuf,
}

impl Deployment {
    /// A deployment on an etcd of one member, which has no host yet.
    #[track_caller]
    pub fn new() -> Self {
        Self::on(Metadata::One(Box::new(Etcd::start())))
    }

    /// A deployment on an etcd of three members, which has no host yet.
    #[track_caller]
    pub fn on_three_members() -> Self {
        Self::on(Metadata::Three(Box::new(Cluster::start())))
    }

    /// A deployment of machines with an etcd of three members. All hosts are started at once.
    #[track_caller]
    pub fn on_machines() -> Self {
        Self::on(Metadata::Machines(Box::new(LocalCluster::new())))
    }

    fn on(metadata: Metadata) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("d")
            .tempdir()
            .expect("the temporary directory is writable");
        let deployment = Self {
            members: Vec::new(),
            observer: Observer::start(),
            metadata,
            directory,
            environment: Vec::new(),
            failpoints: Vec::new(),
            binaries: binaries(),
        };
        if !matches!(deployment.metadata, Metadata::Machines(_)) {
            deployment.make_places();
        }
        deployment
    }

    /// Makes what the hosts share.
    fn make_places(&self) {
        for below in [self.payloads(), self.shared().join("programs")] {
            std::fs::create_dir_all(below).expect("a test may write below its own directory");
        }
    }

    /// Sets a variable for every host that is started from now on.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Arms a failpoint on all hosts together: the first process of any host that passes `name`
    /// does `action`. Returns the deployment and the marker, a file that exists once the failpoint
    /// has fired.
    #[must_use]
    pub fn with_failpoint(mut self, name: &str, action: &str) -> (Self, PathBuf) {
        let file = format!("fired-{}", name.replace(['.', '@', '%'], "-"));
        let marker = self.directory.path().join(file);
        self.failpoints.push(format!("{name}={action}@{}", marker.display()));
        (self, marker)
    }

    /// Plants a bug that every process of every host has from its start; see `chassis::failpoint`.
    #[must_use]
    pub fn with_bug(self, name: &str) -> Self {
        self.with_failpoint(name, "bug").0
    }

    /// Hosts that are started from now on are of the build in this directory.
    #[must_use]
    pub fn of_build(mut self, binaries: &Path) -> Self {
        binaries.clone_into(&mut self.binaries);
        self
    }

    /// What a host starts from now on is of the build in this directory.
    pub fn set_build(&mut self, number: usize, binaries: &Path) {
        self.members[number].host.set_build(binaries);
    }

    /// Starts hosts, one after another.
    #[must_use]
    #[track_caller]
    pub fn start(mut self, hosts: usize) -> Self {
        if let Metadata::Machines(cluster) = &mut self.metadata {
            let failpoints = ("MAINSPRING_FAILPOINTS".to_owned(), self.failpoints.join(","));
            let environment = self.environment.iter().cloned().chain([failpoints]);
            cluster.up(hosts, environment.collect());
            for number in 0..hosts {
                let host = Host::on(cluster.named(&LocalCluster::host(number)));
                self.observer.follow(&host);
                self.members.push(Member { host, up: None });
            }
            self.make_places();
            return self;
        }
        for _ in 0..hosts {
            self.join();
        }
        self
    }

    /// Starts one more host, and answers its number.
    #[track_caller]
    pub fn join(&mut self) -> usize {
        let host = self.newcomer();
        if !self.members.is_empty() {
            self.hand_key_to(&host);
        }
        self.observer.follow(&host);
        self.members.push(Member { host, up: None });
        let number = self.members.len() - 1;
        self.up(number);
        number
    }

    /// A host with the settings of this deployment and without its key, which is not started.
    pub fn newcomer(&self) -> Host {
        let etcd = match &self.metadata {
            Metadata::One(member) => format!("http://{}", member.address()),
            Metadata::Three(cluster) => cluster.addresses(),
            Metadata::Machines(_) => panic!("machines are started together"),
        };
        let mut host = Host::new();
        host.set_build(&self.binaries);
        let host = host
            .with("MAINSPRING_ETCD", etcd)
            .with("MAINSPRING_BLOBS", format!("file://{}", self.payloads().display()))
            .with("MAINSPRING_SHARED_DIR", self.shared().display().to_string())
            .with("MAINSPRING_NETWORK", format!("tcp://{}", free_address()))
            .with("MAINSPRING_FAILPOINTS", self.failpoints.join(","));
        self.environment.iter().fold(host, |host, (name, value)| host.with(name, value.clone()))
    }

    /// Copies the deployment's key, which the first host has made, to a host that was not started
    /// yet.
    pub fn hand_key_to(&self, host: &Host) {
        let key = std::fs::read(self.host(0).state().join(KEY)).expect("the first host made it");
        give_key(host, &key);
    }

    /// Starts `up` of a host whose `up` does not run, or the machine that the host is.
    #[track_caller]
    pub fn up(&mut self, number: usize) {
        if let Metadata::Machines(cluster) = &self.metadata {
            return cluster.start(&LocalCluster::host(number));
        }
        let Member { host, up } = &mut self.members[number];
        let mut running = host.start(&["up"]);
        let pid = running.pid();
        eventually("a host of the deployment is up", || {
            host.pid_of("up") == Some(pid) || !running.is_running()
        });
        if !running.is_running() {
            let said = running.finish();
            panic!("host {number} has not come up, but ended: {}\n{}", said.code, said.stderr);
        }
        *up = Some(running);
    }

    /// Waits until a host whose `up` has died has another one.
    #[track_caller]
    pub(crate) fn has_up_again(&self, number: usize) {
        let host = self.host(number);
        if matches!(self.metadata, Metadata::Machines(_)) {
            // The first process of the machine starts it.
            return eventually("`up` is started again", || host.pid_of("up").is_some());
        }
        // A command starts the host that it finds without an `up`.
        host.run(&["list"]);
    }

    /// Ends a host as an operator does, although applications run.
    #[track_caller]
    pub fn down(&mut self, number: usize) {
        let Member { host, up } = &mut self.members[number];
        host.down();
        *up = None;
    }

    /// Ends all processes of a host at one instant, as a power cut does.
    #[track_caller]
    pub fn kill(&mut self, number: usize) {
        if let Metadata::Machines(cluster) = &self.metadata {
            return cluster.kill(&LocalCluster::host(number));
        }
        // No process of the host gets to see that another one has ended.
        let all: Vec<u32> = self.freeze(number).into_iter().collect();
        signal_all(&all, "KILL");
        let Member { host, up } = &mut self.members[number];
        *up = None;
        eventually("nothing of a killed host is alive", || host.alive().is_empty());
    }

    /// Stops all processes of a host, as a machine that is suspended does, and answers them.
    pub fn freeze(&self, number: usize) -> BTreeSet<u32> {
        let mut stopped = BTreeSet::new();
        // A process that was started during one pass is met by the next one.
        for _ in 0..PASSES {
            let alive = self.host(number).alive().into_iter().map(|(pid, _)| pid);
            let new: Vec<u32> = alive.filter(|pid| !stopped.contains(pid)).collect();
            if new.is_empty() {
                break;
            }
            signal_all(&new, "STOP");
            stopped.extend(new);
        }
        stopped
    }

    /// Lets all processes of a frozen host go on, and answers when that was begun.
    pub fn thaw(&self, number: usize) -> Instant {
        let all: Vec<u32> = self.host(number).alive().into_iter().map(|(pid, _)| pid).collect();
        let began = Instant::now();
        signal_all(&all, "CONT");
        began
    }

    /// A host by its number.
    pub fn host(&self, number: usize) -> &Host {
        &self.members[number].host
    }

    /// The name of a host.
    #[track_caller]
    pub fn name(&self, number: usize) -> String {
        self.host(number).name()
    }

    /// The number of the host that leads an application, as the record says to another host; `None`
    /// as long as no host does.
    #[track_caller]
    pub fn leader(&self, through: usize, id: &str) -> Option<usize> {
        let status = self.host(through).status(id);
        let name = status["leadership"]["host"].as_str()?;
        (0..self.members.len()).find(|&number| self.name(number) == name)
    }

    /// The way to this deployment's etcd that passes nothing of the product.
    pub fn gateway(&self) -> Gateway {
        match &self.metadata {
            Metadata::One(member) => Gateway::new([member.address().to_owned()]),
            Metadata::Three(cluster) => Gateway::new(cluster.each_address().map(ToOwned::to_owned)),
            Metadata::Machines(cluster) => Gateway::new(cluster.each_address()),
        }
    }

    /// The machines, and the network between them.
    #[track_caller]
    pub fn machines(&self) -> &LocalCluster {
        match &self.metadata {
            Metadata::Machines(cluster) => cluster,
            _ => panic!("the hosts of this deployment have the network of the tests"),
        }
    }

    /// The members of an etcd of three.
    #[track_caller]
    pub fn cluster(&mut self) -> &mut Cluster {
        match &mut self.metadata {
            Metadata::Three(cluster) => cluster,
            Metadata::One(_) => panic!("this deployment has an etcd of one member"),
            Metadata::Machines(_) => panic!("the members are machines here"),
        }
    }

    /// Ends one of three members of etcd as a power cut does.
    #[track_caller]
    pub(crate) fn kill_member(&mut self, number: usize) {
        match &self.metadata {
            Metadata::Machines(cluster) => cluster.kill(LocalCluster::MEMBERS[number]),
            _ => self.cluster().member(number).kill(),
        }
    }

    /// Starts all members that were killed.
    #[track_caller]
    pub(crate) fn restart_members(&mut self) {
        match &self.metadata {
            Metadata::Machines(cluster) => cluster.restart_members(),
            _ => self.cluster().restart(),
        }
    }

    /// Holds one of three members, which neither answers nor breaks a connection, or lets it go on.
    #[track_caller]
    pub(crate) fn hold_member(&mut self, number: usize, hold: bool) {
        match &self.metadata {
            Metadata::Machines(cluster) => {
                let all = cluster.named(LocalCluster::MEMBERS[number]).processes();
                signal_all(&all, if hold { "STOP" } else { "CONT" });
            }
            _ => self.cluster().member(number).hold(hold),
        }
    }

    /// What was seen of the hosts from outside.
    pub fn observer(&self) -> &Observer {
        &self.observer
    }

    /// The directory that all hosts see.
    pub fn shared(&self) -> PathBuf {
        match &self.metadata {
            Metadata::Machines(cluster) => cluster.shared(),
            _ => self.directory.path().join("shared"),
        }
    }

    fn payloads(&self) -> PathBuf {
        match &self.metadata {
            Metadata::Machines(cluster) => cluster.shared().join("payloads"),
            _ => self.directory.path().join("payloads"),
        }
    }

    /// The path by which the hosts know what is at this path here, as an argument.
    pub fn seen(&self, path: &Path) -> String {
        let seen = match &self.metadata {
            Metadata::Machines(cluster) => cluster.seen(path),
            _ => path.to_owned(),
        };
        seen.to_str().expect("temporary paths are UTF-8").to_owned()
    }

    /// Writes a file that all hosts see, and returns its path as an argument.
    pub fn file(&self, name: &str, content: &str) -> String {
        let path = self.shared().join("programs").join(name);
        std::fs::write(&path, content).expect("a test may write below its own directory");
        self.seen(&path)
    }

    /// Writes an executable shell script that all hosts see, and returns its path as an argument.
    pub fn program(&self, name: &str, script: &str) -> String {
        let program = self.file(name, &format!("#!/bin/sh\n{script}\n"));
        make_executable(&self.shared().join("programs").join(name));
        program
    }

    /// Checks what was seen from outside so far: no incarnation was alive on two hosts, and no two
    /// main()s of one application ran at one instant.
    #[track_caller]
    pub fn was_kept_apart(&self) {
        let overlaps: Vec<Overlap> = self.observer.overlaps();
        assert!(overlaps.is_empty(), "two main()s ran at one instant: {overlaps:#?}");
        self.has_no_incarnation_twice();
    }

    /// Checks that no incarnation was seen alive on two hosts so far.
    #[track_caller]
    pub fn has_no_incarnation_twice(&self) {
        let doubled = self.observer.doubled();
        assert!(doubled.is_empty(), "an incarnation lived on two hosts: {doubled:#?}");
    }
}

impl Default for Deployment {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        // A host that a failed test has left frozen would not hear that it is to end. A machine is
        // not asked.
        if std::thread::panicking() && !matches!(self.metadata, Metadata::Machines(_)) {
            for number in 0..self.members.len() {
                let all: Vec<u32> = self.freeze(number).into_iter().collect();
                signal_all(&all, "KILL");
            }
        }
    }
}

/// Gives a host that was not started yet the key of its deployment.
pub fn give_key(host: &Host, key: &[u8]) {
    let state = host.state();
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&state);
    made.expect("a test may write below its own directory");
    write_secret(&state.join(KEY), key);
}

fn write_secret(path: &Path, content: &[u8]) {
    std::fs::write(path, content).expect("a test may write below its own directory");
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(path, mode).expect("the file was just written");
}
