//! Directories on this host: main()'s working directory, and beside it the places that main() has
//! no business with.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use chassis::run_as::{RunAs, Share, make_way, share_with};
use client::attempts;
use client::outbox::Outbox;
use client::places::Places;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use proto::jobgraph::LogSource;
use proto::{ApplicationRef, Digest, EpochFence, Reason};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;

use super::PortResult;
use super::keyring::Keyring;
use crate::error::PortError;

pub use client::attempts::{AttemptPlaces, MAIN_LOCK};
pub(super) use client::attempts::{rescue_output, source};

/// The directories of one application's attempts. The runner makes those of its own attempt, and
/// removes those of all attempts when the application is cleaned up. Output that is not in the
/// record yet outlives its directory.
#[async_trait]
pub trait Workspace: Send + Sync {
    /// Makes the attempt's directories. The answer is main()'s working directory, absolute.
    async fn prepare(&self, fence: &EpochFence) -> PortResult<PathBuf>;
    /// The directory of the application's files, which is the same for all its attempts.
    async fn artifacts(&self, application: &ApplicationRef) -> PortResult<PathBuf>;
    /// Makes `file` appear at `link` as well.
    async fn link(&self, file: &Path, link: PathBuf) -> PortResult<()>;
    /// Writes a file at `path`, which gets its name only if its bytes have the digest. The answer
    /// is the size in bytes.
    async fn write(
        &self,
        path: &Path,
        digest: Digest,
        executable: bool,
        chunks: BoxStream<'static, PortResult<Bytes>>,
    ) -> PortResult<u64>;
    /// Removes what all attempts left. The answer names what could not be removed, one line each.
    /// Output that is not in the record is kept elsewhere.
    async fn remove(&self, application: &ApplicationRef) -> Vec<String>;
    /// The application's output that still waits to be taken into the record, one line for each
    /// process.
    async fn unshipped(&self, application: &ApplicationRef) -> Vec<String>;
    /// Removes what has to be there until the application is clean, as far as it can be removed. A
    /// directory that is not empty stays.
    async fn forget(&self, application: &ApplicationRef);
    /// The directory where the outputs of relative targets go by default.
    fn outputs(&self, application: &ApplicationRef) -> PathBuf;
    /// The directory where the application's clusters keep what outlives an incarnation.
    fn checkpoints(&self, application: &ApplicationRef) -> PathBuf;
}

/// The directories of applications below the state directory.
#[derive(Debug, Clone)]
pub struct LocalWorkspace {
    places: Places,
    keyring: Keyring,
}

impl LocalWorkspace {
    /// A workspace below these places. The tokens of main() and `describe` are taken from the
    /// keyring.
    pub fn new(places: Places, keyring: Keyring) -> Self {
        Self { places, keyring }
    }

    /// Makes a directory that processes of an application use. It is the runner's own, or, where
    /// such processes run as another user, it is given to `kind` of them.
    fn open_directory(
        &self,
        path: &Path,
        of: &ApplicationRef,
        kind: &str,
        mode: u32,
    ) -> PortResult<()> {
        if !self.places.are_apart() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
            return made.map_err(about("make the directory", path));
        }
        let application = of.to_string();
        let share = match kind {
            ALL => Share::Application(&application),
            kind => Share::Kind(&application, kind),
        };
        let group = RunAs::group(&self.places.state_mark(), share);
        let made = make_way(path).and_then(|()| share_with(path, group, mode));
        made.map_err(about("make the directory", path))
    }
}

/// main(), among the kinds of an application's processes.
pub(super) const MAIN: &str = "main";

/// All kinds of an application's processes.
const ALL: &str = "";

/// Opens an existing file or directory to main() alone, where main() runs as another user.
pub fn give_to_main(
    places: &Places,
    application: &ApplicationRef,
    path: &Path,
    mode: u32,
) -> PortResult<()> {
    if !places.are_apart() {
        return Ok(());
    }
    let group = RunAs::group(&places.state_mark(), Share::Kind(&application.to_string(), MAIN));
    share_with(path, group, mode).map_err(about("open to main()", path))
}

fn about(what: &str, path: &Path) -> impl Fn(io::Error) -> PortError {
    let text = format!("cannot {what} {}", path.display());
    move |error| PortError::away(format!("{text}: {error}"))
}

