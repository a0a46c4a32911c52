//! What a tether is told and what it leaves behind: the two files of `mainspring tether`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chassis::credential::Credential;
use chassis::run_as::Identity;
use serde::{Deserialize, Serialize};

/// What `mainspring tether --spec FILE` reads: one process and the terms on which it runs. All
/// paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TetherSpec {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// The whole environment of the child, which inherits nothing. The tether adds
    /// `MAINSPRING_OWNER`.
    pub env: BTreeMap<String, String>,
    /// The child's working directory, which exists already.
    pub cwd: PathBuf,
    /// The socket where the tether listens.
    pub socket: PathBuf,
    /// The token that owners have to show. It is in this file only, and the tether removes the file
    /// before its child starts, so a process that runs under the tether finds the token nowhere.
    #[serde(with = "token")]
    pub owner: Credential,
    /// How long the tree lives on without an owner, in milliseconds. With 0 the tree is ended at
    /// once.
    pub grace_ms: u64,
    /// The file that the tether locks before the child starts. The lock is inherited by every
    /// process that the child starts.
    #[serde(default)]
    pub lock_file: Option<PathBuf>,
    /// How long the tether waits for the lock, in milliseconds.
    #[serde(default = "default_lock_wait_ms")]
    pub lock_wait_ms: u64,
    /// Where the child's output is kept, see [`super::output`]. The directory is made if it is
    /// missing.
    pub output_dir: PathBuf,
    /// Where the exit is kept once the tree has ended, see [`Exit::read`].
    pub exit_file: PathBuf,
    /// The user that the child becomes before its program begins. Without one the child runs as the
    /// tether's user.
    #[serde(default)]
    pub becomes: Option<Identity>,
    /// Whether the child and the processes that it starts yield to the services of the host, which
    /// work for all applications.
    #[serde(default)]
    pub yields: bool,
    /// The `MAINSPRING_OWNER` of every process that is started, see
    /// [`crate::places::Places::owner_mark`].
    pub owner_mark: String,
}

/// The environment variable that carries the owner mark.
pub const OWNER_VARIABLE: &str = "MAINSPRING_OWNER";

/// The environment variable that names the working directory of a role's process. The tether of
/// that process carries it too.
pub const WORK_DIR_VARIABLE: &str = "MAINSPRING_WORK_DIR";

/// The default of [`TetherSpec::lock_wait_ms`].
pub fn default_lock_wait_ms() -> u64 {
    10_000
}

impl TetherSpec {
    /// How long the tree lives on without an owner.
    pub fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_ms)
    }

    /// Reads a spec file.
    pub fn read(path: &Path) -> io::Result<Self> {
        decode(path, &fs::read(path)?)
    }
}

/// A token is written out only where the code asks for it, as here; everywhere else a credential
/// prints as `***`.
mod token {
    use chassis::credential::Credential;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(owner: &Credential, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(owner.expose())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Credential, D::Error> {
        Credential::new(String::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// How a child ended, and whether an owner saw it; the content of the exit file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Exit {
    /// The exit code, if the child exited.
    pub code: Option<i32>,
    /// The number of the signal, if one killed the child.
    pub signal: Option<i32>,
    /// Whether the exit happened while an owner was connected. Otherwise only exit code 0 may be
    /// taken for the child's own.
    pub seen_by_owner: bool,
    /// Why the child could not be started at all; empty if it was started.
    #[serde(default)]
    pub start_error: String,
    /// How many processes outlived the child and were ended by the tether.
    #[serde(default)]
    pub survivors_killed: u32,
    /// The sender of SIGKILL for people, as far as it is known; empty when the tether itself sent
    /// it, or no SIGKILL came.
    #[serde(default)]
    pub signal_sender: String,
}

impl Exit {
    /// Whether the child itself ended like this: an owner saw the exit, or the exit says success.
    pub fn is_its_own(&self) -> bool {
        self.start_error.is_empty() && (self.seen_by_owner || self.code == Some(0))
    }

    /// Reads the exit file; `None` when no tether has lived to see the tree end.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        match fs::read(path) {
            Ok(text) => decode(path, &text).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Both files appear whole or not at all, so a file that cannot be read was damaged.
fn decode<T: serde::de::DeserializeOwned>(path: &Path, text: &[u8]) -> io::Result<T> {
    let damaged = |error| format!("{} is damaged: {error}", path.display());
    serde_json::from_slice(text)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, damaged(error)))
}

impl std::fmt::Display for Exit {
    /// `exit code 1`, `signal 9`, or why the child was not started.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.code, self.signal) {
            _ if !self.start_error.is_empty() => write!(f, "not started: {}", self.start_error),
            (Some(code), _) => write!(f, "exit code {code}"),
            (None, Some(signal)) => write!(f, "signal {signal}"),
            (None, None) => f.write_str("exit unknown"),
        }
    }
}

impl From<proto::tether::Exited> for Exit {
    fn from(wire: proto::tether::Exited) -> Self {
        let proto::tether::Exited {
            code,
            signal,
            seen_by_owner,
            start_error,
            survivors_killed,
            signal_sender,
        } = wire;
        Self { code, signal, seen_by_owner, start_error, survivors_killed, signal_sender }
    }
}

impl From<Exit> for proto::tether::Exited {
    fn from(exit: Exit) -> Self {
        let Exit { code, signal, seen_by_owner, start_error, survivors_killed, signal_sender } =
            exit;
        Self { code, signal, seen_by_owner, start_error, survivors_killed, signal_sender }
    }
}
