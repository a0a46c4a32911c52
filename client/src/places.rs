//! Where things are on one host: the state directory (what lasts) and the runtime directory (sockets, whose paths may
//! have 107 bytes only). Every process computes the same paths from the state directory alone.

use std::path::{Path, PathBuf};

use chassis::run_as::RunAs;
use chassis::transport::Endpoint;
use proto::ApplicationRef;
use sha2::{Digest as _, Sha256};

/// The places of one host; made from its state directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    state: PathBuf,
    runtime: PathBuf,
    /// Where processes that run as another user work.
    open: Option<PathBuf>,
}

/// Kinds of processes that a tether starts; part of owner marks and of socket names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// main() and what it starts, and the attempt's `describe`; numbered by epoch.
    Attempt,
    /// Roles of the cluster; numbered by incarnation.
    Cluster,
    /// Runners; numbered by index.
    Contender,
}

impl Kind {
    /// The word in owner marks and keys.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Attempt => "attempt",
            Self::Cluster => "cluster",
            Self::Contender => "contender",
        }
    }
}

impl Places {
    /// The places for a state directory (absolute). The runtime directory is
    /// `$XDG_RUNTIME_DIR/mainspring/<8 hex>` or `<temporary directory>/mainspring-<uid>/<8 hex>`.
    pub fn new(state: impl Into<PathBuf>) -> Self {
        let state = state.into();
        let base = match std::env::var_os("XDG_RUNTIME_DIR") {
            Some(dir) if !dir.is_empty() => PathBuf::from(dir).join("mainspring"),
            _ => std::env::temp_dir().join(format!("mainspring-{}", rustix::process::getuid().as_raw())),
        };
        let runtime = base.join(state_mark(&state));
        Self { state, runtime, open: None }
    }

    /// The same where the processes of applications run as a user of their own: what they may enter is below that user's directory.
    #[must_use]
    pub fn for_run_as(self, run_as: Option<&RunAs>) -> Self {
        let open = run_as.map(|run_as| run_as.directory.join(self.state_mark()));
        Self { open, ..self }
    }

    /// What the processes of applications may enter: working directories, outputs, checkpoints and sockets. The state directory and
    /// the runtime directory themselves, unless such processes run as a user of their own.
    #[must_use]
    pub fn open(&self) -> Self {
        match &self.open {
            None => self.clone(),
            Some(open) => Self { state: open.clone(), runtime: open.join("s"), open: None },
        }
    }

    /// Where jobgraph-store serves clusters that run as a user of their own: the directory is theirs.
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

    /// The first 8 hex digits of the state directory's SHA-256: begins owner marks and names the runtime directory.
    pub fn state_mark(&self) -> String {
        state_mark(&self.state)
    }

    /// Socket of one of the four services, such as `jobgraph-store`.
    pub fn service_socket(&self, service: &str) -> PathBuf {
        self.runtime.join(format!("{service}.sock"))
    }

    /// Where one of the four services listens unless it is told otherwise.
    pub fn service_endpoint(&self, service: &str) -> Endpoint {
        Endpoint::Unix(self.service_socket(service))
    }

    /// The deployment key.
    pub fn deployment_key(&self) -> PathBuf {
        self.state.join("deployment.key")
    }

    /// Endpoints, pids and build of the running host.
    pub fn host_file(&self) -> PathBuf {
        self.state.join("host.json")
    }

    /// Decides who is `up`.
    pub fn host_lock(&self) -> PathBuf {
        self.state.join("host.lock")
    }

    /// What a service keeps: `<state>/<service>/`.
    pub fn service_state(&self, service: &str) -> PathBuf {
        self.state.join(service)
    }

    /// Where processes of one application work: `<state>/work/<id>@<generation>/`.
    pub fn application_work(&self, application: &ApplicationRef) -> PathBuf {
        self.state.join("work").join(application.to_string())
    }

    /// Default place of an application's relative outputs: `<state>/outputs/<id>@<generation>/`.
    pub fn outputs(&self, application: &ApplicationRef) -> PathBuf {
        self.state.join("outputs").join(application.to_string())
    }

    /// What an application's clusters keep beyond their incarnations, checkpoints above all: `<state>/checkpoints/<id>@<generation>/`.
    pub fn checkpoints(&self, application: &ApplicationRef) -> PathBuf {
        self.state.join("checkpoints").join(application.to_string())
    }

    /// Directory of the sockets of one (application, generation, kind, number): short, never reused.
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

    /// `MAINSPRING_OWNER` of everything that a tether starts:
    /// `<8 hex of the state directory>/<application>/<generation>/<attempt|cluster|contender>/<number>`.
    pub fn owner_mark(&self, application: &ApplicationRef, kind: Kind, number: u64) -> String {
        format!("{}{number}", self.owner_mark_prefix(application, kind))
    }

    /// What the owner marks of one kind have in common, the final `/` included.
    pub fn owner_mark_prefix(&self, application: &ApplicationRef, kind: Kind) -> String {
        format!("{}/{}/{}/{}/", self.state_mark(), application.id, application.generation, kind.as_str())
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
        let application =
            ApplicationRef { id: "a".repeat(63).parse().unwrap(), generation: Generation(u64::MAX) };
        let socket = places.sockets(&application, Kind::Contender, 4_000_000).join("taskmanager-99.sock");
        let below = socket.strip_prefix(std::env::temp_dir()).unwrap_or(&socket);
        assert!(below.as_os_str().len() < 80, "{}", below.display());
    }
}
