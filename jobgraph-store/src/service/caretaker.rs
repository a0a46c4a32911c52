//! The chores of the record, and which of several stores does them: finding payloads that nothing
//! points to, going on with what is half forgotten.
//!
//! One store does the chores, because two would do the same work twice. Nothing else rests on its
//! being one: every chore is safe beside any number of stores that do it too (`sweep.rs`,
//! `forget.rs`). So the caretaker needs no lease that ends in time, and no store compares its clock
//! with that of another one. The caretaker puts the key `caretaker` at each turn; the key is its
//! own as long as the last commit of the key was its own. Another store takes the key over once it
//! has seen, for so long by its own boot clock, that the key did not move.
//!
//! Compaction of the metadata is no chore of the caretaker: what a backend has to give up is the
//! backend's affair, see `past.rs`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chassis::clock::{Boot, timeout};
use rustix::system::uname;

use super::Service;
use super::load::revision_of;
use super::sweep::UNREFERENCED_KEPT;
use crate::error::Error;
use crate::keys::Kind as _;
use crate::keys::caretaker::{self, Caretaker};
use crate::store::{Commit, Compare, Operation, Read, Transaction};

/// How often the chores are done.
const TURN_EVERY: Duration = Duration::from_secs(600);

/// A caretaker whose key does not move for so long is taken for gone: it has missed two turns.
const GONE_AFTER: Duration = Duration::from_secs(25 * 60);

/// How long a store that ends takes to leave the chores to others.
const LEAVES_WITHIN: Duration = Duration::from_secs(2);

/// What this store knows of the caretaker. The value is cheap to clone, and all clones are one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watched(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// The revision of this store's own last turn.
    own: Option<u64>,
    /// The revision of another store's last turn, and since when this store knows it.
    other: Option<(u64, Boot)>,
}

impl Known {
    /// Notes the revision of the last turn. `true`: the next turn may be this store's.
    fn note(&mut self, last: Option<u64>, now: Boot) -> bool {
        let Some(last) = last else { return true };
        if self.own == Some(last) {
            return true;
        }
        self.own = None;
        let since = match self.other {
            Some((known, since)) if known == last => since,
            _ => now,
        };
        self.other = Some((last, since));
        now.saturating_duration_since(since) >= GONE_AFTER
    }
}

impl Watched {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service {
    /// Does the chores again and again, whenever they are this store's. The first turn comes some
    /// time after the start, because a store that starts has better things to do. What is half
    /// forgotten cannot wait so long: it may be this store that left it so.
    pub async fn keep_house(&self) {
        if let Err(error) = self.finish_forgetting().await {
            tracing::warn!(%error, "what is half forgotten stays for now");
        }
        if let Err(error) = self.last_turn().await {
            tracing::debug!(%error, "which store does the chores is not known yet");
        }
        loop {
            self.clock.sleep(TURN_EVERY).await;
            self.forget_silent_leaders().await;
            match self.take_turn().await {
                Ok(true) => self.do_chores().await,
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "the chores of the record are left undone"),
            }
        }
    }

    async fn do_chores(&self) {
        if let Err(error) = self.finish_forgetting().await {
            tracing::warn!(%error, "what is half forgotten stays for now");
        }
        match self.sweep_all(UNREFERENCED_KEPT).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "swept payloads that nothing points to"),
            Err(error) => tracing::warn!(%error, "payloads could not be swept"),
        }
    }

    /// The revision of the last turn, and whether the next one may be this store's.
    async fn last_turn(&self) -> Result<(Option<u64>, bool), Error> {
        let view = self.metadata.read(vec![Read::Key(caretaker::key())], None).await?;
        let last = revision_of(&view, 0);
        Ok((last, self.caretaker.known().note(last, self.clock.boot())))
    }

    /// Takes the next turn of the chores. `false`: another store does them.
    pub(crate) async fn take_turn(&self) -> Result<bool, Error> {
        let (last, is_ours) = self.last_turn().await?;
        if !is_ours {
            return Ok(false);
        }
        let host = uname().nodename().to_string_lossy().into_owned();
        let compares = vec![Compare { key: caretaker::key(), revision: last }];
        let operations = vec![Operation::Put(caretaker::key(), Caretaker { host }.to_stored())];
        match self.commit(Transaction { compares, operations }).await? {
            Commit::Committed(revision) => {
                self.caretaker.known().own = Some(revision);
                Ok(true)
            }
            // Another store was faster.
            Commit::Conflict(_) => Ok(false),
        }
    }

    /// Leaves the chores to the next store that looks, which need not wait until this one counts as
    /// gone.
    pub async fn leave_chores(&self) -> Result<(), Error> {
        let own = self.caretaker.known().own.take();
        if let Some(own) = own {
            let compares = vec![Compare { key: caretaker::key(), revision: Some(own) }];
            let operations = vec![Operation::Delete(caretaker::key())];
            let leaving = self.commit(Transaction { compares, operations });
            let left = timeout(&self.clock, LEAVES_WITHIN, leaving).await;
            left.map_err(|elapsed| Error::Unavailable(elapsed.to_string()))??;
        }
        Ok(())
    }

    /// Takes leaders out of memory that were not heard of for a turn and whose applications are
    /// clean. The store that made such an application clean may have been another one.
    async fn forget_silent_leaders(&self) {
        for application in self.live.silent_for(TURN_EVERY) {
            if let Err(error) = self.forget_if_clean(&application).await {
                tracing::debug!(%error, %application, "a silent leader stays in memory for now");
            }
        }
    }
}

#[cfg(test)]
mod tests;
