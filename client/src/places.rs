//! Where things are on one host: the state directory, which lasts, and the runtime directory, which
//! holds sockets, because the path of a socket may have 107 bytes only. Every process computes the
//! same paths from the state directory alone.

mod host_id;
mod key;

use std::path::{Path, PathBuf};

use chassis::run_as::RunAs;
use chassis::transport::Endpoint;
use proto::ApplicationRef;
use sha2::{Digest as _, Sha256};

/// The places of one host, which follow from its state directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    state: PathBuf,
    runtime: PathBuf,
    /// The directory below which processes work that run as another user.
    open: Option<PathBuf>,
    /// The directory that all hosts of the deployment see, where there are several.
    shared: Option<PathBuf>,
}

/// The kinds of processes that a tether starts. The kind is part of owner marks and of socket
/// names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// main(), the processes that it starts, and the attempt's `describe`; numbered by epoch.
    Attempt,
    /// The roles of a cluster; numbered by incarnation.
    Cluster,
    /// Runners; numbered by index.
    Contender,
}

impl Kind {
    /// The word for the kind in owner marks and keys.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Attempt => "attempt",
            Self::Cluster => "cluster",
            Self::Contender => "contender",
        }
    }
}

impl Places {
    /// The places for an absolute state directory. The runtime directory is
    /// `$XDG_RUNTIME_DIR/mainspring/<8 hex>` or `<temporary directory>/mainspring-<uid>/<8 hex>`.
    pub fn new(state: impl Into<PathBuf>) -> Self {
        let state = state.into();
        let base = match std::env::var_os("XDG_RUNTIME_DIR") {
            Some(dir) if !dir.is_empty() => PathBuf::from(dir).join("mainspring"),
            _ => std::env::temp_dir()
                .join(format!("mainspring-{}", rustix::process::getuid().as_raw())),
        };
        let runtime = base.join(state_mark(&state));
        Self { state, runtime, open: None, shared: None }
    }

    /// The places of a host whose applications run as a user of their own: their processes may
    /// enter only what is below that user's directory.
    #[must_use]
    pub fn for_run_as(self, run_as: Option<&RunAs>) -> Self {
        let open = run_as.map(|run_as| run_as.directory.join(self.state_mark()));
        Self { open, ..self }
    }

    /// The places of one of several hosts: what an application needs on each of them is below this
    /// directory, which all of them see.
    #[must_use]
    pub fn sharing(self, shared: Option<PathBuf>) -> Self {
        Self { shared, ..self }
    }

    /// The directory that all hosts of the deployment see; `None` where there is one host.
    pub fn shared(&self) -> Option<&Path> {
        self.shared.as_deref()
    }

    /// Whether this host is one of several.
    pub fn are_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// The places that the processes of applications may enter: working directories, outputs,
    /// checkpoints and sockets. They are the state directory and the runtime directory themselves,
    /// unless such processes run as a user of their own.
    #[must_use]
    pub fn open(&self) -> Self {
        match &self.open {
            None => self.clone(),
            Some(open) => Self {
                state: open.clone(),
                runtime: open.join("s"),
                open: None,
                shared: self.shared.clone(),
            },
        }
    }

    /// Where jobgraph-store serves clusters that run as a user of their own: in a directory that
    /// only their group enters.
    pub fn open_store(&self) -> Endpoint {
        Endpoint::Unix(self.open().runtime.join("store").join("jobgraph-store.sock"))
    }

    /// Whether what applications may enter is apart from the rest.
    pub fn are_apart(&self) -> bool {
        self.open.is_some()
    }

    /// The state directory.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The directory of sockets.
    pub fn runtime(&self) -> &Path {
        &self.runtime
    }

    /// The first 8 hex digits of the state directory's SHA-256. Owner marks begin with them, and
    /// they name the runtime directory.
    pub fn state_mark(&self) -> String {
        state_mark(&self.state)
    }

    /// The socket of one of the four services, such as `jobgraph-store`.
    pub fn service_socket(&self, service: &str) -> PathBuf {
        self.runtime.join(format!("{service}.sock"))
    }

