//! A real etcd for a test, of one member or of three: directories of its own, gone with the value.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

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
        self.ask_for_users(&[(name, password, "READWRITE")]);
    }

    /// Lets the member take calls of users alone from now on. Of each user are told the name, the
    /// password, and what the user may do below `/mainspring/`: `READ` or `READWRITE`.
    #[track_caller]
    pub fn ask_for_users(&self, users: &[(&str, &str, &str)]) {
        let [key, range_end] = DEPLOYMENT;
        let mut steps = vec![
            ("user/add", json!({ "name": "root", "password": "of the operator" })),
            ("user/grant", json!({ "user": "root", "role": "root" })),
        ];
        for (name, password, may) in users {
            let permission = json!({ "permType": may, "key": key, "range_end": range_end });
            steps.extend([
                ("role/add", json!({ "name": name })),
                ("role/grant", json!({ "name": name, "perm": permission })),
                ("user/add", json!({ "name": name, "password": password })),
                ("user/grant", json!({ "user": name, "role": name })),
            ]);
        }
        steps.push(("enable", json!({})));
        for (path, body) in steps {
            self.tell(&format!("auth/{path}"), &body);
        }
    }

    /// The value of a key, both in base 64; `None` if the key is absent.
    #[track_caller]
    pub fn value(&self, key: &str) -> Option<String> {
        let answer = self.tell("kv/range", &json!({ "key": key }));
        answer["kvs"][0]["value"].as_str().map(str::to_owned)
    }

    /// Puts a key, as no store would. Key and value are in base 64.
    #[track_caller]
    pub fn put(&self, key: &str, value: &str) {
        self.tell("kv/put", &json!({ "key": key, "value": value }));
    }

    #[track_caller]
    fn tell(&self, path: &str, body: &Value) -> Value {
        let path = format!("/v3/{path}");
        let answer = http::tell(&self.client, "POST", &path, &body.to_string());
        let answer = answer.expect("etcd answers");
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.json()
    }

    /// Keeps a copy of all that the member has, as a backup does.
    #[track_caller]
    pub fn back_up(&mut self) {
        self.kill();
        copy(&self.data(), &self.kept());
        self.launch();
        assert!(self.is_ready(), "etcd does not start again");
    }

    /// Gives the member what it had at the last [`back_up`](Self::back_up), in place of what it
    /// has.
    #[track_caller]
    pub fn go_back(&mut self) {
        self.kill();
        std::fs::remove_dir_all(self.data()).expect("the member's directory can be removed");
        copy(&self.kept(), &self.data());
        self.launch();
        assert!(self.is_ready(), "etcd does not start again");
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn kept(&self) -> PathBuf {
        self.directory.path().join("kept")
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
            .arg(self.data())
            .args(&self.arguments)
            .args(self.health.iter().map(|at| format!("--listen-metrics-urls=http://{at}")))
            .stdin(Stdio::null());
        self.server.launch(command);
    }

    fn is_ready(&mut self) -> bool {
        self.server.answers(self.health.as_ref().unwrap_or(&self.client), "/health")
    }
}

/// Copies a directory with all that is in it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a test may write below its own directory");
    let private = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(to, private).expect("the directory was just made");
    for entry in std::fs::read_dir(from).expect("the directory is there") {
        let entry = entry.expect("the directory can be read");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        match from.is_dir() {
            true => copy(&from, &to),
            false => {
                std::fs::copy(&from, &to).expect("a file can be copied");
            }
        }
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
