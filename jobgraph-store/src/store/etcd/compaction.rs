//! Which store compacts.
//!
//! etcd has one past, which all stores of a record read, so one of them gives it up for all: the
//! one whose name is in the entry `compacted`, for as long as that entry moves. Nothing depends on
//! there being one, because to compact twice is harmless. Two would give up the shorter of their
//! pasts, whatever the other one was told to keep.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ::etcd::{Error, Etcd};
use chassis::clock::{Boot, Clock as _};
use etcd_client::{Compare, CompareOp, Txn, TxnOp};
use serde::{Deserialize, Serialize};

use super::keys::Keys;
use super::slots::found;
use super::{PATIENCE, i64_of};

/// How long the entry may stand still, while there is something to compact, until another store
/// takes it over. etcd has room for the past of as long.
const STANDS_STILL: Duration = Duration::from_secs(30 * 60);

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
        let look = || TxnOp::get(keys.compacted(), None);
        let answer = etcd.transact(PATIENCE, &Txn::new().and_then(vec![look()])).await?;
        let seen = found(answer.op_responses());
        let revision = seen.as_ref().map_or(0, |(_, revision)| *revision);
        // An entry that cannot be read names no store.
        let entry: Option<Compacted> =
            seen.and_then(|(value, _)| serde_json::from_slice(&value).ok());
        match &entry {
            Some(entry) if entry.writer == self.writer => {}
            // The other store has done so, or it will: its entry moves.
            Some(entry) if entry.until >= before => return Ok(false),
            Some(_) if !self.stands_still(revision, etcd.clock().boot()) => return Ok(false),
            _ => {}
        }
        let until = entry.map_or(before, |entry| entry.until.max(before));
        let ours = Compacted { writer: self.writer.clone(), until };
        let ours = serde_json::to_vec(&ours).map_err(|why| Error::Refused(why.to_string()))?;
        let take = Txn::new()
            .when(vec![Compare::mod_revision(keys.compacted(), CompareOp::Equal, i64_of(revision))])
            .and_then(vec![TxnOp::put(keys.compacted(), ours.clone(), None)])
            .or_else(vec![look()]);
        match etcd.transact(PATIENCE, &take).await {
            Ok(answer) if answer.succeeded() => Ok(true),
            // Another store was first, or an earlier call of this one, whose answer was lost.
            Ok(answer) => Ok(found(answer.op_responses()).is_some_and(|(value, _)| value == ours)),
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
