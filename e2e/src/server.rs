//! A server of another project, which a test starts, kills, holds and starts again.

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use crate::http;
use crate::process::{Running, eventually_within, signal};

/// How long a server may take to answer: a moment on an idle machine.
const READY: Duration = Duration::from_secs(60);

/// How often ports are tried, because another process may take one meanwhile.
pub(crate) const TRIES: usize = 5;

/// A server that is gone with the value.
pub(crate) struct Server {
    name: &'static str,
    running: Option<Running>,
}

impl Server {
    /// A server that does not run yet.
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, running: None }
    }

    /// Starts the server.
    pub(crate) fn launch(&mut self, command: Command) {
        self.running = Some(Running::start(command));
    }

    /// Whether the server was started, and not killed since.
    pub(crate) fn was_launched(&self) -> bool {
        self.running.is_some()
    }

    /// The server's process.
    pub(crate) fn pid(&self) -> u32 {
        self.running.as_ref().expect("the server runs").pid()
    }

    /// Ends the server as a power cut does.
    pub(crate) fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            running.signal("KILL");
            let _ = running.finish();
        }
    }

    /// Holds the server, which neither answers nor breaks a connection, or lets it go on.
    pub(crate) fn hold(&self, hold: bool) {
        signal(self.pid(), if hold { "STOP" } else { "CONT" });
    }

    /// Whether the server comes to answer at this path, before it ends.
    pub(crate) fn answers(&mut self, address: &str, path: &str) -> bool {
        let running = self.running.as_mut().expect("the server was launched");
        let mut answers = false;
        eventually_within(READY, &format!("{} serves", self.name), || {
            answers = http::ask(address, "GET", path).is_ok_and(|answer| answer.status == 200);
            answers || !running.is_running()
        });
        answers
    }
}

/// An address of the loopback interface that no process listens on at present.
pub fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("a bound socket has an address").to_string()
}
