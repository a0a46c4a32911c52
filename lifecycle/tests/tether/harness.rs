//! One tether in a directory of its own, as a real process: this test executable, started again.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chassis::channel::{self, GrpcChannel};
use chassis::clock::{Clock as _, SharedClock, SystemClock, timeout};
use chassis::credential::{Credential, DeploymentKey, Kept, Principal};
use chassis::transport::{Endpoint, OsTransport, SharedTransport};
use client::places::{Kind, Places};
use client::process_tree::{self, OwnerMark, Process};
use client::tether::{self, Exit, Owned, Tether, TetherError, TetherEvent, TetherSpec};
use proto::{ApplicationRef, Generation};
use rustix::process::Signal;

/// A time longer than anything here takes; a wait that gets there is a failure.
const LONG: Duration = Duration::from_secs(30);

/// A state directory and everything that runs for it.
pub(crate) struct Scene {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) places: Places,
    pub(crate) clock: SharedClock,
    transport: SharedTransport,
    executable: PathBuf,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let executable = crate::tether_process::executable(directory.path());
        let places = Places::new(directory.path().join("state"));
        Self {
            executable,
            places,
            directory,
            clock: Arc::new(SystemClock),
            transport: Arc::new(OsTransport),
        }
    }

    /// A spec for `sh -c SCRIPT` without grace, as the attempt of this epoch.
    pub(crate) fn spec(&self, epoch: u64, script: &str) -> TetherSpec {
        let home = self.directory.path().join(epoch.to_string());
        fs::create_dir_all(&home).unwrap();
        let application =
            ApplicationRef { id: "orders".parse().unwrap(), generation: Generation(4) };
        TetherSpec {
            argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
            cwd: home.clone(),
            socket: home.join("t.sock"),
            owner: token(epoch),
            grace_ms: 0,
            lock_file: None,
            lock_wait_ms: 100,
            becomes: None,
            yields: false,
            output_dir: home.join("output"),
            exit_file: home.join("exit.json"),
            owner_mark: self.places.owner_mark(&application, Kind::Attempt, epoch),
        }
    }

    pub(crate) async fn spawn(&self, spec: &TetherSpec) -> Result<Tether, TetherError> {
        within(tether::spawn(spec, &self.executable, self.transport.clone(), self.clock.clone()))
            .await
    }

    pub(crate) fn connect(&self, spec: &TetherSpec, credential: Credential) -> Tether {
        let endpoint = Endpoint::Unix(spec.socket.clone());
        Tether::connect(endpoint, credential, self.transport.clone(), self.clock.clone())
    }

    pub(crate) fn channel(&self, spec: &TetherSpec) -> GrpcChannel {
        let endpoint = Endpoint::Unix(spec.socket.clone());
        channel::connect(self.transport.clone(), self.clock.clone(), endpoint, None)
    }

    /// Starts the child and returns once it runs.
    pub(crate) async fn start(&self, spec: &TetherSpec) -> (Tether, Owned, u32) {
        let tether = self.spawn(spec).await.unwrap();
        let mut owned = within(tether.own(true, None)).await.unwrap();
        let Some(TetherEvent::Started { pid }) = within(owned.next()).await.unwrap() else {
            panic!("the child was not started")
        };
        (tether, owned, pid)
    }

    /// Processes with this scene's marks, tethers included.
    pub(crate) fn marked(&self) -> Vec<(Process, OwnerMark)> {
        let state = self.places.state_mark();
        process_tree::marked(|mark| mark.state == state).unwrap()
    }

    /// Waits until `reached`, which something outside brings about.
    pub(crate) async fn until(&self, what: &str, mut reached: impl FnMut() -> bool) {
        let end = self.clock.boot() + LONG;
        while !reached() {
            assert!(self.clock.boot() < end, "never came true: {what}");
            self.clock.sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Scene {
    /// Leaves nothing running, however the test ended.
    fn drop(&mut self) {
        for _ in 0..1000 {
            let left = self.marked();
            if left.is_empty() {
                return;
            }
            for (process, _) in left {
                process.signal(Signal::KILL);
            }
            std::thread::yield_now();
        }
    }
}

/// The token of a tether's owner.
pub(crate) fn token(epoch: u64) -> Credential {
    let (application, generation, kept) = ("orders".into(), 4, Kept::Main);
    mint(&Principal::Owner { application, generation, kept, number: epoch })
}

pub(crate) fn mint(principal: &Principal) -> Credential {
    DeploymentKey::from_bytes([7; 32]).mint(principal)
}

/// The future's output, or a failed test.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    timeout(&SystemClock, LONG, future).await.expect("bounded wait")
}

/// Waits for the end of the tree.
pub(crate) async fn exit(owned: &mut Owned) -> Exit {
    loop {
        if let TetherEvent::Exited(exit) =
            within(owned.next()).await.unwrap().expect("the tether stays")
        {
            return exit;
        }
    }
}

/// What the child said, in order.
pub(crate) async fn said(tether: &Tether) -> String {
    let mut output = within(tether.read_output(0, true)).await.unwrap();
    let mut said = Vec::new();
    while let Some(chunk) = within(output.next()).await.unwrap() {
        said.extend_from_slice(&chunk.data);
    }
    String::from_utf8(said).unwrap()
}
