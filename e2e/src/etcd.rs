//! A real etcd for a test, of one member or of three: directories of its own, gone with the value.

use std::process::{Command, Stdio};

use serde_json::json;

use crate::certificates::{Authority, Signed};
use crate::http;
use crate::server::{Server, TRIES, free_address};

/// What the keys of a deployment begin with, and the first key after all of them, in base 64:
/// `/mainspring/` and `/mainspring0`.
const DEPLOYMENT: [&str; 2] = ["L21haW5zcHJpbmcv", "L21haW5zcHJpbmcw"];

/// One member: a whole cluster by itself, or one of several.
pub struct Etcd {
    // The process goes before its directory does.
    server: Server,
    directory: tempfile::TempDir,
    name: String,
    client: String,
    peer: String,
    /// Where a member that speaks TLS to its clients says in plain text whether it is well.
    health: Option<String>,
    /// The members of the cluster as etcd names them; empty for this member alone.
    together: String,
    arguments: Vec<String>,
}

impl Etcd {
    /// A member that serves.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// A member that serves, with further arguments of etcd's own.
    #[track_caller]
    pub fn start_with(arguments: &[&str]) -> Self {
        let mut etcd = Self::member("test".to_owned());
        etcd.arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        etcd.started()
    }

    /// A member that speaks TLS alone, shows this certificate, and takes clients that show one of
    /// the authority's.
    #[track_caller]
    pub fn start_secured(authority: &Authority, server: &Signed) -> Self {
        let mut etcd = Self::member("test".to_owned());
        etcd.health = Some(free_address());
        etcd.arguments = vec!["--client-cert-auth".to_owned()];
        for (option, file) in [
            ("trusted-ca-file", authority.file()),
            ("cert-file", server.certificate.clone()),
            ("key-file", server.key.clone()),
        ] {
            etcd.arguments.push(format!("--{option}={}", file.display()));
        }
        etcd.started()
    }

    #[track_caller]
    fn started(mut self) -> Self {
        for _ in 0..TRIES {
            self.launch();
            if self.is_ready() {
                return self;
            }
            (self.client, self.peer) = (free_address(), free_address());
            self.health = self.health.as_ref().map(|_| free_address());
        }
        panic!("etcd does not start: {}", self.directory.path().display());
    }

    fn member(name: String) -> Self {
        Self {
            server: Server::new("etcd"),
            directory: tempfile::tempdir().expect("a directory for etcd"),
            name,
            client: free_address(),
            peer: free_address(),
            health: None,
            together: String::new(),
            arguments: Vec::new(),
        }
    }

    /// Where the member serves, as `host:port`.
    pub fn address(&self) -> &str {
        &self.client
    }

    /// The member's process; it changes when the member is started again.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// Ends the member as a power cut does, without starting it again.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Starts the member again, with what it had written.
    #[track_caller]
    pub fn restart(&mut self) {
        self.kill();
        self.launch();
        assert!(self.is_ready(), "etcd does not start again");
    }

    /// Holds the member, which neither answers nor breaks a connection, or lets it go on.
    pub fn hold(&self, hold: bool) {
        self.server.hold(hold);
    }

    /// Lets the member take calls of users alone from now on. The one with this name may read and
    /// write what is below `/mainspring/`.
    #[track_caller]
    pub fn ask_for_user(&self, name: &str, password: &str) {
        let [key, range_end] = DEPLOYMENT;
        let permission = json!({ "permType": "READWRITE", "key": key, "range_end": range_end });
        for (path, body) in [
            ("user/add", json!({ "name": "root", "password": "of the operator" })),
            ("user/grant", json!({ "user": "root", "role": "root" })),
            ("role/add", json!({ "name": "deployment" })),
            ("role/grant", json!({ "name": "deployment", "perm": permission })),
            ("user/add", json!({ "name": name, "password": password })),
            ("user/grant", json!({ "user": name, "role": "deployment" })),
            ("enable", json!({})),
        ] {
            let path = format!("/v3/auth/{path}");
            let answer = http::tell(&self.client, "POST", &path, &body.to_string());
            let answer = answer.expect("etcd answers");
            assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        }
    }

    fn launch(&mut self) {
        let mut command = Command::new("etcd");
        let scheme = if self.health.is_some() { "https" } else { "http" };
        let client = format!("{scheme}://{}", self.client);
        let peer = format!("http://{}", self.peer);
        let alone = format!("{}={peer}", self.name);
        let together = if self.together.is_empty() { &alone } else { &self.together };
        command
            .args(["--name", &self.name, "--log-level", "error", "--logger", "zap"])
            .args(["--initial-cluster", together])
            .args(["--initial-advertise-peer-urls", &peer, "--listen-peer-urls", &peer])
            .args(["--advertise-client-urls", &client, "--listen-client-urls", &client])
            .arg("--data-dir")
            .arg(self.directory.path().join("data"))
            .args(&self.arguments)
            .args(self.health.iter().map(|at| format!("--listen-metrics-urls=http://{at}")))
            .stdin(Stdio::null());
        self.server.launch(command);
    }

    fn is_ready(&mut self) -> bool {
        self.server.answers(self.health.as_ref().unwrap_or(&self.client), "/health")
    }
}

/// Three members of one cluster.
pub struct Cluster {
    members: [Etcd; 3],
}

impl Cluster {
    /// Three members that serve.
    #[track_caller]
    pub fn start() -> Self {
        for _ in 0..TRIES {
            let mut members = [0, 1, 2].map(|number| Etcd::member(format!("member-{number}")));
            let names: Vec<String> = members
                .iter()
                .map(|member| format!("{}=http://{}", member.name, member.peer))
                .collect();
            for member in &mut members {
                member.together = names.join(",");
                member.launch();
            }
            if members.iter_mut().all(Etcd::is_ready) {
                return Self { members };
            }
        }
        panic!("three members of etcd do not start");
    }

    /// The members as a setting names them.
    pub fn addresses(&self) -> String {
        self.members.each_ref().map(|member| format!("http://{}", member.address())).join(",")
    }

    /// Where each of the members serves, as `host:port`.
    pub fn each_address(&self) -> [&str; 3] {
        self.members.each_ref().map(Etcd::address)
    }

    /// One of the members.
    pub fn member(&mut self, number: usize) -> &mut Etcd {
        &mut self.members[number]
    }

    /// Starts all members that were killed.
    #[track_caller]
    pub fn restart(&mut self) {
        let killed: Vec<&mut Etcd> =
            self.members.iter_mut().filter(|member| !member.server.was_launched()).collect();
        for member in killed {
            member.launch();
        }
        assert!(self.members.iter_mut().all(Etcd::is_ready), "etcd does not start again");
    }
}
