//! redb files that are made whole or not at all, looked at when they are opened, and can be looked at without being touched.
//!
//! redb begins anew in an empty file and trusts one that was closed cleanly: over damaged pages it answers other values, or
//! panics. Neither may happen to a record, so nobody opens such a file but through here.

mod beside;

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chassis::clock::{Clock as _, SharedClock};
use chassis::{disk, panics};
use redb::{Builder, Database};

use beside::Beside;

/// Why a file was not opened, read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// What is in the file is not what was written to it.
    #[error("{} is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was seen.
        why: String,
    },
    /// Another process has it open.
    #[error("another process has {} open", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The disk has no room, or takes no writes.
    #[error("{}: {why}", path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// What the disk said.
        why: String,
    },
    /// The disk failed, or redb answers nothing more until the file is opened again.
    #[error("{}: {why}", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// What was said.
        why: String,
    },
}

impl FileError {
    /// An error of redb about the file at `path`.
    pub fn of(path: &Path, error: impl Into<redb::Error>) -> Self {
        let path = path.to_owned();
        match error.into() {
            redb::Error::DatabaseAlreadyOpen => Self::InUse { path },
            redb::Error::Corrupted(why) => Self::Damaged { path, why },
            redb::Error::UpgradeRequired(version) => {
                Self::Damaged { path, why: format!("its format is {version}, which this build cannot read") }
            }
            redb::Error::Io(error) => Self::of_disk(&path, &error),
            other => Self::Failed { path, why: other.to_string() },
        }
    }

    fn of_disk(path: &Path, error: &io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            ErrorKind::UnexpectedEof => Self::Damaged { path, why: "it was cut short".to_owned() },
            ErrorKind::InvalidData => Self::Damaged { path, why: error.to_string() },
            ErrorKind::StorageFull
            | ErrorKind::QuotaExceeded
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::FileTooLarge => Self::Full { path, why: error.to_string() },
            _ => Self::Failed { path, why: error.to_string() },
        }
    }
}

/// Opens the file, or makes it with what `fill` puts into it. `cache_bytes` of it are kept in memory.
pub fn open(
    path: &Path,
    cache_bytes: usize,
    fill: impl FnOnce(&Database) -> Result<(), redb::Error>,
) -> Result<Database, FileError> {
    let disk = |error: io::Error| FileError::of_disk(path, &error);
    if !path.try_exists().map_err(disk)? {
        make(path, cache_bytes, fill)?;
    }
    not_empty(path)?;
    guarded(path, || builder(cache_bytes).open(path).map_err(|error| FileError::of(path, error)))
}

/// Looks at every page of the file and touches none: the size of what is whole, in bytes. The owner of the file may be at work in it: what
/// then looks damaged may only have changed meanwhile, and is said to be damaged only if it did not.
pub fn examine(path: &Path) -> Result<Examined, FileError> {
    let bytes = not_empty(path)?;
    let look = || {
        let file = fs::File::open(path).map_err(|error| FileError::of_disk(path, &error))?;
        let beside = Beside::new(file).map_err(|error| FileError::of_disk(path, &error))?;
        let opened = builder(EXAMINE_CACHE_BYTES).create_with_backend(beside);
        // Closing writes, beside the file like everything else.
        opened.map(drop).map_err(|error| FileError::of(path, error))
    };
    // Twice, because the clock of a file system ticks only every few milliseconds.
    let mut damage = None;
    for _ in 0..2 {
        let before = state(path)?;
        match guarded(path, look) {
            Ok(()) => return Ok(Examined::Whole(bytes)),
            Err(error) if state(path)? == before => damage = Some(error),
            Err(_) => return Ok(Examined::Changing),
        }
    }
    damage.map_or(Ok(Examined::Whole(bytes)), Err)
}

/// [`examine`] again and again while the owner of the file writes to it; `None` if it never stopped.
pub async fn examine_patiently(path: &Path, clock: &SharedClock) -> Result<Option<u64>, FileError> {
    for _ in 0..LOOKS {
        match examine(path)? {
            Examined::Whole(bytes) => return Ok(Some(bytes)),
            Examined::Changing => clock.sleep(BETWEEN_LOOKS).await,
        }
    }
    Ok(None)
}

/// How often a file is looked at that is written to all the time.
const LOOKS: u32 = 20;

/// How long to wait between two looks.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// What a look at a file came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Examined {
    /// It is whole, and so large in bytes.
    Whole(u64),
    /// Its owner wrote to it meanwhile: look again.
    Changing,
}

/// Runs what reads or writes an open file. redb panics over pages that were damaged since it was opened; here that is an error
/// like any other.
pub fn guarded<T>(path: &Path, work: impl FnOnce() -> Result<T, FileError>) -> Result<T, FileError> {
    panics::caught(work).unwrap_or_else(|why| Err(FileError::Damaged { path: path.to_owned(), why }))
}

/// Closes an open file. What redb writes at the end, to open faster the next time, is not missed where it cannot be written.
pub fn close(path: &Path, database: Database) {
    // Without a word: whoever closes a file that failed has told of it.
    let _ = guarded(path, || database.close().map_err(|error| FileError::of(path, error)));
}

/// A look needs little: each page once.
const EXAMINE_CACHE_BYTES: usize = 1024 * 1024;

fn builder(cache_bytes: usize) -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(cache_bytes).set_check_integrity_on_open(true);
    builder
}

fn make(
    path: &Path,
    cache_bytes: usize,
    fill: impl FnOnce(&Database) -> Result<(), redb::Error>,
) -> Result<(), FileError> {
    let disk = |error: io::Error| FileError::of_disk(path, &error);
    // Of its own, so that two processes that come at once do not make one file.
    let new = path.with_added_extension(format!("new-{}", std::process::id()));
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(disk(error)),
        _ => {}
    }
    let made = guarded(path, || {
        let database = builder(cache_bytes).create(&new).map_err(|error| FileError::of(path, error))?;
        fill(&database).map_err(|error| FileError::of(path, error))?;
        database.close().map_err(|error| FileError::of(path, error))
    });
    if let Err(error) = made {
        // Best effort: what could not be made is said by the error.
        let _ = fs::remove_file(&new);
        return Err(error);
    }
    disk::place(&new, path).map(|_| ()).map_err(disk)
}

/// Since a file is made whole, an empty one was cut off.
fn not_empty(path: &Path) -> Result<u64, FileError> {
    let metadata = fs::metadata(path).map_err(|error| FileError::of_disk(path, &error))?;
    if metadata.is_file() && metadata.len() == 0 {
        let why = "it is empty, and such a file never is".to_owned();
        return Err(FileError::Damaged { path: path.to_owned(), why });
    }
    Ok(metadata.len())
}

/// What changes when somebody writes to the file.
fn state(path: &Path) -> Result<(u64, i64, i64), FileError> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = fs::metadata(path).map_err(|error| FileError::of_disk(path, &error))?;
    Ok((metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
}

#[cfg(test)]
mod tests;
