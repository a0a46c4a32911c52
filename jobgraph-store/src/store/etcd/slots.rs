//! How a lost answer is found again.
//!
//! A connection that breaks in the middle of a commit leaves open whether the commit happened, or
//! will still happen. Every commit therefore also compares and puts one key of its writer, a
//! *slot*, with a value that no other commit has. If the answer is lost, the writer replaces the
//! slot under the same compare: either the replacement is taken, and then the lost commit can
//! happen no more; or it is not, because the commit has put its value into the slot, and the slot
//! tells the revision. The caller of the seam learns of neither.
//!
//! A commit that its caller has dropped may still be on its way when the next commit takes the same
//! slot. Both compare the slot, so the later one finds it moved if the earlier one was first, and
//! the earlier one can happen no more once the later one was.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::etcd::revision_of;
use etcd_client::{Compare, CompareOp, Txn, TxnOp, TxnOpResponse};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::super::Key;
use super::keys::Keys;
use super::{Error, Etcd, PATIENCE, i64_of, u64_of};

/// How many commits of one store are under way at a time.
const SLOTS: usize = 64;

/// How long a lost answer is looked for: longer than a commit is tried, because a caller that is
/// told `Unknown` has to read the record again.
const SEARCH: Duration = PATIENCE.saturating_mul(2);

/// What became of one attempt to commit.
#[derive(Debug)]
pub(super) enum Attempted {
    /// The commit happened, at this revision.
    Done(u64),
    /// The compare on this key did not hold, so nothing happened.
    Conflict(Key),
    /// The commit did not happen, and will not.
    Not,
    /// Nothing happened, because the slot is not as this store knew it.
    SlotMoved,
}

/// The slots of one writer. Each serves one commit at a time.
#[derive(Debug)]
pub(super) struct Slots {
    /// What all values begin with that this store puts.
    ours: u64,
    permits: Arc<Semaphore>,
    pool: Arc<Mutex<Vec<Known>>>,
}

/// What is known of a slot.
#[derive(Debug)]
struct Known {
    name: Vec<u8>,
    /// The revision that last put the slot, 0 if it was never put; `None` if it has to be read.
    revision: Option<u64>,
}

/// The slot of one commit.
#[derive(Debug)]
pub(super) struct Slot {
    ours: u64,
    name: Vec<u8>,
    revision: Option<u64>,
    /// What the attempt puts whose outcome is not known; empty if there is none.
    value: Vec<u8>,
    pool: Arc<Mutex<Vec<Known>>>,
    _permit: OwnedSemaphorePermit,
}

impl Slots {
    /// The slots of the writer with this name.
    pub(super) fn of(keys: &Keys, writer: &str) -> Self {
        let slots = (0..SLOTS)
            .rev()
            .map(|number| Known { name: keys.slot(writer, number), revision: None });
        Self {
            ours: rand::random(),
            permits: Arc::new(Semaphore::new(SLOTS)),
            pool: Arc::new(Mutex::new(slots.collect())),
        }
    }

    /// A slot that no other commit of this store uses. Waits while all are in use.
    pub(super) async fn take(&self) -> Result<Slot, Error> {
        let permit = self.permits.clone().acquire_owned().await;
        let known = self.pool.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let (Ok(permit), Some(Known { name, revision })) = (permit, known) else {
            return Err(Error::Away("no slot is free".to_owned()));
        };
        let (ours, pool) = (self.ours, self.pool.clone());
        Ok(Slot { ours, name, revision, value: Vec::new(), pool, _permit: permit })
    }
}

impl Slot {
    /// Reads the slot, unless this store knows what is in it.
    pub(super) async fn ready(&mut self, etcd: &Etcd) -> Result<(), Error> {
        if self.revision.is_none() {
            let seen = self.seen(etcd, PATIENCE).await?;
            self.is_at(seen.map_or(0, |(_, revision)| revision));
        }
        Ok(())
    }

    /// Begins an attempt: what its transaction compares and puts besides.
    pub(super) fn attempt(&mut self) -> (Compare, TxnOp) {
        let expected = self.expected();
        // From here on only the outcome of the attempt tells what is in the slot.
        self.revision = None;
        self.value = self.nonce();
        let put = TxnOp::put(self.name.clone(), self.value.clone(), None);
        (expected, put)
    }

    /// Reads the slot in the transaction of an attempt that is not taken.
    pub(super) fn look(&self) -> TxnOp {
        TxnOp::get(self.name.clone(), None)
    }

    /// The outcome of the attempt is known, and the slot was last put at this revision.
    pub(super) fn is_at(&mut self, revision: u64) {
        self.revision = Some(revision);
        self.value.clear();
    }

