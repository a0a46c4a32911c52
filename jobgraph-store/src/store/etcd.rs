//! The record on etcd: any number of stores, each of them stateless, over one replicated
//! key-value store.
//!
//! A transaction of the seam is one transaction of etcd, a revision is etcd's own, and the instant
//! of a read is the revision that etcd answers it at. What this backend adds is the outcome of a
//! commit whose answer was lost (`etcd/slots.rs`), and the changes that a store follows
//! (`etcd/past.rs`).

mod compaction;
mod keys;
mod look;
mod past;
mod reads;
mod slots;

use std::sync::Arc;
use std::time::Duration;

use ::etcd::{Error, Etcd, Heard, Watch, revision_of};
use async_trait::async_trait;
use chassis::clock::{Clock as _, timeout};
use chassis::failpoint;
use chassis::tasks::{OwnedTask, owned};
use etcd_client::{Compare as EtcdCompare, CompareOp, Txn, TxnOp, TxnOpResponse};
use tokio::sync::watch;

use super::{
    Change, Commit, Compare, KEPT_REVISIONS, Key, Metadata, Operation, Read, StoreError,
    Transaction, View,
};
use compaction::Compaction;
use keys::Keys;
use past::{Log, Past};
use slots::{Attempted, Slot, Slots};

pub(crate) use look::Look;

/// How long a call goes from member to member. An election of etcd's leader takes one to two
/// seconds; a caller of the store waits no longer than its own deadline.
const PATIENCE: Duration = Duration::from_secs(8);

/// How often the past before a store was opened is looked for in vain.
const LOOKS_BACK: usize = 3;

/// The revision of an etcd that holds nothing.
const FIRST_REVISION: u64 = 1;

/// A backend on etcd.
#[derive(Debug)]
pub struct EtcdMetadata {
    etcd: Etcd,
    cluster: u64,
    keys: Arc<Keys>,
    slots: Slots,
    compaction: Compaction,
    past: Arc<Past>,
    /// Follows the record for as long as the backend is there.
    _follower: OwnedTask<()>,
    /// Says that the backend is there, if it is the one that compacts.
    _mover: OwnedTask<()>,
}

impl EtcdMetadata {
    /// The record below `prefix`, written as `writer`. Two stores with one writer's name disturb
    /// each other's commits, and neither can harm the record.
    pub async fn open(etcd: Etcd, prefix: &str, writer: &str) -> Result<Self, StoreError> {
        let keys = Arc::new(Keys::below(prefix));
        let (revision, cluster) = latest(&etcd, &keys).await.map_err(store_error)?;
        let past = Arc::new(Past::since(revision, KEPT_REVISIONS));
        let watch = Watch::new(etcd.clone(), keys.record(), i64_of(revision + 1));
        let follower = owned("record-follower", follow(watch, keys.clone(), past.clone()));
        let moving = compaction::keep_moving(etcd.clone(), keys.clone(), writer.to_owned());
        let mover = owned("compaction-entry", moving);
        let (slots, compaction) = (Slots::of(&keys, writer), Compaction::of(writer));
        Ok(Self {
            etcd,
            cluster,
            keys,
            slots,
            compaction,
            past,
            _follower: follower,
            _mover: mover,
        })
    }

    /// The id of the etcd cluster.
    pub fn cluster(&self) -> u64 {
        self.cluster
    }

    /// The revision of the last commit to the record, whichever store did it; 0 if there is none.
    /// No store takes it back, so a record in which it is lower than before is an earlier one.
    pub(crate) async fn last(&self) -> Result<u64, StoreError> {
        last_slot(PATIENCE, &self.etcd, &self.keys, 0).await.map_err(store_error)
    }

    /// Whether etcd takes writes of this user. A store that learned it from its first write would
    /// answer questions until then as if all were well.
    pub(crate) async fn may_write(&self) -> Result<(), Error> {
        may_write(PATIENCE, &self.etcd, &self.keys).await
    }

