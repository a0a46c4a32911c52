//! An elector over the wire: in this process, or in a child that can be killed.

use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

use chassis::channel::{GrpcChannel, connect};
use chassis::clock::{SharedClock, SystemClock, timeout};
use chassis::credential::{Credential, DeploymentKey, Principal};
use chassis::server::Footing;
use chassis::tasks::Shutdown;
use chassis::transport::{Endpoint, OsTransport, SharedTransport};
use client::election::{Candidacy, Election, Leadership};
use client::hosts::Hosts;
use futures::StreamExt as _;
use leader_elector::config::Args;
use proto::{ApplicationRef, Epoch, Generation};
use tokio::task::JoinHandle;

/// The variable that names the state directory to a child.
const CHILD: &str = "ELECTOR_TEST_STATE";

/// A lease long enough that a busy machine renews in time, and short enough to wait for.
pub(crate) const LEASE: Duration = Duration::from_millis(1500);

/// Nothing that is asserted takes longer, however busy the machine is.
pub(crate) const BOUND: Duration = Duration::from_secs(30);

pub(crate) fn clock() -> SharedClock {
    Arc::new(SystemClock)
}

fn transport() -> SharedTransport {
    Arc::new(OsTransport)
}

pub(crate) async fn soon<F: Future>(what: F) -> F::Output {
    timeout(&SystemClock, BOUND, what).await.expect("comes about within the bound")
}

pub(crate) fn app(id: &str) -> ApplicationRef {
    ApplicationRef { id: id.parse().unwrap(), generation: Generation(1) }
}

pub(crate) fn candidacy(application: &str, holder: &str) -> Candidacy {
    Candidacy {
        application: app(application),
        holder: holder.to_owned(),
        at_least: Epoch(0),
        lock_file: None,
    }
}

enum Server {
    None,
    Here(Shutdown, JoinHandle<anyhow::Result<()>>),
    Child(Child),
}

pub(crate) struct Host {
    directory: tempfile::TempDir,
    key: DeploymentKey,
    server: Server,
}

fn args(state_dir: PathBuf) -> Args {
    let listen = Some(Endpoint::Unix(state_dir.join("elector.sock")));
    let lease_ms = u64::try_from(LEASE.as_millis()).unwrap();
    let (etcd, shared) = Default::default();
    Args { listen, state_dir, etcd, lease_ms, shared }
}

fn footing(shutdown: Shutdown) -> Footing {
    Footing { transport: transport(), clock: clock(), shutdown }
}

/// What a child does. Returns at once in a process that is no child.
pub(crate) async fn serve_as_child() {
    if let Some(state) = std::env::var_os(CHILD) {
        let serve = leader_elector::serve(args(state.into()), footing(Shutdown::new()));
        serve.await.unwrap();
    }
}

impl Host {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = DeploymentKey::load_or_create(&directory.path().join("deployment.key")).unwrap();
        Self { directory, key, server: Server::None }
    }

    /// An elector in this process.
    pub(crate) async fn here() -> Self {
        let mut host = Self::new();
        host.start_here().await;
        host
    }

    /// An elector in a process of its own.
    pub(crate) async fn in_a_child() -> Self {
        let mut host = Self::new();
        host.start_child().await;
        host
    }

    pub(crate) async fn start_here(&mut self) {
        let shutdown = Shutdown::new();
        let serve = leader_elector::serve(args(self.path("")), footing(shutdown.clone()));
        self.server = Server::Here(shutdown, tokio::spawn(serve));
        self.answers().await;
    }

    pub(crate) async fn start_child(&mut self) {
        self.spawn_child("");
        self.answers().await;
    }

    /// An elector in a child that dies by kill -9 at a point of its own choice, once.
    pub(crate) async fn in_a_child_that_dies_at(point: &str) -> Self {
        let mut host = Self::new();
        let marker = host.path("marker");
        host.spawn_child(&format!("{point}=kill@{}", marker.display()));
        host.answers().await;
        host
    }

    /// Waits until the child has ended by itself.
    pub(crate) async fn dies(&mut self) {
        let Server::Child(mut child) = std::mem::replace(&mut self.server, Server::None) else {
            panic!("no elector in a child");
        };
        soon(tokio::task::spawn_blocking(move || child.wait())).await.unwrap().unwrap();
    }

    /// The child is this test binary, asked for the one test that serves.
    fn spawn_child(&mut self, failpoints: &str) {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_serves", "--ignored", "--nocapture"])
            .env(CHILD, self.path(""))
            .env(chassis::failpoint::VARIABLE, failpoints)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        self.server = Server::Child(child);
    }

    async fn answers(&self) {
        let election = self.election();
        let nobody = app("nobody");
        soon(async {
            while election.observe(&nobody.id).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    /// Ends the elector in good order.
    pub(crate) async fn stop(&mut self) {
        let Server::Here(shutdown, serving) = std::mem::replace(&mut self.server, Server::None)
        else {
            panic!("no elector in this process");
        };
        shutdown.begin();
        soon(serving).await.unwrap().unwrap();
    }

    /// Ends the child by kill -9.
    pub(crate) fn kill(&mut self) {
        let Server::Child(mut child) = std::mem::replace(&mut self.server, Server::None) else {
            panic!("no elector in a child");
        };
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A connection of its own, as each contender has one.
    pub(crate) fn channel(&self, principal: &Principal) -> GrpcChannel {
        let endpoint = args(self.path("")).listen.unwrap();
        connect(transport(), clock(), endpoint, Some(self.key.mint(principal)))
    }

    pub(crate) fn mint(&self, principal: &Principal) -> Credential {
        self.key.mint(principal)
    }

    pub(crate) fn election(&self) -> Election {
        Election::new(self.channel(&Principal::Deployment), clock())
    }

    /// A client of the hosts' seats, on a connection of its own.
    pub(crate) fn hosts(&self) -> Hosts {
        Hosts::new(self.channel(&Principal::Deployment), clock())
    }

    /// Campaigns and waits for the election.
    pub(crate) async fn elect(&self, candidacy: Candidacy) -> Leadership {
        soon(self.election().campaign(candidacy).elected()).await.unwrap()
    }

    /// Waits until this contender is in the queue.
    pub(crate) async fn until_queued(&self, application: &str, holder: &str) {
        soon(async {
            let mut views = self.election().observe(&app(application).id).await.unwrap();
            while let Some(view) = views.next().await {
                if view.unwrap().standbys.iter().any(|standby| standby == holder) {
                    return;
                }
            }
            panic!("the elector ended the observation");
        })
        .await;
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        match &mut self.server {
            Server::None => {}
            Server::Here(shutdown, serving) => {
                shutdown.begin();
                serving.abort();
            }
            Server::Child(child) => {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}
