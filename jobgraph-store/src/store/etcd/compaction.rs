//! Which store compacts.
//!
//! etcd has one past, which all stores of a record read, so one of them gives it up for all: the
//! one whose name is in the entry `compacted`, for as long as that entry moves. The store that is
//! named moves the entry for as long as it runs, whether there is something to give up or not: how
//! seldom there is depends on its past, which the others do not know. Nothing depends on there
//! being one, because to compact twice is harmless. Two would give up the shorter of their pasts,
//! whatever the other one was told to keep.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::etcd::{Error, Etcd};
use chassis::backoff::Backoff;
use chassis::clock::{Boot, Clock as _};
use etcd_client::{Compare, CompareOp, Txn, TxnOp};
use serde::{Deserialize, Serialize};

use super::keys::Keys;
use super::slots::found;
use super::{PATIENCE, i64_of};

/// How long the entry may stand still, while there is something to compact, until another store
/// takes it over. Until then nobody compacts, and etcd has to have room for the past of as long.
const STANDS_STILL: Duration = Duration::from_secs(5 * 60);

/// The longest pause between two moves of the entry. It is short against [`STANDS_STILL`], so that
/// neither a restart nor an etcd that is away for a while looks like a store that is gone.
const MOVES_WITHIN: Duration = Duration::from_secs(60);

/// Who compacts, and up to where it has.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Compacted {
    /// The name that the store writes under.
    writer: String,
    /// The revision that it has compacted up to.
    until: u64,
}

/// One store's part in it.
#[derive(Debug)]
pub(super) struct Compaction {
    writer: String,
    /// The revision of another store's entry, and since when this store has seen the entry there.
    seen: Mutex<Option<(u64, Boot)>>,
}

impl Compaction {
    /// The part of the store with this name.
    pub(super) fn of(writer: &str) -> Self {
        Self { writer: writer.to_owned(), seen: Mutex::default() }
    }

    /// Whether this store is the one that compacts up to the revision `before`.
    pub(super) async fn is_ours(
        &self,
        etcd: &Etcd,
        keys: &Keys,
        before: u64,
    ) -> Result<bool, Error> {
        let (entry, revision) = look(etcd, keys).await?;
        match &entry {
            Some(entry) if entry.writer == self.writer => {}
            // The other store has done so, or it will: its entry moves.
            Some(entry) if entry.until >= before => return Ok(false),
            Some(_) if !self.stands_still(revision, etcd.clock().boot()) => return Ok(false),
            _ => {}
        }
        let until = entry.map_or(before, |entry| entry.until.max(before));
        let ours = Compacted { writer: self.writer.clone(), until };
        match put(etcd, keys, revision, ours).await {
            // Another store was first; or this one, by a call whose answer was lost, or because it
            // moved the entry meanwhile.
            Ok(entry) => Ok(entry.is_some_and(|entry| entry.writer == self.writer)),
            // To compact is how there will be room again.
            Err(Error::Full(_)) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Whether another store's entry has stood at this revision for so long that its store is gone.
    fn stands_still(&self, revision: u64, now: Boot) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match *seen {
            Some((known, since)) if known == revision => now >= since + STANDS_STILL,
            _ => {
                *seen = Some((revision, now));
                false
            }
        }
    }
}

/// Moves the entry, if it names this store, for as long as the store runs.
pub(super) async fn keep_moving(etcd: Etcd, keys: Arc<Keys>, writer: String) {
    let mut pauses = Backoff::new(MOVES_WITHIN, MOVES_WITHIN);
    loop {
        if let Err(error) = move_on(&etcd, &keys, &writer).await {
            tracing::debug!(%error, "the entry of the store that compacts is not moved for now");
        }
        etcd.clock().sleep(pauses.next_delay()).await;
    }
}

/// Moves the entry once, if it names this store.
pub(super) async fn move_on(etcd: &Etcd, keys: &Keys, writer: &str) -> Result<(), Error> {
    if let (Some(entry), revision) = look(etcd, keys).await?
        && entry.writer == writer
    {
        // An entry that is not where it was seen has moved, which is all that is wanted.
        put(etcd, keys, revision, entry).await?;
    }
    Ok(())
}

/// The entry, and the revision that put it.
async fn look(etcd: &Etcd, keys: &Keys) -> Result<(Option<Compacted>, u64), Error> {
    let look = Txn::new().and_then(vec![look_at(keys)]);
    let answer = etcd.transact(PATIENCE, &look).await?;
    Ok(entry_of(found(answer.op_responses())))
}

/// Puts the entry if the one that is there is of this revision. Answers the entry that is there
/// now.
async fn put(
    etcd: &Etcd,
    keys: &Keys,
    seen_at: u64,
    entry: Compacted,
) -> Result<Option<Compacted>, Error> {
    let value = serde_json::to_vec(&entry).map_err(|why| Error::Refused(why.to_string()))?;
    let is_there = Compare::mod_revision(keys.compacted(), CompareOp::Equal, i64_of(seen_at));
    let txn = Txn::new()
        .when(vec![is_there])
        .and_then(vec![TxnOp::put(keys.compacted(), value, None)])
        .or_else(vec![look_at(keys)]);
    let answer = etcd.transact(PATIENCE, &txn).await?;
    if answer.succeeded() {
        return Ok(Some(entry));
    }
    Ok(entry_of(found(answer.op_responses())).0)
}

fn look_at(keys: &Keys) -> TxnOp {
    TxnOp::get(keys.compacted(), None)
}

/// What was found as the entry, and its revision, 0 if there is none. An entry that cannot be read
/// names no store.
fn entry_of(found: Option<(Vec<u8>, u64)>) -> (Option<Compacted>, u64) {
    found.map_or((None, 0), |(value, revision)| (serde_json::from_slice(&value).ok(), revision))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_takes_over_from_one_whose_entry_stands_still() {
        let (compaction, begin) = (Compaction::of("b"), Boot::from_nanos(1));
        let just_before = STANDS_STILL - Duration::from_nanos(1);
        assert!(!compaction.stands_still(7, begin));
        assert!(!compaction.stands_still(7, begin + just_before));
        assert!(!compaction.stands_still(9, begin + STANDS_STILL), "it has moved");
        assert!(!compaction.stands_still(9, begin + STANDS_STILL + just_before));
        assert!(compaction.stands_still(9, begin + STANDS_STILL * 2));
    }
}