    /// Sends a transaction once, with the slot that tells what became of it.
    async fn attempt(
        &self,
        transaction: &Transaction,
        slot: &mut Slot,
    ) -> Result<Attempted, Error> {
        slot.ready(&self.etcd).await?;
        let before = slot.revision();
        let (slot_is_here, put_slot) = slot.attempt();
        let mut compares: Vec<EtcdCompare> =
            transaction.compares.iter().map(|compare| self.compare(compare)).collect();
        compares.push(slot_is_here);
        let mut operations: Vec<TxnOp> =
            transaction.operations.iter().map(|operation| self.operation(operation)).collect();
        operations.push(put_slot);
        let mut seen: Vec<TxnOp> =
            transaction.compares.iter().map(|compare| self.keys.look(&compare.key)).collect();
        seen.push(slot.look());
        let txn = Txn::new().when(compares).and_then(operations).or_else(seen);
        let answer = match self.etcd.transact_once(&txn).await {
            Ok(answer) => answer,
            // A test plants the bug to see that it would be noticed.
            Err(error)
                if error.is_away() && failpoint::is_planted("store.unknown-retried-as-new") =>
            {
                slot.moved();
                return Ok(Attempted::Not);
            }
            // The answer is lost, and the commit not necessarily.
            Err(error) if error.is_away() => return slot.resolve(&self.etcd, before).await,
            // The commit that uses up the room is done, and answered like those that are not.
            Err(Error::Full(why)) => {
                if slot.was_put(&self.etcd).await? {
                    return Ok(Attempted::Done(slot.revision()));
                }
                return Err(Error::Full(why));
            }
            Err(error) => {
                slot.is_at(before);
                return Err(error);
            }
        };
        if answer.succeeded() {
            let revision = u64_of(revision_of(&answer));
            slot.is_at(revision);
            return Ok(Attempted::Done(revision));
        }
        let mut seen = answer.op_responses().into_iter().map(seen_revision);
        let conflict = transaction
            .compares
            .iter()
            .find(|compare| seen.next().flatten() != compare.revision)
            .map(|compare| compare.key.clone());
        Ok(match conflict {
            Some(key) => {
                slot.is_at(before);
                Attempted::Conflict(key)
            }
            // All that the caller compares holds, so the slot has moved. It is read again.
            None => {
                slot.moved();
                Attempted::SlotMoved
            }
        })
    }

    fn compare(&self, compare: &Compare) -> EtcdCompare {
        let revision = compare.revision.map_or(0, i64_of);
        EtcdCompare::mod_revision(self.keys.data(&compare.key), CompareOp::Equal, revision)
    }

    fn operation(&self, operation: &Operation) -> TxnOp {
        match operation {
            Operation::Put(key, value) => TxnOp::put(self.keys.data(key), value.to_vec(), None),
            Operation::Delete(key) => TxnOp::delete(self.keys.data(key), None),
        }
    }

    /// Adds to the past what happened between `after` and the oldest change that is known.
    async fn look_back(&self, after: u64) -> Result<(), StoreError> {
        let until = self.past.oldest();
        let compacted = |oldest| StoreError::Compacted { asked: after, oldest };
        let last = match self.last_commit(until).await {
            Ok(last) => last,
            Err(Error::Compacted) => return Err(compacted(until)),
            Err(error) => return Err(store_error(error)),
        };
        let mut earlier = Log::new();
        let mut watch = Watch::new(self.etcd.clone(), self.keys.record(), i64_of(after + 1));
        let mut heard_until = after;
        while heard_until < last {
            let heard = timeout(self.etcd.clock(), PATIENCE, watch.next()).await;
            let heard = heard.map_err(|elapsed| StoreError::Unavailable(elapsed.to_string()))?;
            let events = match heard {
                Heard::Events(events) => events,
                Heard::Lost(lost) => return Err(compacted(u64_of(lost))),
            };
            for (revision, keys) in self.keys.changed(&events) {
                heard_until = revision;
                if revision <= until {
                    earlier.push_back((revision, keys));
                }
            }
            if !self.past.has_room_for(earlier.len()) {
                return Err(compacted(until));
            }
        }
        self.past.prepend(after, earlier, until);
        Ok(())
    }

    /// The revision of the last commit up to this revision, or 0: each commit puts a slot.
    async fn last_commit(&self, until: u64) -> Result<u64, Error> {
        last_slot(PATIENCE, &self.etcd, &self.keys, i64_of(until.max(FIRST_REVISION))).await
    }
}

#[async_trait]
impl Metadata for EtcdMetadata {
    async fn read(&self, reads: Vec<Read>, at: Option<u64>) -> Result<View, StoreError> {
        if let Some(asked) = at
            && asked < self.past.given_up()
        {
            return Err(StoreError::Compacted { asked, oldest: self.past.given_up() });
        }
        reads::read(&self.etcd, &self.keys, &reads, at).await.map_err(|error| match (error, at) {
            (Error::Compacted | Error::Future, Some(asked)) => {
                StoreError::Compacted { asked, oldest: self.past.oldest() }
            }
            (error, _) => store_error(error),
        })
    }

