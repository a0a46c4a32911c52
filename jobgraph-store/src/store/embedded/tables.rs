//! The four tables of the file. `data` holds the present values. `history` holds what each change
//! replaced, so that the past can be read, and forgotten from its old end. `log` lists the keys of
//! each revision. `numbers` holds single numbers.

use redb::{ReadableTable, TableDefinition};
use redb_file::FileError;

use crate::store::StoreError;

/// A key and the revision that changed it.
pub(super) type Changed = (&'static [u8], u64);
/// The key's value before, with the revision that wrote it; absent: the key had no value.
pub(super) type Before = Option<(u64, &'static [u8])>;

/// Key → (the revision that wrote the value, the value).
pub(super) const DATA: TableDefinition<'_, &[u8], (u64, &[u8])> = TableDefinition::new("data");
/// (Key, the revision that changed it) → the key's value before.
pub(super) const HISTORY: TableDefinition<'_, Changed, Before> = TableDefinition::new("history");
/// (Revision, position in its commit) → key.
pub(super) const LOG: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("log");
/// Name → a single number.
pub(super) const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");

/// In [`NUMBERS`]: the latest revision.
pub(super) const REVISION: &str = "revision";
/// In [`NUMBERS`]: the oldest revision that can be asked for.
pub(super) const OLDEST: &str = "oldest";

/// The work did not happen.
#[derive(Debug)]
pub(super) struct NotDone(pub(super) Why);

/// Why the work did not happen.
#[derive(Debug)]
pub(super) enum Why {
    /// redb failed, or the disk below it.
    Redb(redb::Error),
    /// The record itself refused.
    Said(StoreError),
}

impl<E: Into<redb::Error>> From<E> for NotDone {
    fn from(error: E) -> Self {
        Self(Why::Redb(error.into()))
    }
}

impl From<FileError> for StoreError {
    fn from(error: FileError) -> Self {
        let text = error.to_string();
        match error {
            FileError::Damaged { path, why } => {
                Self::Damaged { file: path.display().to_string(), why }
            }
            FileError::Full { .. } => Self::Full(text),
            FileError::InUse { .. } | FileError::Failed { .. } => Self::Unavailable(text),
        }
    }
}

/// A single number; 0 if it was never written.
pub(super) fn number(
    numbers: &impl ReadableTable<&'static str, u64>,
    name: &str,
) -> Result<u64, NotDone> {
    Ok(numbers.get(name)?.map_or(0, |guard| guard.value()))
}
