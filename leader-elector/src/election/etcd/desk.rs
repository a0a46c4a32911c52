//! The contenders of this elector: who waits in which order, which stream leads, and which leader's
//! stream broke here.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use proto::{ApplicationId, Epoch};
use tokio::sync::watch;

use crate::model::EntryId;

/// The contenders of this elector, by application.
#[derive(Debug, Default)]
pub(super) struct Desks {
    entries: AtomicU64,
    desks: Mutex<BTreeMap<ApplicationId, Desk>>,
    changed: watch::Sender<()>,
}

/// The contenders of one application.
#[derive(Debug, Default)]
struct Desk {
    queue: VecDeque<(EntryId, String)>,
    leads: Option<EntryId>,
    broken: Option<Broken>,
}

/// A leader whose stream this elector saw break, and whose lock would prove, if it were free, that
/// the leader is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken {
    /// The leader's epoch.
    pub(super) epoch: Epoch,
    /// The revision of the leader's key.
    pub(super) revision: i64,
    /// The leader's lock.
    pub(super) lock: PathBuf,
}

impl Desks {
    /// Wakes when a contender of this elector comes, goes or leads.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// The id of a new entry.
    pub(super) fn entry(&self) -> EntryId {
        EntryId(self.entries.fetch_add(1, Ordering::Relaxed))
    }

    /// A contender waits, at the end of the queue.
    pub(super) fn queue(&self, application: &ApplicationId, id: EntryId, holder: &str) {
        self.at(application, |desk| desk.queue.push_back((id, holder.to_owned())));
    }

    /// Whether the entry is the first in the queue.
    pub(super) fn is_first(&self, application: &ApplicationId, id: EntryId) -> bool {
        let desks = self.desks();
        let desk = desks.get(application);
        desk.is_some_and(|desk| desk.queue.front().is_some_and(|(first, _)| *first == id))
    }

    /// The names of those that wait.
    pub(super) fn waiting(&self, application: &ApplicationId) -> Vec<String> {
        let desks = self.desks();
        let queue = desks.get(application).map(|desk| desk.queue.iter());
        queue.into_iter().flatten().map(|(_, holder)| holder.clone()).collect()
    }

    /// The entry leads from now on, and no earlier stream of its holder does.
    pub(super) fn lead(&self, application: &ApplicationId, id: EntryId) {
        self.at(application, |desk| {
            desk.queue.retain(|(queued, _)| *queued != id);
            desk.leads = Some(id);
            desk.broken = None;
        });
    }

    /// Whether the leader's own stream is the entry's.
    pub(super) fn leads(&self, application: &ApplicationId, id: EntryId) -> bool {
        self.desks().get(application).is_some_and(|desk| desk.leads == Some(id))
    }

    /// All leaders whose streams this elector saw break.
    pub(super) fn broken(&self) -> Vec<(ApplicationId, Broken)> {
        let desks = self.desks();
        let broken = |(application, desk): (&ApplicationId, &Desk)| {
            Some((application.clone(), desk.broken.clone()?))
        };
        desks.iter().filter_map(broken).collect()
    }

    /// Whether the leader has not come back on another stream.
    pub(super) fn is_broken(&self, application: &ApplicationId, broken: &Broken) -> bool {
        self.desks().get(application).is_some_and(|desk| desk.broken.as_ref() == Some(broken))
    }

    /// The leadership is over.
    pub(super) fn forget(&self, application: &ApplicationId, broken: &Broken) {
        self.at(application, |desk| {
            if desk.broken.as_ref() == Some(broken) {
                desk.broken = None;
            }
        });
    }

    /// The entry is over. `broken` tells of a leader whose stream this elector saw break.
    pub(super) fn leave(&self, application: &ApplicationId, id: EntryId, broken: Option<Broken>) {
        self.at(application, |desk| {
            desk.queue.retain(|(queued, _)| *queued != id);
            if desk.leads == Some(id) {
                desk.leads = None;
                desk.broken = broken;
            }
        });
    }

    fn at(&self, application: &ApplicationId, change: impl FnOnce(&mut Desk)) {
        let mut desks = self.desks();
        let desk = desks.entry(application.clone()).or_default();
        change(desk);
        if desk.queue.is_empty() && desk.leads.is_none() && desk.broken.is_none() {
            desks.remove(application);
        }
        drop(desks);
        self.changed.send_replace(());
    }

    fn desks(&self) -> MutexGuard<'_, BTreeMap<ApplicationId, Desk>> {
        self.desks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
