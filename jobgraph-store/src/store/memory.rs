//! The record in memory: a real backend for tests and simulations, durable for as long as the value
//! lives.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use super::{
    Change, Commit, KEPT_REVISIONS, Key, Metadata, Operation, Read, StoreError, Stored,
    Transaction, View,
};

/// A backend whose disk is this value.
#[derive(Debug)]
pub struct MemoryMetadata {
    state: Mutex<State>,
    revision: watch::Sender<u64>,
    kept: u64,
}

#[derive(Debug, Default)]
struct State {
    revision: u64,
    data: BTreeMap<Key, Stored>,
    /// The value of a key before a change, by the key and the revision that changed it.
    history: BTreeMap<(Key, u64), Option<Stored>>,
    log: VecDeque<(u64, Vec<Key>)>,
}

impl Default for MemoryMetadata {
    fn default() -> Self {
        Self::keeping(KEPT_REVISIONS)
    }
}

impl MemoryMetadata {
    /// An empty store that keeps so many revisions.
    pub fn keeping(kept: u64) -> Self {
        Self { state: Mutex::default(), revision: watch::Sender::new(0), kept }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The oldest revision that can be asked for.
    fn oldest(&self) -> u64 {
        self.log.front().map_or(self.revision, |(revision, _)| revision - 1)
    }

    fn check(&self, asked: u64) -> Result<(), StoreError> {
        let oldest = self.oldest();
        if asked < oldest || asked > self.revision {
            return Err(StoreError::Compacted { asked, oldest });
        }
        Ok(())
    }

    fn value_at(&self, key: &Key, at: u64) -> Option<Stored> {
        let later = (Bound::Excluded((key.clone(), at)), Bound::Included((key.clone(), u64::MAX)));
        match self.history.range(later).next() {
            Some((_, before)) => before.clone(),
            None => self.data.get(key).cloned(),
        }
    }

    fn answer(&self, read: Read, at: u64) -> Vec<(Key, Stored)> {
        let (prefix, after, limit) = match read {
            Read::Key(key) => {
                return self.value_at(&key, at).map(|stored| (key, stored)).into_iter().collect();
            }
            Read::Range { prefix, after, limit } => (prefix, after, limit),
            Read::Last { prefix, until } => {
                let range = Read::Range { prefix, after: None, limit: usize::MAX };
                let up_to = self.answer(range, at).into_iter().take_while(|(key, _)| *key <= until);
                return up_to.last().into_iter().collect();
            }
        };
        let start = match &after {
            Some(after) if *after >= prefix => Bound::Excluded(after.clone()),
            _ => Bound::Included(prefix.clone()),
        };
        let end = prefix.prefix_end().map_or(Bound::Unbounded, Bound::Excluded);
        let now = self.data.range((start, end)).map(|(key, _)| key);
        let beyond = |key: &Key| after.as_ref().is_none_or(|after| key > after);
        let once = self.history.range((prefix.clone(), 0)..).map(|((key, _), _)| key);
        let once = once.take_while(|key| key.strip(&prefix).is_some()).filter(|key| beyond(key));
        let keys: BTreeSet<&Key> =
            if at == self.revision { now.collect() } else { now.chain(once).collect() };
        let values =
            keys.into_iter().filter_map(|key| Some((key.clone(), self.value_at(key, at)?)));
        values.take(limit).collect()
    }

    fn apply(&mut self, operations: Vec<Operation>, kept: u64) -> u64 {
        self.revision += 1;
        let revision = self.revision;
        let mut keys = Vec::with_capacity(operations.len());
        for operation in operations {
            let (key, value): (Key, Option<Bytes>) = match operation {
                Operation::Put(key, value) => (key, Some(value)),
                Operation::Delete(key) => (key, None),
            };
            let before = match value {
                Some(value) => self.data.insert(key.clone(), Stored { value, revision }),
                None => match self.data.remove(&key) {
                    Some(before) => Some(before),
                    None => continue,
                },
            };
            self.history.insert((key.clone(), revision), before);
            keys.push(key);
        }
        self.log.push_back((revision, keys));
        self.forget_until(revision.saturating_sub(kept));
        revision
    }

    /// Forgets the changes that led to the revision `until`.
    fn forget_until(&mut self, until: u64) {
        while self.log.front().is_some_and(|(oldest, _)| *oldest <= until) {
            let Some((oldest, keys)) = self.log.pop_front() else { break };
            for key in keys {
                self.history.remove(&(key, oldest));
            }
        }
    }
}

#[async_trait]
impl Metadata for MemoryMetadata {
    async fn read(&self, reads: Vec<Read>, at: Option<u64>) -> Result<View, StoreError> {
        let state = self.state();
        let revision = at.unwrap_or(state.revision);
        state.check(revision)?;
        let answers = reads.into_iter().map(|read| state.answer(read, revision)).collect();
        Ok(View { revision, answers })
    }

    async fn commit(&self, transaction: Transaction) -> Result<Commit, StoreError> {
        transaction.check()?;
        let mut state = self.state();
        for compare in transaction.compares {
            if state.data.get(&compare.key).map(|stored| stored.revision) != compare.revision {
                return Ok(Commit::Conflict(compare.key));
            }
        }
        let revision = state.apply(transaction.operations, self.kept);
        // The revision is shown under the lock, so that revisions are shown in their order.
        self.revision.send_replace(revision);
        Ok(Commit::Committed(revision))
    }

    async fn changes(&self, after: u64, limit: usize) -> Result<Vec<Change>, StoreError> {
        let state = self.state();
        state.check(after)?;
        let mut changes = Vec::new();
        let begin = state.log.partition_point(|(revision, _)| *revision <= after);
        for (revision, keys) in state.log.iter().skip(begin) {
            if changes.len() >= limit {
                break;
            }
            changes.extend(keys.iter().map(|key| Change { revision: *revision, key: key.clone() }));
        }
        Ok(changes)
    }

    async fn compact(&self, before: u64) -> Result<(), StoreError> {
        self.state().forget_until(before);
        Ok(())
    }

    fn revisions(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }
}

#[cfg(test)]
mod tests;
