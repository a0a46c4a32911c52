//! One elector process with a small database of its own (redb), which no other process opens.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use proto::ApplicationId;
use redb::{Database, Durability, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use redb_file::FileError;

use super::ledger::Ledger;
use super::single::Single;
use crate::error::Error;
use crate::model::Grant;

/// Maps an application id to the JSON of its newest [`Grant`].
const GRANTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("grants/1");

/// Grants are some 200 bytes each, so a small cache holds all that are in use.
const CACHE_BYTES: usize = 1024 * 1024;

/// An elector that keeps its grants in a file.
pub type EmbeddedElection = Single<EmbeddedLedger>;

/// Grants in one redb file. A write has reached the disk when it returns.
#[derive(Debug)]
pub struct EmbeddedLedger {
    path: PathBuf,
    /// `None` after an I/O error: redb answers nothing more until the file is closed and opened
    /// again.
    database: Mutex<Option<Database>>,
}

impl EmbeddedLedger {
    /// Opens the file, or makes one where there is none.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        let database = open(&path)?;
        Ok(Self { path, database: Mutex::new(Some(database)) })
    }

    /// Runs `work` on the open file while no other call uses it. An error closes the file, so that
    /// the next call opens it anew.
    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, NotDone>) -> Result<T, Error> {
        let mut database = self.lock();
        if database.is_none() {
            *database = Some(open(&self.path)?);
        }
        let open = database.as_ref().expect("the file was opened above");
        let done = redb_file::guarded(&self.path, || {
            work(open).map_err(|NotDone(error)| FileError::of(&self.path, error))
        });
        done.map_err(|error| {
            if let Some(open) = database.take() {
                redb_file::close(&self.path, open);
            }
            error.into()
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Database>> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(path: &Path) -> Result<Database, Error> {
    let empty = |database: &Database| {
        let transaction = database.begin_write()?;
        transaction.open_table(GRANTS)?;
        transaction.commit()?;
        Ok(())
    };
    Ok(redb_file::open(path, CACHE_BYTES, empty)?)
}

/// An error of redb. What was attempted did not happen.
struct NotDone(redb::Error);

impl<E: Into<redb::Error>> From<E> for NotDone {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl Ledger for EmbeddedLedger {
    fn read(&self, application: &ApplicationId) -> Result<Option<Grant>, Error> {
        let bytes = self.with(|database| {
            let table = database.begin_read()?.open_table(GRANTS)?;
            Ok(table.get(application.as_str())?.map(|value| value.value().to_vec()))
        })?;
        bytes.map(|bytes| decode(&self.path, application.as_str(), &bytes)).transpose()
    }

    /// Compares and puts in one transaction. A resignation that was held up for longer than its
    /// lease must not replace the grant that was given meanwhile: the epoch of that grant would be
    /// granted a second time after a restart.
    fn write(&self, grant: &Grant) -> Result<(), Error> {
        let key = grant.application.id.as_str();
        let value = serde_json::to_vec(grant).expect("a grant is plain data");
        self.with(|database| {
            let mut transaction = database.begin_write()?;
            // Immediate durability is redb's default; it is said here because every law rests on
            // it.
            transaction.set_durability(Durability::Immediate)?;
            {
                let mut grants = transaction.open_table(GRANTS)?;
                let last = grants.get(key)?.map(|value| decode(&self.path, key, value.value()));
                match last.transpose() {
                    // The transaction ends unused, so nothing is changed.
                    Err(unreadable) => return Ok(Err(unreadable)),
                    Ok(Some(last)) if last.epoch > grant.epoch => return Ok(Ok(())),
                    Ok(_) => grants.insert(key, value.as_slice())?,
                };
            }
            transaction.commit()?;
            Ok(Ok(()))
        })?
    }

    fn blocks(&self) -> bool {
        true
    }
}

fn decode(path: &Path, application: &str, bytes: &[u8]) -> Result<Grant, Error> {
    serde_json::from_slice(bytes).map_err(|error| Error::LedgerUnreadable {
        path: path.to_owned(),
        application: application.to_owned(),
        why: error.to_string(),
    })
}

#[cfg(test)]
mod tests;
