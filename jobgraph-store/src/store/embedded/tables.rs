//! What is in the file: four tables. `data` is now; `history` is what each change replaced, so that the past can be read
//! and forgotten from its old end; `log` lists the keys of each revision.

use std::io::{Error as IoError, ErrorKind};

use redb::{
    CommitError, DatabaseError, ReadableTable, StorageError, TableDefinition, TableError, TransactionError,
};

use crate::store::StoreError;

/// A key and the revision that changed it.
pub(super) type Changed = (&'static [u8], u64);
/// What it was before, with the revision that wrote that; absent: there was nothing.
pub(super) type Before = Option<(u64, &'static [u8])>;

/// Key → (revision that wrote it, value).
pub(super) const DATA: TableDefinition<'_, &[u8], (u64, &[u8])> = TableDefinition::new("data");
/// (key, revision that changed it) → what it was before.
pub(super) const HISTORY: TableDefinition<'_, Changed, Before> = TableDefinition::new("history");
/// (revision, position in its commit) → key.
pub(super) const LOG: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("log");
/// Single numbers.
pub(super) const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");

/// In [`NUMBERS`]: the latest revision.
pub(super) const REVISION: &str = "revision";
/// In [`NUMBERS`]: the oldest revision that can be asked for.
pub(super) const OLDEST: &str = "oldest";

/// An error of redb in the seam's words: what was attempted did not happen.
pub(super) fn refused(error: impl Into<redb::Error>) -> StoreError {
    match error.into() {
        redb::Error::Io(error) if is_full(&error) => StoreError::Full(error.to_string()),
        redb::Error::Corrupted(what) => StoreError::Unreadable(what),
        redb::Error::UpgradeRequired(version) => StoreError::Unreadable(format!("file format {version}")),
        redb::Error::DatabaseAlreadyOpen => {
            StoreError::Unavailable("another process has the record open".into())
        }
        other => StoreError::Unavailable(other.to_string()),
    }
}

fn is_full(error: &IoError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull
            | ErrorKind::QuotaExceeded
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::FileTooLarge
    )
}

/// Errors of redb that mean the same everywhere: what was attempted did not happen.
#[derive(Debug)]
pub(super) struct Refused(pub(super) StoreError);

macro_rules! refused_from {
    ($($error:ty),*) => {
        $(impl From<$error> for Refused {
            fn from(error: $error) -> Self {
                Self(refused(error))
            }
        })*
    };
}

refused_from!(StorageError, TableError, TransactionError, CommitError, DatabaseError);

/// A single number; 0 before it was ever written.
pub(super) fn number(numbers: &impl ReadableTable<&'static str, u64>, name: &str) -> Result<u64, Refused> {
    Ok(numbers.get(name)?.map_or(0, |guard| guard.value()))
}
