//! The open file: reading at a revision, committing a batch, and opening it again after an I/O
//! error.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use redb::{Database, Durability, ReadableDatabase as _};
use redb_file::FileError;

use super::batch::Tables;
use super::tables::{DATA, HISTORY, LOG, NUMBERS, NotDone, OLDEST, REVISION, Why, number};
use crate::store::{Change, Commit, Key, Read, StoreError, Stored, Transaction, View};

/// Bytes of pages kept in memory: the record of a busy host is a few MiB, and its hot part much
/// less.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

/// Bytes left free on the disk. A commit that finds fewer is refused before it touches the file, so
/// that reads go on.
const RESERVE_BYTES: u64 = 256 * 1024;

type Open = dyn Fn() -> Result<Database, StoreError> + Send + Sync;
type Room = dyn Fn() -> Result<(), StoreError> + Send + Sync;

/// How the file is opened, the first time and after an I/O error.
pub struct Opener {
    path: PathBuf,
    open: Box<Open>,
    room: Box<Room>,
}

impl Opener {
    /// Opens a file on a disk.
    pub fn file(path: &Path) -> Self {
        let (file, disk) = (path.to_owned(), path.parent().unwrap_or(path).to_owned());
        Self {
            path: path.to_owned(),
            open: Box::new(move || Ok(redb_file::open(&file, CACHE_BYTES, fill)?)),
            room: Box::new(move || {
                // A disk that does not tell its free space is no reason to refuse here: the write
                // itself tells.
                let Ok(disk_now) = rustix::fs::statvfs(&disk) else { return Ok(()) };
                let free = disk_now.f_bavail.saturating_mul(disk_now.f_frsize);
                if free < RESERVE_BYTES {
                    return Err(StoreError::Full(format!(
                        "{} has {free} bytes left",
                        disk.display()
                    )));
                }
                Ok(())
            }),
        }
    }

    /// Opens what `open` gives for the file at `path`; `open` is called again after each I/O error.
    pub fn with(
        path: &Path,
        open: impl Fn() -> Result<Database, StoreError> + Send + Sync + 'static,
    ) -> Self {
        Self { path: path.to_owned(), open: Box::new(open), room: Box::new(|| Ok(())) }
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opener")
    }
}

/// A batch whose commit failed or was never tried.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: StoreError,
    /// The revision of the file if the batch happened after all.
    pub(super) reached: u64,
    /// The outcomes in that case; `None` when the batch did not get as far as its commit.
    pub(super) outcomes: Option<Vec<Commit>>,
}

#[derive(Debug)]
pub(super) struct RecordFile {
    opener: Opener,
    database: Option<Database>,
    revision: AtomicU64,
    kept: u64,
}

impl RecordFile {
    pub(super) fn open(opener: Opener, kept: u64) -> Result<Self, StoreError> {
        let mut file = Self { opener, database: None, revision: AtomicU64::new(0), kept };
        file.reopen()?;
        Ok(file)
    }

    /// Closes the file if it is open, and opens it. The file stays closed when that fails.
    pub(super) fn reopen(&mut self) -> Result<(), StoreError> {
        if let Some(database) = self.database.take() {
            redb_file::close(&self.opener.path, database);
        }
        let database = (self.opener.open)()?;
        let revision = self.guarded(|| prepare(&database))?;
        self.revision.store(revision, Ordering::Release);
        self.database = Some(database);
        Ok(())
    }

    /// The latest revision.
    pub(super) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// Where the file is.
    pub(super) fn path(&self) -> &Path {
        &self.opener.path
    }

    /// Takes the database out, for work that allows no reader or writer beside it.
    pub(super) fn take(&mut self) -> Option<Database> {
        self.database.take()
    }

    /// Puts the database back.
    pub(super) fn give_back(&mut self, database: Database) {
        self.database = Some(database);
    }

    /// Runs work on redb, and names the file in its errors.
    pub(super) fn guarded<T>(
        &self,
        work: impl FnOnce() -> Result<T, NotDone>,
    ) -> Result<T, StoreError> {
        let path = &self.opener.path;
        let failed = |NotDone(why)| match why {
            Why::Redb(error) => Err(FileError::of(path, error)),
            Why::Said(error) => Ok(Err(error)),
        };
        redb_file::guarded(path, || work().map(Ok).or_else(failed))?
    }

    pub(super) fn database(&self) -> Result<&Database, StoreError> {
        self.database.as_ref().ok_or_else(|| {
            StoreError::Unavailable("the record's file is closed after an I/O error".into())
        })
    }