    /// The attempt was not taken, because the slot is not where this store knew it.
    pub(super) fn moved(&mut self) {
        self.revision = None;
        self.value.clear();
    }

    /// Finds out what became of the attempt whose answer was lost. `before` is where the slot was
    /// when the attempt began.
    pub(super) async fn resolve(&mut self, etcd: &Etcd, before: u64) -> Result<Attempted, Error> {
        let void = self.nonce();
        let replace = Txn::new()
            .when(vec![compare(&self.name, before)])
            .and_then(vec![TxnOp::put(self.name.clone(), void.clone(), None)])
            .or_else(vec![self.look()]);
        let seen = match etcd.transact(SEARCH, &replace).await {
            Ok(answer) if answer.succeeded() => {
                self.is_at(u64_of(revision_of(&answer)));
                return Ok(Attempted::Not);
            }
            Ok(answer) => found(answer.op_responses()),
            // etcd has no room for the replacement, and may have taken it all the same. If it has
            // not, the lost attempt may still come, and its outcome stays open.
            Err(Error::Full(why)) => {
                let seen = self.seen(etcd, SEARCH).await?;
                if seen.as_ref().map_or(0, |(_, revision)| *revision) == before {
                    return Err(Error::Full(why));
                }
                seen
            }
            Err(error) => return Err(error),
        };
        self.judge(seen, &void)
    }

    /// Finds out what became of the attempt that etcd has answered with a lack of room: etcd
    /// refuses a write before or after it has done it. Either way the write is not on its way any
    /// more, so what is in the slot is the last word. `true`: the commit happened, at the slot's
    /// revision.
    pub(super) async fn was_put(&mut self, etcd: &Etcd) -> Result<bool, Error> {
        let seen = self.seen(etcd, SEARCH).await?;
        let put = seen.as_ref().is_some_and(|(value, _)| *value == self.value);
        self.is_at(seen.map_or(0, |(_, revision)| revision));
        Ok(put)
    }

    /// What a slot says of the attempt, once it is not where it was when the attempt began. `void`
    /// is what has replaced the attempt, if the answer of the replacement was lost.
    fn judge(&mut self, seen: Option<(Vec<u8>, u64)>, void: &[u8]) -> Result<Attempted, Error> {
        let Some((value, revision)) = seen else {
            return Err(Error::Refused("the writer's slot is gone".to_owned()));
        };
        let attempted = if value == self.value {
            Attempted::Done(revision)
        } else if value == void || value.starts_with(&self.ours.to_be_bytes()) {
            // Another value of this store is that of an earlier commit, whose caller has dropped
            // it. It compared the slot, too, so it came before this one, which then cannot come.
            Attempted::Not
        } else {
            return Err(Error::Refused("another process has used the writer's slot".to_owned()));
        };
        self.is_at(revision);
        Ok(attempted)
    }

    /// The value of the slot, and the revision that put it.
    async fn seen(&self, etcd: &Etcd, patience: Duration) -> Result<Option<(Vec<u8>, u64)>, Error> {
        let look = Txn::new().and_then(vec![self.look()]);
        let seen = etcd.transact(patience, &look).await?;
        Ok(found(seen.op_responses()))
    }

    /// A value that no other attempt puts.
    fn nonce(&self) -> Vec<u8> {
        [self.ours.to_be_bytes(), rand::random::<u64>().to_be_bytes()].concat()
    }

    /// Whether an attempt was begun whose outcome is not known.
    pub(super) fn is_open(&self) -> bool {
        self.revision.is_none() && !self.value.is_empty()
    }

    /// Where the slot is, for [`resolve`](Self::resolve).
    pub(super) fn revision(&self) -> u64 {
        self.revision.unwrap_or_default()
    }

    fn expected(&self) -> Compare {
        compare(&self.name, self.revision())
    }
}

impl Drop for Slot {
    /// A commit that its caller has dropped leaves a slot that has to be read.
    fn drop(&mut self) {
        let known = Known { name: std::mem::take(&mut self.name), revision: self.revision };
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).push(known);
    }
}

fn compare(name: &[u8], revision: u64) -> Compare {
    Compare::mod_revision(name, CompareOp::Equal, i64_of(revision))
}

/// The value and the revision of the key that the last operation looked at.
pub(super) fn found(answers: Vec<TxnOpResponse>) -> Option<(Vec<u8>, u64)> {
    let Some(TxnOpResponse::Get(mut got)) = answers.into_iter().next_back() else { return None };
    let kv = got.take_kvs().into_iter().next()?;
    let revision = u64_of(kv.mod_revision());
    Some((kv.into_key_value().1, revision))
}