    async fn commit(&self, transaction: Transaction) -> Result<Commit, StoreError> {
        transaction.check()?;
        let until = self.etcd.clock().boot() + PATIENCE;
        let mut slot = self.slots.take().await.map_err(store_error)?;
        loop {
            match self.attempt(&transaction, &mut slot).await {
                Ok(Attempted::Done(revision)) => return Ok(Commit::Committed(revision)),
                Ok(Attempted::Conflict(key)) => return Ok(Commit::Conflict(key)),
                Ok(Attempted::Not | Attempted::SlotMoved) if self.etcd.clock().boot() < until => {}
                Ok(Attempted::Not | Attempted::SlotMoved) => {
                    return Err(StoreError::Unavailable("etcd did not take the commit".to_owned()));
                }
                Err(error) if slot.is_open() => return Err(StoreError::Unknown(error.to_string())),
                Err(error) => return Err(store_error(error)),
            }
        }
    }

    async fn changes(&self, after: u64, limit: usize) -> Result<Vec<Change>, StoreError> {
        if after < self.past.given_up() {
            return Err(StoreError::Compacted { asked: after, oldest: self.past.given_up() });
        }
        // Commits of the meantime may push out of the past what a look back adds to it.
        for _ in 0..LOOKS_BACK {
            if after < self.past.oldest() {
                self.look_back(after).await?;
            }
        }
        self.past.changes(after, limit)
    }

    async fn compact(&self, before: u64) -> Result<(), StoreError> {
        let (now, _) = latest(&self.etcd, &self.keys).await.map_err(store_error)?;
        let before = before.min(now);
        let ours = self.compaction.is_ours(&self.etcd, &self.keys, before).await;
        if ours.map_err(store_error)? {
            let compacted = self.etcd.call(PATIENCE, |client| async move {
                client.kv_client().compact(i64_of(before), None).await
            });
            match compacted.await {
                // An earlier call, whose answer was lost, was first, or another store.
                Ok(_) | Err(Error::Compacted) => {}
                Err(error) => return Err(store_error(error)),
            }
        }
        self.past.give_up(before);
        Ok(())
    }

    fn revisions(&self) -> watch::Receiver<u64> {
        self.past.shown()
    }
}

/// Notes what happens to the record, for as long as the backend is there.
async fn follow(mut watch: Watch, keys: Arc<Keys>, past: Arc<Past>) {
    loop {
        match watch.next().await {
            Heard::Events(events) => {
                for (revision, changed) in keys.changed(&events) {
                    past.push(revision, changed);
                }
            }
            Heard::Lost(lost) => {
                tracing::warn!(lost, "changes of the record are lost to this store, which lags");
                past.lost(u64_of(lost));
            }
        }
    }
}

/// The latest revision of etcd, and the id of its cluster.
async fn latest(etcd: &Etcd, keys: &Keys) -> Result<(u64, u64), Error> {
    latest_within(PATIENCE, etcd, keys).await
}

async fn latest_within(patience: Duration, etcd: &Etcd, keys: &Keys) -> Result<(u64, u64), Error> {
    let look = Txn::new().and_then(vec![keys.look_at(0)]);
    let answer = etcd.transact(patience, &look).await?;
    Ok(answer
        .header()
        .map(|header| (u64_of(header.revision()), header.cluster_id()))
        .unwrap_or_default())
}

/// Asks for a write under a condition that never holds. etcd looks at the user's permission and at
/// its room before it looks at the condition, so its answer says whether writes are taken.
async fn may_write(patience: Duration, etcd: &Etcd, keys: &Keys) -> Result<(), Error> {
    let key = keys.data(&Key::from("never".to_owned()));
    let never = EtcdCompare::mod_revision(key.clone(), CompareOp::Equal, i64::MAX);
    let put = TxnOp::put(key, "", None);
    let txn = Txn::new().when(vec![never]).and_then(vec![put]);
    etcd.transact(patience, &txn).await.map(drop)
}

/// The revision of the slot that was put last, as of a revision (0 is the latest one), or 0.
async fn last_slot(
    patience: Duration,
    etcd: &Etcd,
    keys: &Keys,
    revision: i64,
) -> Result<u64, Error> {
    let look = Txn::new().and_then(vec![keys.latest_slot(revision)]);
    let answer = etcd.transact(patience, &look).await?;
    Ok(answer.op_responses().into_iter().next().and_then(seen_revision).unwrap_or_default())
}

/// The revision of the key that was looked at.
fn seen_revision(answer: TxnOpResponse) -> Option<u64> {
    let TxnOpResponse::Get(got) = answer else { return None };
    got.kvs().first().map(|kv| u64_of(kv.mod_revision()))
}

fn store_error(error: Error) -> StoreError {
    match error {
        Error::Full(_) => StoreError::Full(error.to_string()),
        _ => StoreError::Unavailable(error.to_string()),
    }
}

/// Revisions of etcd are positive.
fn u64_of(revision: i64) -> u64 {
    u64::try_from(revision).unwrap_or_default()
}

fn i64_of(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
