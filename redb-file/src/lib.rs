//! redb files that are made whole or not at all, that are looked at when they are opened, and that
//! can be looked at without being touched.
//!
//! redb begins anew in an empty file and trusts a file that was closed cleanly: over damaged pages
//! it answers other values, or panics. Neither may happen to a record, so the store and the elector
//! open such files only through this crate.

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
        /// The damaged file.
        path: PathBuf,
        /// What was seen in it.
        why: String,
    },
    /// Another process has it open.
    #[error("another process has {} open", path.display())]
    InUse {
        /// The file that is in use.
        path: PathBuf,
    },
    /// The disk has no room, or takes no writes.
    #[error("{}: {why}", path.display())]
    Full {
        /// The file that could not be written.
        path: PathBuf,
        /// What the disk said.
        why: String,
    },
    /// The disk failed, or redb answers nothing more until the file is opened again.
    #[error("{}: {why}", path.display())]
    Failed {
        /// The file that failed.
        path: PathBuf,
        /// What the disk or redb said.
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
            redb::Error::UpgradeRequired(version) => Self::Damaged {
                path,
                why: format!("its format is {version}, which this build cannot read"),
            },
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

/// Opens the file, or makes it with what `fill` puts into it. Up to `cache_bytes` of the file are
/// kept in memory.
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

/// Looks at every page of the file and touches none, and answers the size of a whole file in bytes.
/// The owner of the file may be at work in it. What looks damaged may then only have changed
/// meanwhile, so the file is called damaged only if it did not change.
pub fn examine(path: &Path) -> Result<Examined, FileError> {
    let bytes = not_empty(path)?;
    let look = || {
        let file = fs::File::open(path).map_err(|error| FileError::of_disk(path, &error))?;
        let beside = Beside::new(file).map_err(|error| FileError::of_disk(path, &error))?;
        let opened = builder(EXAMINE_CACHE_BYTES).create_with_backend(beside);
        // Closing writes too, and that goes into memory like every other write.
        opened.map(drop).map_err(|error| FileError::of(path, error))
    };
    // The file is looked at twice, because the clock of a file system ticks only every few
    // milliseconds.
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

/// Calls [`examine`] again and again while the owner of the file writes to it; `None` if the owner
/// never stopped.
pub async fn examine_patiently(path: &Path, clock: &SharedClock) -> Result<Option<u64>, FileError> {
    for _ in 0..LOOKS {
        match examine(path)? {
            Examined::Whole(bytes) => return Ok(Some(bytes)),
            Examined::Changing => clock.sleep(BETWEEN_LOOKS).await,
        }
    }
    Ok(None)
}

/// How often to look at a file that is written to all the time.
const LOOKS: u32 = 20;

/// How long to wait between two looks.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// What a look at a file came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Examined {
    /// The file is whole, and has so many bytes.
    Whole(u64),
    /// The owner of the file wrote to it meanwhile: look again.
    Changing,
}

/// Runs work that reads or writes an open file. redb panics over pages that were damaged since the
/// file was opened; here such a panic is an error like any other.
pub fn guarded<T>(
    path: &Path,
    work: impl FnOnce() -> Result<T, FileError>,
) -> Result<T, FileError> {
    panics::caught(work)
        .unwrap_or_else(|why| Err(FileError::Damaged { path: path.to_owned(), why }))
}

/// Closes an open file. redb writes at the end to open faster the next time; where that cannot be
/// written, it is not missed.
pub fn close(path: &Path, database: Database) {
    // No error is told: the caller that closes a failed file has told of the failure.
    let _ = guarded(path, || database.close().map_err(|error| FileError::of(path, error)));
}

/// A look reads each page once, so a small cache is enough.
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
    // The new file has a name of its own, so that two processes that come at once do not make one
    // file.
    let new = path.with_added_extension(format!("new-{}", std::process::id()));
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(disk(error)),
        _ => {}
    }
    let made = guarded(path, || {
        let database =
            builder(cache_bytes).create(&new).map_err(|error| FileError::of(path, error))?;
        fill(&database).map_err(|error| FileError::of(path, error))?;
        database.close().map_err(|error| FileError::of(path, error))
    });
    if let Err(error) = made {
        // The removal may fail: the error says what could not be made.
        let _ = fs::remove_file(&new);
        return Err(error);
    }
    disk::place(&new, path).map(|_| ()).map_err(disk)
}

/// The size of the file. A file is made whole, so an empty one was cut off.
fn not_empty(path: &Path) -> Result<u64, FileError> {
    let metadata = fs::metadata(path).map_err(|error| FileError::of_disk(path, &error))?;
    if metadata.is_file() && metadata.len() == 0 {
        let why = "it is empty, and such a file never is".to_owned();
        return Err(FileError::Damaged { path: path.to_owned(), why });
    }
    Ok(metadata.len())
}

/// Those properties of the file that change when a process writes to it.
fn state(path: &Path) -> Result<(u64, i64, i64), FileError> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = fs::metadata(path).map_err(|error| FileError::of_disk(path, &error))?;
    Ok((metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
}

#[cfg(test)]
mod tests;