    /// Where one of the four services listens unless a setting says otherwise.
    pub fn service_endpoint(&self, service: &str) -> Endpoint {
        Endpoint::Unix(self.service_socket(service))
    }

    /// The file of the deployment key.
    pub fn deployment_key(&self) -> PathBuf {
        self.state.join("deployment.key")
    }

    /// The file with the endpoints, pids and build of the running host.
    pub fn host_file(&self) -> PathBuf {
        self.state.join("host.json")
    }

    /// The file whose lock decides which process is the host's `mainspring up`.
    pub fn host_lock(&self) -> PathBuf {
        self.state.join("host.lock")
    }

    /// The directory that a service keeps its data in: `<state>/<service>/`.
    pub fn service_state(&self, service: &str) -> PathBuf {
        self.state.join(service)
    }

    /// The directory with the work directories of all applications: `<state>/work/`.
    pub fn work(&self) -> PathBuf {
        self.state.join("work")
    }

    /// The directory that the processes of one application work in:
    /// `<state>/work/<id>@<generation>/`.
    pub fn application_work(&self, application: &ApplicationRef) -> PathBuf {
        self.work().join(application.to_string())
    }

    /// The default place of an application's relative outputs: `<root>/outputs/<id>@<generation>/`.
    /// The root is the directory that the hosts share, or else the state directory.
    pub fn outputs(&self, application: &ApplicationRef) -> PathBuf {
        self.root().join("outputs").join(application.to_string())
    }

    /// What an application's clusters keep beyond their incarnations, checkpoints above all:
    /// `<root>/checkpoints/<id>@<generation>/`.
    pub fn checkpoints(&self, application: &ApplicationRef) -> PathBuf {
        self.root().join("checkpoints").join(application.to_string())
    }

    /// Where an application's artifacts are for all of its attempts. Their paths get into job
    /// graphs, which a leader on another host submits as they are.
    pub fn artifacts(&self, application: &ApplicationRef) -> PathBuf {
        match &self.shared {
            Some(shared) => shared.join("artifacts").join(application.to_string()),
            None => self.application_work(application).join("artifacts"),
        }
    }

    fn root(&self) -> &Path {
        self.shared.as_deref().unwrap_or(&self.state)
    }

    /// The directory of the sockets of one (application, generation, kind, number). Its path is
    /// short, and it is never reused.
    pub fn sockets(&self, application: &ApplicationRef, kind: Kind, number: u64) -> PathBuf {
        let mut hasher = Sha256::new();
        for text in [application.id.as_str(), kind.as_str()] {
            hasher.update((text.len() as u64).to_be_bytes());
            hasher.update(text.as_bytes());
        }
        hasher.update(application.generation.get().to_be_bytes());
        let digest = hex::encode(hasher.finalize());
        self.runtime.join(format!("{}-{number}", &digest[..12]))
    }

    /// The `MAINSPRING_OWNER` of everything that a tether starts: `<8 hex of the state
    /// directory>/<application>/<generation>/<attempt|cluster|contender>/<number>`.
    pub fn owner_mark(&self, application: &ApplicationRef, kind: Kind, number: u64) -> String {
        format!("{}{number}", self.owner_mark_prefix(application, kind))
    }

    /// The common beginning of the owner marks of one kind, the final `/` included.
    pub fn owner_mark_prefix(&self, application: &ApplicationRef, kind: Kind) -> String {
        format!(
            "{}/{}/{}/{}/",
            self.state_mark(),
            application.id,
            application.generation,
            kind.as_str()
        )
    }
}

fn state_mark(state: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    hex::encode(&Sha256::digest(state.as_os_str().as_bytes())[..4])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proto::Generation;

    use super::*;

    #[test]
    fn a_socket_path_fits_whatever_the_state_directory_is_called() {
        let places = Places::new(format!("/{}", "x".repeat(3000)));
        let application = ApplicationRef {
            id: "a".repeat(63).parse().unwrap(),
            generation: Generation(u64::MAX),
        };
        let socket =
            places.sockets(&application, Kind::Contender, 4_000_000).join("taskmanager-99.sock");
        let below = socket.strip_prefix(std::env::temp_dir()).unwrap_or(&socket);
        assert!(below.as_os_str().len() < 80, "{}", below.display());
    }
}
