//! What is in the file: four tables. `data` is now; `history` is what each change replaced, so that the past can be read
//! and forgotten from its old end; `log` lists the keys of each revision.

use redb::{ReadableTable, TableDefinition};
use redb_file::FileError;

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

/// What was attempted did not happen.
#[derive(Debug)]
pub(super) struct Refused(pub(super) Why);

/// Why not.
#[derive(Debug)]
pub(super) enum Why {
    /// redb or the disk.
    Redb(redb::Error),
    /// The record itself.
    Said(StoreError),
}

impl<E: Into<redb::Error>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self(Why::Redb(error.into()))
    }
}

impl From<FileError> for StoreError {
    fn from(error: FileError) -> Self {
        let text = error.to_string();
        match error {
            FileError::Damaged { path, why } => Self::Damaged { file: path.display().to_string(), why },
            FileError::Full { .. } => Self::Full(text),
            FileError::InUse { .. } | FileError::Failed { .. } => Self::Unavailable(text),
        }
    }
}

/// A single number; 0 before it was ever written.
pub(super) fn number(numbers: &impl ReadableTable<&'static str, u64>, name: &str) -> Result<u64, Refused> {
    Ok(numbers.get(name)?.map_or(0, |guard| guard.value()))
}
