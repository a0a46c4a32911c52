//! Directories on this host: main()'s working directory, and beside it the places that main() has
//! no business with.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use chassis::run_as::{RunAs, Share, make_way, share_with};
use client::outbox::Outbox;
use client::places::{Kind, Places};
use client::tether::output;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use proto::jobgraph::LogSource;
use proto::{ApplicationRef, Digest, Epoch, EpochFence, Reason};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;

use super::PortResult;
use super::keyring::Keyring;
use crate::error::PortError;

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

/// The file that main() and its descendants hold locked, in the application's work directory.
pub const MAIN_LOCK: &str = "main.lock";

/// The beginning of the names of an attempt's directories.
const ATTEMPT: &str = "attempt-";

/// The end of the names of those directories that main() has no business with.
const CONTROL: &str = ".control";

/// The places of one attempt.
#[derive(Debug, Clone)]
pub struct AttemptPlaces {
    /// main()'s working directory. The artifacts lie in it.
    pub directory: PathBuf,
    /// Specs, outputs, exit files and tokens, for the runner and its tethers.
    pub control: PathBuf,
    /// The file of main()'s credential, which opens `ExecutionService` and nothing else.
    pub token_file: PathBuf,
    /// The file of the token that `describe` demands of its callers.
    pub describe_token_file: PathBuf,
    /// The sockets of the runner and its tethers.
    pub sockets: PathBuf,
    /// The directory of the socket that main() calls. It is `sockets`, unless main() runs as
    /// another user.
    pub doors: PathBuf,
}

impl AttemptPlaces {
    /// The places of an attempt, which every process of the host computes alike.
    pub fn new(places: &Places, fence: &EpochFence) -> Self {
        let work = places.application_work(&fence.application);
        let control = work.join(format!("{ATTEMPT}{}{CONTROL}", fence.epoch));
        let open = places.open();
        let doors = open.sockets(&fence.application, Kind::Attempt, fence.epoch.get());
        Self {
            directory: open
                .application_work(&fence.application)
                .join(format!("{ATTEMPT}{}", fence.epoch)),
            token_file: if places.are_apart() {
                doors.join("token")
            } else {
                control.join("token")
            },
            describe_token_file: control.join("describe.token"),
            sockets: places.sockets(&fence.application, Kind::Attempt, fence.epoch.get()),
            doors,
            control,
        }
    }

    /// The directory where main()'s tether keeps main()'s output.
    pub fn output(&self) -> PathBuf {
        self.control.join("main")
    }
}

/// The source of the output of an attempt's main().
pub(super) fn source(fence: &EpochFence) -> LogSource {
    LogSource {
        application: Some(fence.application.clone().into()),
        role: "main".to_owned(),
        replica: 0,
        number: fence.epoch.get(),
        start: 0,
    }
}

/// Saves the output of main()s that is not in the record from the removal of their directories.
/// With `below` only attempts below that epoch are meant. None of these attempts lives. The answer
/// names what went wrong, one line each, and such output is where it was.
pub(super) fn rescue_output(
    places: &Places,
    application: &ApplicationRef,
    below: Option<Epoch>,
) -> Vec<String> {
    let outbox = Outbox::new(places);
    let mut errors = Vec::new();
    for entry in fs::read_dir(places.application_work(application)).into_iter().flatten().flatten()
    {
        let name = entry.file_name();
        let epoch = name
            .to_str()
            .and_then(|name| name.strip_prefix(ATTEMPT)?.strip_suffix(CONTROL)?.parse().ok());
        let Some(epoch) = epoch.map(Epoch).filter(|epoch| below.is_none_or(|below| *epoch < below))
        else {
            continue;
        };
        let fence = EpochFence { application: application.clone(), epoch };
        let output = AttemptPlaces::new(places, &fence).output();
        match outbox.take(&source(&fence), &output) {
            Ok(false) => {}
            Ok(true) => tracing::info!("output of main() in attempt {epoch} waits to be shipped"),
            Err(error) => {
                errors.push(format!("{}: output is not in the record: {error}", output.display()))
            }
        }
    }
    errors
}

