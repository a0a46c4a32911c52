//! The way from this machine's network into a cluster's, which no cable leads to: a process that
//! takes connections here, and makes each of them on from the cluster's router.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

/// What the process does. Its stdin is the socket that it listens on, which was made in this
/// network; the sockets that it makes are in the network that it was started in.
const PROGRAM: &str = include_str!("relay.py");

/// An address here that leads to one of a cluster. The process ends with the value.
pub(super) struct Relay {
    process: Child,
    address: String,
}

impl Relay {
    /// A relay to an address as a process of the cluster knows it.
    #[track_caller]
    pub(super) fn start(process: u32, to: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("a bound socket has an address").to_string();
        let process = Command::new("nsenter")
            .args([&format!("--target={process}"), "--net", "--", "python3", "-c", PROGRAM, to])
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .stdout(Stdio::null())
            .spawn()
            .expect("nsenter (util-linux) is installed");
        Self { process, address }
    }

    /// Where the relay takes connections, as `host:port`.
    pub(super) fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
