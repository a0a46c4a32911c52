//! The changes that this store has heard of: what [`Metadata::changes`](super::Metadata::changes)
//! answers from, so that the followers of a store cost etcd one watch.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::super::{Change, Key, StoreError};

/// Commits in their order: the revision, and the keys that changed.
pub(super) type Log = VecDeque<(u64, Vec<Key>)>;

/// The latest commits. Every commit after `oldest` and up to the shown revision is in it.
#[derive(Debug)]
pub(super) struct Past {
    state: Mutex<State>,
    shown: watch::Sender<u64>,
    kept: usize,
}

#[derive(Debug)]
struct State {
    oldest: u64,
    given_up: u64,
    log: Log,
}

impl Past {
    /// The past that begins at a revision, of at most `kept` commits.
    pub(super) fn since(revision: u64, kept: u64) -> Self {
        let state = State { oldest: revision, given_up: 0, log: Log::new() };
        let kept = usize::try_from(kept).unwrap_or(usize::MAX);
        Self { state: Mutex::new(state), shown: watch::Sender::new(revision), kept }
    }

    /// The revision after which every commit is known.
    pub(super) fn oldest(&self) -> u64 {
        self.state().oldest
    }

    /// The revisions below this one are given up.
    pub(super) fn given_up(&self) -> u64 {
        self.state().given_up
    }

    /// The latest revision that is known here, as a value to wait on.
    pub(super) fn shown(&self) -> watch::Receiver<u64> {
        self.shown.subscribe()
    }

    /// Adds a commit that is later than all that are known.
    pub(super) fn push(&self, revision: u64, keys: Vec<Key>) {
        let mut state = self.state();
        state.log.push_back((revision, keys));
        while state.log.len() > self.kept
            && let Some((oldest, _)) = state.log.pop_front()
        {
            state.oldest = oldest;
        }
        // The revision is shown under the lock, so that revisions are shown in their order.
        self.shown.send_replace(revision);
    }

    /// Whether so many commits can be added before those that are known. As many are kept as laws
    /// ask for, so a store that has them does not look for more.
    pub(super) fn has_room_for(&self, earlier: usize) -> bool {
        self.state().log.len() + earlier <= self.kept
    }

    /// Adds the commits after `after` and up to `until`, unless the past has moved on beyond
    /// `until` since. It may have got some of them meanwhile.
    pub(super) fn prepend(&self, after: u64, mut earlier: Log, until: u64) {
        let mut state = self.state();
        if (after..=until).contains(&state.oldest) {
            let oldest = state.oldest;
            earlier.retain(|(revision, _)| *revision <= oldest);
            earlier.append(&mut state.log);
            state.log = earlier;
            state.oldest = after;
        }
    }

    /// Notes that the commits up to this revision are not known here.
    pub(super) fn lost(&self, until: u64) {
        let mut state = self.state();
        state.log.clear();
        state.oldest = until;
        self.shown.send_if_modified(|shown| {
            let later = until > *shown;
            *shown = until.max(*shown);
            later
        });
    }

    /// Forgets what led to the revision `before`.
    pub(super) fn give_up(&self, before: u64) {
        let mut state = self.state();
        state.given_up = state.given_up.max(before);
        state.oldest = state.oldest.max(before);
        while state.log.front().is_some_and(|(revision, _)| *revision <= before) {
            state.log.pop_front();
        }
    }

    /// The changes after a revision: whole commits, until at least `limit` keys are listed.
    pub(super) fn changes(&self, after: u64, limit: usize) -> Result<Vec<Change>, StoreError> {
        let state = self.state();
        if after < state.oldest {
            return Err(StoreError::Compacted { asked: after, oldest: state.oldest });
        }
        let begin = state.log.partition_point(|(revision, _)| *revision <= after);
        let mut changes = Vec::new();
        for (revision, keys) in state.log.iter().skip(begin) {
            if changes.len() >= limit {
                break;
            }
            changes.extend(keys.iter().map(|key| Change { revision: *revision, key: key.clone() }));
        }
        Ok(changes)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