/// The directory of the application's files for all attempts, below its work directory.
const ARTIFACTS: &str = "artifacts";

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

    /// Removes what attempts have below one work directory. The answer names what could not be
    /// removed.
    fn remove_attempts(&self, application: &ApplicationRef, work: &Path) -> Vec<String> {
        let mut leftovers = Vec::new();
        let entries = match fs::read_dir(work) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return leftovers,
            Err(error) => return vec![format!("{}: {error}", work.display())],
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let path = entry.path();
            // Contenders and clusters have their own owners, and the next campaign needs the lock.
            let Some(rest) = name.strip_prefix(ATTEMPT) else { continue };
            if let Ok(epoch) = rest.trim_end_matches(CONTROL).parse() {
                let fence = EpochFence { application: application.clone(), epoch: Epoch(epoch) };
                let output = AttemptPlaces::new(&self.places, &fence).output();
                if rest.ends_with(CONTROL)
                    && output::segments(&output).is_ok_and(|kept| !kept.is_empty())
                {
                    // The output could not be saved, which `rescue_output` has said, so its
                    // directory stays.
                    continue;
                }
                // Sockets go with their servers and tethers, and what is left of these directories
                // is empty.
                for places in [&self.places, &self.places.open()] {
                    let _ = fs::remove_dir_all(places.sockets(application, Kind::Attempt, epoch));
                }
            }
            let removed = fs::remove_dir_all(&path);
            if let Err(error) = removed
                && error.kind() != ErrorKind::NotFound
            {
                leftovers.push(format!("{}: {error}", path.display()));
            }
        }
        leftovers
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
        let directory = self.places.open().application_work(application).join(ARTIFACTS);
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
        let open = self.places.open();
        let work = open.application_work(application);
        let mut leftovers = rescue_output(&self.places, application, None);
        if self.places.are_apart() {
            leftovers.extend(self.remove_attempts(application, &work));
        }
        if let Err(error) = fs::remove_dir_all(work.join(ARTIFACTS))
            && error.kind() != ErrorKind::NotFound
        {
            leftovers.push(format!("{}: {error}", work.join(ARTIFACTS).display()));
        }
        leftovers
            .extend(self.remove_attempts(application, &self.places.application_work(application)));
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
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures::stream;
    use proto::Generation;

    use super::*;

    impl LocalWorkspace {
        /// Takes tokens into the keyring, as if the record had answered them.
        fn begun(&self, fence: &EpochFence) {
            let token = |text: &str| text.to_owned();
            let tokens = proto::jobgraph::AttemptTokens {
                execution: token("mains"),
                main_tether: token("its-tethers"),
                describe: token("describes"),
                describe_tether: token("its-tethers-too"),
                jobs: String::new(),
            };
            self.keyring.take_attempt(fence, proto::Incarnation(0), Some(tokens)).unwrap();
        }
    }

    fn workspace() -> (tempfile::TempDir, LocalWorkspace, EpochFence) {
        let directory = tempfile::tempdir().unwrap();
        let workspace = LocalWorkspace::new(Places::new(directory.path()), Keyring::default());
        let application =
            ApplicationRef { id: "orders".parse().unwrap(), generation: Generation(4) };
        let fence = EpochFence { application, epoch: Epoch(7) };
        workspace.begun(&fence);
        (directory, workspace, fence)
    }

    #[tokio::test]
    async fn what_attempts_left_is_removed_and_what_is_others_stays() {
        let (_state, workspace, fence) = workspace();
        let directory = workspace.prepare(&fence).await.unwrap();
        fs::write(directory.join("scratch"), "x").unwrap();
        let work = workspace.places.application_work(&fence.application);
        fs::write(work.join(MAIN_LOCK), "").unwrap();
        fs::create_dir(work.join("contender-0")).unwrap();
        assert!(AttemptPlaces::new(&workspace.places, &fence).token_file.exists());
        assert_eq!(workspace.remove(&fence.application).await, Vec::<String>::new());
        let left: Vec<_> =
            fs::read_dir(&work).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(
            left.len(),
            2,
            "the contender's directory, and the lock for the next campaign: {left:?}"
        );
        fs::remove_dir(work.join("contender-0")).unwrap();
        workspace.forget(&fence.application).await;
        assert!(!work.exists());
        assert_eq!(
            workspace.remove(&fence.application).await,
            Vec::<String>::new(),
            "a repeat finds it done"
        );
    }

    #[tokio::test]
    async fn output_that_is_not_in_the_record_outlives_its_directory() {
        let (_state, workspace, fence) = workspace();
        let earlier = EpochFence { epoch: Epoch(6), ..fence.clone() };
        for fence in [&earlier, &fence] {
            workspace.begun(fence);
            workspace.prepare(fence).await.unwrap();
            let output = AttemptPlaces::new(&workspace.places, fence).output();
            fs::create_dir(&output).unwrap();
            fs::write(output::segment_path(&output, 0), "words").unwrap();
        }
        // A successor rescues only earlier attempts, because its own main() may be writing.
        assert_eq!(
            rescue_output(&workspace.places, &fence.application, Some(fence.epoch)),
            Vec::<String>::new()
        );
        let sources = || Outbox::new(&workspace.places).sources().unwrap();
        assert_eq!(sources(), [source(&earlier)]);
        assert_eq!(workspace.remove(&fence.application).await, Vec::<String>::new());
        assert_eq!(sources(), [source(&earlier), source(&fence)]);
        let told = workspace.unshipped(&fence.application).await;
        assert!(told.len() == 2 && told[1].contains("main() 7"), "{told:?}");
        let other = ApplicationRef { generation: Generation(5), ..fence.application };
        assert_eq!(workspace.unshipped(&other).await, Vec::<String>::new());
    }

    #[tokio::test]
    async fn output_that_cannot_be_saved_stays_where_it_is_and_is_told() {
        let (state, workspace, fence) = workspace();
        workspace.prepare(&fence).await.unwrap();
        let output = AttemptPlaces::new(&workspace.places, &fence).output();
        fs::create_dir(&output).unwrap();
        fs::write(output::segment_path(&output, 0), "words").unwrap();
        fs::write(state.path().join("outbox"), "in the way").unwrap();
        let left = workspace.remove(&fence.application).await;
        assert!(left.len() == 1 && left[0].contains("not in the record"), "{left:?}");
        assert!(output.exists());
    }

    #[tokio::test]
    async fn bytes_of_another_digest_never_get_the_files_name() {
        let (_state, workspace, fence) = workspace();
        let path = workspace.prepare(&fence).await.unwrap().join("main");
        let chunks = || {
            stream::iter([Ok(Bytes::from_static(b"#!/bin/")), Ok(Bytes::from_static(b"sh\n"))])
                .boxed()
        };
        let refused =
            workspace.write(&path, Digest::of(b"other"), true, chunks()).await.unwrap_err();
        assert_eq!(refused.reason, Some(Reason::DataCorrupt));
        assert!(!path.exists());
        assert_eq!(
            workspace.write(&path, Digest::of(b"#!/bin/sh\n"), true, chunks()).await.unwrap(),
            10
        );
        assert_eq!(fs::read(&path).unwrap(), b"#!/bin/sh\n");
    }
}