    pub(super) fn read(&self, reads: &[Read], at: Option<u64>) -> Result<View, StoreError> {
        let database = self.database()?;
        self.guarded(|| self.read_from(database, reads, at))
    }

    fn read_from(
        &self,
        database: &Database,
        reads: &[Read],
        at: Option<u64>,
    ) -> Result<View, NotDone> {
        let transaction = database.begin_read()?;
        let numbers = transaction.open_table(NUMBERS)?;
        let latest = number(&numbers, REVISION)?;
        let revision = at.unwrap_or(latest);
        kept(revision, number(&numbers, OLDEST)?, latest)?;
        let (data, history) = (transaction.open_table(DATA)?, transaction.open_table(HISTORY)?);
        let mut answers = Vec::with_capacity(reads.len());
        for read in reads {
            answers.push(match read {
                Read::Key(key) => {
                    let then = if revision == latest {
                        None
                    } else {
                        value_before(&history, key, revision)?
                    };
                    let stored = match then {
                        Some(then) => then,
                        None => data.get(key.as_bytes())?.map(|guard| stored(guard.value())),
                    };
                    stored.map(|stored| (key.clone(), stored)).into_iter().collect()
                }
                Read::Range { prefix, after, limit } => {
                    let overlay = if revision == latest {
                        BTreeMap::new()
                    } else {
                        replaced(&history, prefix, revision)?
                    };
                    range(&data, &overlay, prefix, after.as_ref(), *limit)?
                }
                Read::Last { prefix, until } if revision == latest => last(&data, prefix, until)?,
                Read::Last { prefix, until } => {
                    // This branch takes no pains: the past is asked for rarely, and no caller asks
                    // for its last key.
                    let overlay = replaced(&history, prefix, revision)?;
                    let all = range(&data, &overlay, prefix, None, usize::MAX)?;
                    all.into_iter().take_while(|(key, _)| key <= until).last().into_iter().collect()
                }
            });
        }
        Ok(View { revision, answers })
    }

    pub(super) fn changes(&self, after: u64, limit: usize) -> Result<Vec<Change>, StoreError> {
        let database = self.database()?;
        let list = || -> Result<Vec<Change>, NotDone> {
            let transaction = database.begin_read()?;
            let numbers = transaction.open_table(NUMBERS)?;
            kept(after, number(&numbers, OLDEST)?, number(&numbers, REVISION)?)?;
            let log = transaction.open_table(LOG)?;
            let mut changes: Vec<Change> = Vec::new();
            for entry in log.range((after + 1, 0)..)? {
                let (at, key) = entry?;
                let (revision, _) = at.value();
                if changes.len() >= limit
                    && changes.last().is_some_and(|last| last.revision != revision)
                {
                    break;
                }
                changes.push(Change { revision, key: Key::new(key.value().to_vec()) });
            }
            Ok(changes)
        };
        self.guarded(list)
    }

    /// Commits the transactions in their order, durably, each at its own revision.
    pub(super) fn commit(&self, transactions: &[Transaction]) -> Result<Vec<Commit>, Failed> {
        let before = self.revision();
        let failed = |error| Failed { error, reached: before, outcomes: None };
        (self.opener.room)().map_err(failed)?;
        let database = self.database().map_err(failed)?;
        let attempt = || -> Result<(redb::WriteTransaction, Vec<Commit>, u64), NotDone> {
            let mut write = database.begin_write()?;
            write.set_durability(Durability::Immediate)?;
            let mut revision = before;
            let mut outcomes = Vec::with_capacity(transactions.len());
            {
                let mut tables = Tables::open(&write)?;
                for transaction in transactions {
                    outcomes.push(match tables.conflict(transaction)? {
                        Some(key) => Commit::Conflict(key),
                        None => {
                            revision += 1;
                            tables.apply(transaction, revision)?;
                            Commit::Committed(revision)
                        }
                    });
                }
                if revision > before {
                    tables.finish(revision, self.kept)?;
                }
            }
            Ok((write, outcomes, revision))
        };
        let (write, outcomes, reached) = self.guarded(attempt).map_err(failed)?;
        if reached == before {
            // The batch holds only conflicts: dropping the transaction aborts it.
            return Ok(outcomes);
        }
        match self.guarded(|| Ok(write.commit()?)) {
            Ok(()) => {
                self.revision.store(reached, Ordering::Release);
                Ok(outcomes)
            }
            Err(error) => Err(Failed { error, reached, outcomes: Some(outcomes) }),
        }
    }
}

