//! A real etcd for a test: one member, its own directory, gone with the value.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::http;
use crate::process::{Running, eventually_within, signal};

/// How long a member may take to answer: one to two seconds on an idle machine.
const READY: Duration = Duration::from_secs(60);

/// How often two ports are tried, because another process may take one meanwhile.
const TRIES: usize = 5;

/// One member that is a whole cluster.
pub struct Etcd {
    // The process goes before its directory does.
    running: Option<Running>,
    directory: tempfile::TempDir,
    client: String,
    peer: String,
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
        let directory = tempfile::tempdir().expect("a directory for etcd");
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let (client, peer) = (free_address(), free_address());
        let mut etcd = Self { directory, client, peer, arguments, running: None };
        for _ in 0..TRIES {
            etcd.launch();
            if etcd.is_ready() {
                return etcd;
            }
            (etcd.client, etcd.peer) = (free_address(), free_address());
        }
        panic!("etcd does not start: {}", etcd.directory.path().display());
    }

    /// Where the member serves, as `host:port`.
    pub fn address(&self) -> &str {
        &self.client
    }

    /// The member's process; it changes when the member is started again.
    pub fn pid(&self) -> u32 {
        self.running.as_ref().expect("etcd runs").pid()
    }

    /// Ends the member as a power cut does, without starting it again.
    pub fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            running.signal("KILL");
            let _ = running.finish();
        }
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
        signal(self.pid(), if hold { "STOP" } else { "CONT" });
    }

    fn launch(&mut self) {
        let mut command = Command::new("etcd");
        let (client, peer) = (format!("http://{}", self.client), format!("http://{}", self.peer));
        command
            .args(["--name", "test", "--log-level", "error", "--logger", "zap"])
            .args(["--initial-cluster", &format!("test={peer}")])
            .args(["--initial-advertise-peer-urls", &peer, "--listen-peer-urls", &peer])
            .args(["--advertise-client-urls", &client, "--listen-client-urls", &client])
            .arg("--data-dir")
            .arg(self.directory.path().join("data"))
            .args(&self.arguments)
            .stdin(Stdio::null());
        self.running = Some(Running::start(command));
    }

    fn is_ready(&mut self) -> bool {
        let running = self.running.as_mut().expect("etcd was launched");
        let mut ready = false;
        let client = &self.client;
        eventually_within(READY, "etcd serves", || {
            ready = http::ask(client, "GET", "/health").is_ok_and(|answer| answer.status == 200);
            ready || !running.is_running()
        });
        ready
    }
}

/// An address of the loopback interface that no process listens on at present.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound socket has an address").to_string()
}
