//! The watchers of one stream, and what they are told.

use std::collections::BTreeMap;

use super::Refusal;
use super::history::{Event, History};
use super::request::Span;

/// How many revisions are told at once.
const REVISIONS_AT_ONCE: usize = 1_000;

/// The id of a watcher that is none, and of all watchers of a stream together.
const NONE: i64 = -1;

/// A wish for a watcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchCreate {
    /// The keys that are watched.
    pub span: Span,
    /// The first revision that is told; 0: the next one.
    pub start: i64,
    /// Whether puts are told.
    pub puts: bool,
    /// Whether deletions are told.
    pub deletes: bool,
    /// Whether what was there before is told.
    pub with_before: bool,
    /// The id of the watcher; 0 lets etcd choose.
    pub id: i64,
}

/// What is told on a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// A watcher begins.
    Created {
        /// The watcher.
        id: i64,
    },
    /// A watcher does not begin.
    Refused {
        /// Why not.
        why: String,
    },
    /// A watcher ends, as it was asked to.
    Canceled {
        /// The watcher.
        id: i64,
    },
    /// A watcher ends, because what comes next for it is kept no longer.
    Compacted {
        /// The watcher.
        id: i64,
        /// The revision of the compaction.
        revision: i64,
    },
    /// What happened. Events of one revision are told together.
    Events {
        /// The watcher.
        id: i64,
        /// The events, in their order.
        events: Vec<Event>,
    },
    /// All watchers of the stream have been told everything up to now.
    Progress,
}

impl Told {
    /// The watcher that it is told to.
    pub fn id(&self) -> i64 {
        match self {
            Self::Created { id }
            | Self::Canceled { id }
            | Self::Compacted { id, .. }
            | Self::Events { id, .. } => *id,
            Self::Refused { .. } | Self::Progress => NONE,
        }
    }
}

/// The watchers of one stream.
#[derive(Debug, Default)]
pub struct Watchers {
    watchers: BTreeMap<i64, Watcher>,
    next_id: i64,
}

#[derive(Debug)]
struct Watcher {
    wish: WatchCreate,
    /// The first revision that was not told yet.
    next: i64,
    /// A watcher that has been told of the compaction stays in the way of progress until it is
    /// canceled.
    is_over: bool,
}

impl Watchers {
    /// Begins a watcher.
    pub fn create(&mut self, history: &History, mut wish: WatchCreate) -> Told {
        if wish.start < 0 {
            return Told::Refused { why: Refusal::Compacted.to_string() };
        }
        if wish.span.is_empty() {
            return Told::Refused { why: "mvcc: watcher range is empty".to_owned() };
        }
        if wish.id == 0 {
            while self.watchers.contains_key(&self.next_id) {
                self.next_id += 1;
            }
            wish.id = self.next_id;
            self.next_id += 1;
        } else if self.watchers.contains_key(&wish.id) {
            let why = "mvcc: duplicate watch ID provided on the WatchStream";
            return Told::Refused { why: why.to_owned() };
        }
        let id = wish.id;
        let next = if wish.start == 0 { history.revision() + 1 } else { wish.start };
        self.watchers.insert(id, Watcher { wish, next, is_over: false });
        Told::Created { id }
    }

    /// Ends a watcher, if there is one with this id.
    pub fn cancel(&mut self, id: i64) -> Option<Told> {
        self.watchers.remove(&id).map(|_| Told::Canceled { id })
    }

    /// Answers that all is told, if it is. The caller tells first what there is to be told.
    pub fn progress(&self, history: &History) -> Option<Told> {
        let latest = history.revision();
        let all = self.watchers.values().all(|watcher| {
            // etcd gives no sign of life to a watcher of the future.
            !watcher.is_over && watcher.next > latest && watcher.wish.start <= latest
        });
        (all && !self.watchers.is_empty()).then_some(Told::Progress)
    }

    /// What there is to be told to the watchers.
    pub fn advance(&mut self, history: &History) -> Vec<Told> {
        let mut told = Vec::new();
        for (&id, watcher) in &mut self.watchers {
            if watcher.is_over || watcher.next > history.revision() {
                continue;
            }
            if watcher.next < history.compacted() {
                watcher.is_over = true;
                told.push(Told::Compacted { id, revision: history.compacted() });
                continue;
            }
            watcher.tell(id, history, &mut told);
        }
        told
    }
}

impl Watcher {
    fn tell(&mut self, id: i64, history: &History, told: &mut Vec<Told>) {
        let mut events = Vec::new();
        let mut revisions = 0;
        for (revision, keys) in history.changed_since(self.next) {
            let watched = keys.iter().enumerate().filter(|(_, key)| self.wish.span.contains(key));
            let happened: Vec<Event> = watched
                .filter_map(|(number, key)| {
                    history.event(key, revision, number, self.wish.with_before)
                })
                .filter(|event| if event.put { self.wish.puts } else { self.wish.deletes })
                .collect();
            if happened.is_empty() {
                continue;
            }
            if revisions == REVISIONS_AT_ONCE {
                told.push(Told::Events { id, events: std::mem::take(&mut events) });
                revisions = 0;
            }
            revisions += 1;
            events.extend(happened);
        }
        if !events.is_empty() {
            told.push(Told::Events { id, events });
        }
        self.next = history.revision() + 1;
    }
}