#[async_trait]
impl Workspace for LocalWorkspace {
    async fn prepare(&self, fence: &EpochFence) -> PortResult<PathBuf> {
        let attempt = AttemptPlaces::new(&self.places, fence);
        for directory in [&attempt.control, &attempt.sockets] {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
            made.map_err(about("make the directory", directory))?;
        }
        let application = &fence.application;
        // The directory that main() writes into is sticky, so that main() cannot replace what root
        // has put there.
        self.open_directory(&attempt.directory, application, MAIN, 0o1770)?;
        self.open_directory(&attempt.doors, application, MAIN, 0o750)?;
        if self.places.are_apart() {
            let open = self.places.open();
            for directory in [open.outputs(application), open.checkpoints(application)] {
                self.open_directory(&directory, application, ALL, 0o2770)?;
            }
        }
        let tokens = self.keyring.of_attempt(fence)?;
        for (token, file) in [
            (&tokens.execution, &attempt.token_file),
            (&tokens.describe, &attempt.describe_token_file),
        ] {
            token.write_file(file).map_err(|error| PortError::away(error.to_string()))?;
        }
        give_to_main(&self.places, application, &attempt.token_file, 0o640)?;
        Ok(attempt.directory)
    }

    async fn artifacts(&self, application: &ApplicationRef) -> PortResult<PathBuf> {
        let directory = self.places.open().artifacts(application);
        self.open_directory(&directory, application, ALL, 0o750)?;
        Ok(directory)
    }

    async fn link(&self, file: &Path, link: PathBuf) -> PortResult<()> {
        match symlink(file, &link) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            linked => linked.map_err(about("link", &link)),
        }
    }

    async fn write(
        &self,
        path: &Path,
        digest: Digest,
        executable: bool,
        mut chunks: BoxStream<'static, PortResult<Bytes>>,
    ) -> PortResult<u64> {
        let new = path.with_added_extension("new");
        // The directory says who may enter. The file's own mode has to let another user read it,
        // where processes run as one.
        let mode = match (self.places.are_apart(), executable) {
            (false, true) => 0o700,
            (false, false) => 0o600,
            (true, true) => 0o755,
            (true, false) => 0o644,
        };
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&new);
        let mut file = tokio::fs::File::from_std(file.map_err(about("write", &new))?);
        let (mut hasher, mut size) = (Sha256::new(), 0);
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk?;
            hasher.update(&chunk);
            size += chunk.len() as u64;
            file.write_all(&chunk).await.map_err(about("write", &new))?;
        }
        file.flush().await.map_err(about("write", &new))?;
        let is = Digest::from_bytes(hasher.finalize().into());
        if is != digest {
            // Bytes of another digest never get the file's name.
            let _ = fs::remove_file(&new);
            let text = format!(
                "payload {digest} of the record, which {} is made of, is damaged: its bytes have the digest {is}",
                path.display()
            );
            return Err(PortError::refused(Reason::DataCorrupt, text));
        }
        fs::rename(&new, path).map_err(about("put in place", path))?;
        Ok(size)
    }

    async fn remove(&self, application: &ApplicationRef) -> Vec<String> {
        let mut leftovers = attempts::remove(&self.places, application);
        let artifacts = self.places.open().artifacts(application);
        if let Err(error) = fs::remove_dir_all(&artifacts)
            && error.kind() != ErrorKind::NotFound
        {
            leftovers.push(format!("{}: {error}", artifacts.display()));
        }
        leftovers
    }

    async fn unshipped(&self, application: &ApplicationRef) -> Vec<String> {
        let outbox = Outbox::new(&self.places);
        let own = |source: &LogSource| source.application == Some(application.clone().into());
        let sources = outbox.sources().unwrap_or_default().into_iter().filter(own);
        let line = |source: LogSource| {
            let place = outbox.directory_of(&source).unwrap_or_default();
            let (role, number) =
                (if source.role == "main" { "main()" } else { &source.role }, source.number);
            format!(
                "output of {role} {number} that is not in the record yet and follows from {}",
                place.display()
            )
        };
        sources.map(line).collect()
    }

    async fn forget(&self, application: &ApplicationRef) {
        let work = self.places.application_work(application);
        let _ = fs::remove_file(work.join(MAIN_LOCK));
        // The directory stays while a contender's own directory is in it.
        let _ = fs::remove_dir(&work);
        // The directory was made for programs that write to relative paths, and stays once one has
        // written there.
        let open = self.places.open();
        let _ = fs::remove_dir(open.outputs(application));
        if self.places.are_apart() {
            let _ = fs::remove_dir(open.checkpoints(application));
            let _ = fs::remove_dir(open.application_work(application));
        }
    }

    fn outputs(&self, application: &ApplicationRef) -> PathBuf {
        self.places.open().outputs(application)
    }

    fn checkpoints(&self, application: &ApplicationRef) -> PathBuf {
        self.places.open().checkpoints(application)
    }
}

#[cfg(test)]
mod tests;