/// Makes the tables of a new file.
fn fill(database: &Database) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    Tables::open(&write)?;
    write.commit()?;
    Ok(())
}

/// The latest revision. The tables are made here if the opener of a test has made none.
fn prepare(database: &Database) -> Result<u64, NotDone> {
    match database.begin_read()?.open_table(NUMBERS) {
        Ok(numbers) => return number(&numbers, REVISION),
        Err(redb::TableError::TableDoesNotExist(_)) => {}
        Err(error) => return Err(error.into()),
    }
    fill(database)?;
    Ok(0)
}

fn kept(asked: u64, oldest: u64, latest: u64) -> Result<(), NotDone> {
    if asked < oldest || asked > latest {
        return Err(NotDone(Why::Said(StoreError::Compacted { asked, oldest })));
    }
    Ok(())
}

fn stored((revision, value): (u64, &[u8])) -> Stored {
    Stored { value: Bytes::copy_from_slice(value), revision }
}

type History = redb::ReadOnlyTable<super::tables::Changed, super::tables::Before>;
type Data = redb::ReadOnlyTable<&'static [u8], (u64, &'static [u8])>;

/// The value of the key at `at`, if the key changed since; the inner `None`: the key was absent.
fn value_before(history: &History, key: &Key, at: u64) -> Result<Option<Option<Stored>>, NotDone> {
    let first = history.range((key.as_bytes(), at + 1)..=(key.as_bytes(), u64::MAX))?.next();
    Ok(first.transpose()?.map(|(_, before)| before.value().map(stored)))
}

/// The values at `at` of the keys with this prefix that changed after `at`.
fn replaced(
    history: &History,
    prefix: &Key,
    at: u64,
) -> Result<BTreeMap<Key, Option<Stored>>, NotDone> {
    let mut then = BTreeMap::new();
    for entry in history.range((prefix.as_bytes(), 0)..)? {
        let (changed, before) = entry?;
        let (key, revision) = changed.value();
        if !key.starts_with(prefix.as_bytes()) {
            break;
        }
        if revision > at {
            // The first change after `at` holds the value of that time.
            then.entry(Key::new(key.to_vec())).or_insert_with(|| before.value().map(stored));
        }
    }
    Ok(then)
}

/// The last key, now, that has this prefix and is not beyond `until`.
fn last(data: &Data, prefix: &Key, until: &Key) -> Result<Vec<(Key, Stored)>, NotDone> {
    if until < prefix {
        return Ok(Vec::new());
    }
    let until = match prefix.prefix_end() {
        Some(end) if *until >= end => Bound::Excluded(end),
        _ => Bound::Included(until.clone()),
    };
    let bounds = (Bound::Included(prefix.as_bytes()), until.as_ref().map(Key::as_bytes));
    let last = data.range::<&[u8]>(bounds)?.next_back().transpose()?;
    Ok(last
        .map(|(key, value)| (Key::new(key.value().to_vec()), stored(value.value())))
        .into_iter()
        .collect())
}

fn range(
    data: &Data,
    overlay: &BTreeMap<Key, Option<Stored>>,
    prefix: &Key,
    after: Option<&Key>,
    limit: usize,
) -> Result<Vec<(Key, Stored)>, NotDone> {
    let start = match after {
        Some(after) if after >= prefix => Bound::Excluded(after),
        _ => Bound::Included(prefix),
    };
    let end = prefix.prefix_end();
    let end = end.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
    let mut then = overlay.range::<Key, _>((start, end)).peekable();
    let mut answer = Vec::new();
    for entry in data.range::<&[u8]>((start.map(Key::as_bytes), end.map(Key::as_bytes)))? {
        if answer.len() >= limit {
            return Ok(answer);
        }
        let (key, value) = entry?;
        let key = Key::new(key.value().to_vec());
        while let Some((earlier, before)) = then.next_if(|(changed, _)| **changed < key) {
            answer.extend(before.clone().map(|before| (earlier.clone(), before)));
        }
        match then.next_if(|(changed, _)| **changed == key) {
            Some((_, before)) => answer.extend(before.clone().map(|before| (key, before))),
            None => answer.push((key, stored(value.value()))),
        }
    }
    answer.extend(
        then.filter_map(|(key, before)| before.clone().map(|before| (key.clone(), before))),
    );
    answer.truncate(limit);
    Ok(answer)
}
