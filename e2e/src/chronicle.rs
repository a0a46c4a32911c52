//! The fences of the record as etcd tells of them: independent of the services, of every answer of
//! the product, and of the product's own client of etcd.
//!
//! A chronicle asks etcd again and again for what was written since, and keeps each write of a
//! fence and of an event in the order of commits. Where a key was written more than once between
//! two looks, the chronicle reads the key as it was before, write by write.

mod stored;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::gateway::{Entry, Gateway};

/// How often the chronicle looks.
const LOOK: Duration = Duration::from_millis(100);

/// How often in a row what a key was before is looked for in vain, until it counts as compacted.
const TRIES: u32 = 50;

/// What the keys of all applications begin with.
const APPLICATIONS: &str = "/mainspring/record/d/a/";

/// What a write is of, in the order in which one commit's writes are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Of {
    /// The leader's fence, numbered by epoch; its writer is the contender.
    Attempt,
    /// The cluster's fence, numbered by incarnation; its writer is the request that began it.
    Cluster,
    /// An event, numbered by the epoch that it was committed under, or 0; its writer is its source.
    Event,
}

/// A write that was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The revision of its commit.
    pub revision: u64,
    /// What was written.
    pub of: Of,
    /// The id of the application.
    pub application: String,
    /// The generation that the write is for.
    pub generation: u64,
    /// The epoch or the incarnation.
    pub number: u64,
    /// Who wrote.
    pub writer: String,
    /// When the chronicle saw the write.
    pub seen: Instant,
}

/// Looks at etcd on a thread of its own, until the value is dropped.
pub struct Chronicle {
    kept: Arc<Mutex<Kept>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What was seen so far.
#[derive(Debug, Default)]
struct Kept {
    writes: Vec<Write>,
    /// How often each key was written, as far as is known.
    versions: BTreeMap<String, u64>,
    /// Keys that do not have the form that is known here.
    unreadable: BTreeSet<String>,
    /// The revision that is looked from.
    next: u64,
    /// How many writes were compacted before the chronicle could read them.
    missed: u64,
    /// How many looks in a row could not read what a key was before.
    tries: u32,
}

impl Chronicle {
    /// A chronicle of the deployment whose etcd is asked through this gateway.
    pub fn start(gateway: Gateway) -> Self {
        let (kept, stop) = (Arc::<Mutex<Kept>>::default(), Arc::<AtomicBool>::default());
        let thread = std::thread::spawn({
            let (kept, stop) = (kept.clone(), stop.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    look(&gateway, &kept);
                    std::thread::sleep(LOOK.saturating_sub(began.elapsed()));
                }
            }
        });
        Self { kept, stop, thread: Some(thread) }
    }

    /// The writes that were seen so far of one application, in the order of their commits.
    pub fn writes(&self, application: &str) -> Vec<Write> {
        let kept = locked(&self.kept);
        kept.writes.iter().filter(|write| write.application == application).cloned().collect()
    }

    /// What must never be and was seen so far of one application.
    pub fn violations(&self, application: &str) -> Vec<String> {
        let mut found = violations(&self.writes(application));
        let kept = locked(&self.kept);
        let own = format!("{APPLICATIONS}{application}/");
        let unreadable = kept.unreadable.iter().filter(|key| key.starts_with(&own));
        found.extend(unreadable.map(|key| format!("{key} does not have the form that is known")));
        found
    }

    /// The revision that everything up to was seen.
    pub fn seen_until(&self) -> u64 {
        locked(&self.kept).next.saturating_sub(1)
    }

    /// How many writes were compacted before the chronicle could read them.
    pub fn missed(&self) -> u64 {
        locked(&self.kept).missed
    }
}

impl Drop for Chronicle {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

fn locked(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One look at what was written since the last one; nothing is noted while no member answers.
fn look(gateway: &Gateway, kept: &Mutex<Kept>) {
    let (from, versions) = {
        let kept = locked(kept);
        (kept.next, kept.versions.clone())
    };
    let Some(found) = gateway.list(APPLICATIONS, from) else { return };
    let (seen, mut writes, mut missed) = (Instant::now(), Vec::new(), 0);
    let (mut unreadable, mut latest) = (BTreeSet::new(), BTreeMap::new());
    for entry in found.entries {
        let Some((application, of)) = stored::of_key(&entry.key, APPLICATIONS) else { continue };
        // A key that was removed and made again counts from one.
        let known = versions.get(&entry.key).copied().filter(|known| *known < entry.version);
        latest.insert(entry.key.clone(), entry.version);
        for entry in past(gateway, entry, known.unwrap_or_default(), &mut missed) {
            match stored::read(&entry.value, of) {
                Some((generation, number, writer)) => writes.push(Write {
                    revision: entry.revision,
                    of,
                    application: application.clone(),
                    generation,
                    number,
                    writer,
                    seen,
                }),
                None => _ = unreadable.insert(entry.key),
            }
        }
    }
    writes.sort_by_key(|write| (write.revision, write.of));
    let mut kept = locked(kept);
    if missed > 0 && kept.tries < TRIES {
        // A member that does not answer in the middle of a look has not lost anything.
        kept.tries += 1;
        return;
    }
    kept.tries = 0;
    kept.writes.append(&mut writes);
    kept.versions.append(&mut latest);
    kept.unreadable.append(&mut unreadable);
    kept.missed += missed;
    kept.next = found.now + 1;
}

/// An entry, and what its key was since it was written `known` times. What cannot be read any more
/// is counted.
fn past(gateway: &Gateway, entry: Entry, known: u64, missed: &mut u64) -> Vec<Entry> {
    let mut all = vec![entry];
    while let Some(oldest) = all.last().filter(|oldest| oldest.version > known + 1) {
        let before = gateway.get(&oldest.key, oldest.revision - 1);
        match before.and_then(|found| found.entries.into_iter().next()) {
            Some(before) => all.push(before),
            None => {
                *missed += oldest.version - known - 1;
                break;
            }
        }
    }
    all
}

/// What must never be among the writes of one application, which stand in the order of their
/// commits: a number that falls, two writers under one number, a generation that comes again, and
/// an event under another epoch than that of the fence.
fn violations(writes: &[Write]) -> Vec<String> {
    let mut latest = BTreeMap::<Of, &Write>::new();
    let mut found = Vec::new();
    for write in writes {
        if write.of == Of::Event {
            let current = latest.get(&Of::Attempt).map_or(0, |attempt| attempt.number);
            if write.number != 0 && write.number != current {
                let epoch = write.number;
                found.push(format!("an event under epoch {epoch} of {current}: {write:?}"));
            }
            continue;
        }
        if let Some(before) = latest.insert(write.of, write) {
            let why = if write.number < before.number {
                "the number falls"
            } else if write.generation < before.generation {
                "a generation comes again"
            } else if write.number == before.number
                && (&write.writer, write.generation) != (&before.writer, before.generation)
            {
                "two writers have one number"
            } else {
                continue;
            };
            found.push(format!("{why}: {before:?}, then {write:?}"));
        }
    }
    found
}

#[cfg(test)]
mod tests;
