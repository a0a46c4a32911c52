//! What the host has to do for which application: contenders kept for those that are not clean and have room, ended for those
//! that are clean. Pure: what the record and lifecycle said comes in, what is to be asked of lifecycle goes out.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chassis::backoff::Backoff;
use chassis::clock::Boot;
use proto::ApplicationRef;
use proto::api::Application;

use super::Work;
use super::admission::{Shares, Terms, Waiting};
use super::standing::{Moment, Room, Standing};

/// The pauses between questions that lifecycle refuses.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// One question to lifecycle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) application: ApplicationRef,
    /// End its contenders, rather than keep them.
    pub(super) clean: bool,
    /// How many contenders are kept.
    pub(super) count: u32,
    /// What was wished for last: a new wish is worth another try of contenders that gave up.
    pub(super) wish: u64,
    /// The trace of its Submit.
    pub(super) traceparent: String,
    /// This question is a part of that trace: it is the first one, or the last. What repeats it is not.
    pub(super) traced: bool,
}

/// One application that something is to be done for.
#[derive(Debug)]
struct Entry {
    clean: bool,
    count: u32,
    wish: u64,
    traceparent: String,
    /// Lifecycle was asked once.
    asked: bool,
    /// Lifecycle confirmed what is wanted.
    done: bool,
    /// A question is under way.
    asking: bool,
    /// No question is asked before.
    retry_at: Boot,
    backoff: Backoff,
    /// Of one that is clean it means nothing.
    standing: Standing,
}

impl Entry {
    fn new(application: &Application, terms: &Terms, now: Boot) -> Self {
        Self {
            clean: false,
            count: application.spec.as_ref().map_or(1, |spec| spec.contenders.max(1)),
            wish: 0,
            traceparent: application.traceparent.clone(),
            asked: false,
            done: false,
            asking: false,
            retry_at: now,
            backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE),
            standing: Standing::new(application, terms),
        }
    }

    /// Its contenders are to be ended from now on. False: they were before.
    fn is_over_now(&mut self, now: Boot) -> bool {
        if self.clean {
            return false;
        }
        (self.clean, self.done, self.retry_at) = (true, false, now);
        true
    }

    /// Lifecycle is to be asked.
    fn is_open(&self) -> bool {
        !self.done && !self.asking && (self.clean || self.standing.room != Room::Waits)
    }
}

/// Who waits for room, the next one first, and who has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Queue {
    pub(crate) running: usize,
    pub(crate) max_running: usize,
    pub(crate) waiting: Vec<InLine>,
}

/// One that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InLine {
    pub(crate) application: ApplicationRef,
    pub(crate) share: String,
    /// How many of its share have room.
    pub(crate) share_running: usize,
}

/// All applications that something is to be done for.
#[derive(Debug)]
pub(super) struct Wanted {
    terms: Terms,
    shares: Shares,
    entries: HashMap<ApplicationRef, Entry>,
    /// Applications that were seen to become clean, ever.
    finished: u64,
}

impl Wanted {
    pub(super) fn new(terms: Terms) -> Self {
        Self { terms, shares: Shares::default(), entries: HashMap::new(), finished: 0 }
    }

    /// One application as a snapshot shows it; which one it is, unless it is clean. Snapshots of this build show none of those: what is
    /// left to be done for them comes out at the snapshot's end.
    pub(super) fn see(&mut self, application: &Application, now: Moment) -> Option<ApplicationRef> {
        if application.clean {
            return None;
        }
        self.note(application, now);
        key(application)
    }

    /// Whatever something is to be done for.
    pub(super) fn known(&self) -> impl Iterator<Item = ApplicationRef> {
        self.entries.keys().cloned()
    }

    /// Lifecycle has contenders of these: an earlier `up` has let them in, and they do not wait again.
    pub(super) fn have_contenders(&mut self, known: &HashSet<ApplicationRef>) {
        let entries = self.entries.iter_mut().filter(|(key, _)| known.contains(key));
        for (_, entry) in entries.filter(|(_, entry)| entry.standing.room == Room::Waits) {
            entry.standing.room = Room::Runs;
        }
    }

    /// One application as it is now.
    pub(super) fn note(&mut self, application: &Application, moment: Moment) {
        let Some(key) = key(application) else { return };
        let now = moment.boot;
        let entry = self.entries.entry(key).or_insert_with(|| Entry::new(application, &self.terms, now));
        entry.standing.note(application, moment);
        let wish = application.desired.as_ref().map_or(0, |desired| desired.revision);
        if std::mem::replace(&mut entry.wish, wish) != wish {
            entry.done = false;
            entry.retry_at = now;
        }
        if application.clean {
            self.finished += u64::from(entry.is_over_now(now));
        }
    }

    /// The snapshot is whole: what it did not hold is over or gone. What is over was left behind while nobody looked.
    pub(super) fn snapshot_ended(
        &mut self,
        seen: &HashSet<ApplicationRef>,
        left_behind: Vec<ApplicationRef>,
        now: Boot,
    ) {
        let mut gone: HashSet<ApplicationRef> = self.known().filter(|key| !seen.contains(key)).collect();
        for key in left_behind {
            gone.remove(&key);
            match self.entries.get_mut(&key) {
                Some(entry) => self.finished += u64::from(entry.is_over_now(now)),
                None => {
                    let entry = Entry::new(&Application::default(), &self.terms, now);
                    self.entries.insert(key, Entry { clean: true, ..entry });
                }
            }
        }
        self.entries.retain(|key, _| !gone.contains(key));
    }

    /// Everything is to be asked for again.
    pub(super) fn doubt(&mut self) {
        self.entries.values_mut().for_each(|entry| entry.done = false);
    }

    /// What is to be asked now; each of these questions is under way from here on.
    pub(super) fn due(&mut self, now: Boot) -> Vec<Ask> {
        self.let_in(now);
        let due = self.entries.iter_mut().filter(|(_, entry)| entry.is_open() && entry.retry_at <= now);
        due.map(|(key, entry)| {
            entry.asking = true;
            let first = !std::mem::replace(&mut entry.asked, true);
            Ask {
                application: key.clone(),
                clean: entry.clean,
                count: entry.count,
                wish: entry.wish,
                traceparent: entry.traceparent.clone(),
                traced: entry.clean || first,
            }
        })
        .collect()
    }

    /// Gives the room that there is to those whose turn it is.
    fn let_in(&mut self, now: Boot) {
        let max = self.terms.max_running;
        let ending = self.unclean().filter(|(_, entry)| entry.standing.room == Room::Ends).count();
        let to_end = self.entries.values_mut().filter(|entry| !entry.clean);
        let to_end = to_end.filter(|entry| entry.standing.waits_for_its_end(now));
        to_end.take(max.saturating_sub(ending)).for_each(|entry| entry.standing.room = Room::Ends);

        let room = max.saturating_sub(self.unclean().filter(|(_, entry)| entry.standing.runs()).count());
        if room == 0 || !self.unclean().any(|(_, entry)| entry.standing.waits(now)) {
            return;
        }
        let next = self.turns(&self.running(), now);
        let next: Vec<_> = next.into_iter().take(room).map(|one| one.application.clone()).collect();
        for application in next {
            if let Some(entry) = self.entries.get_mut(&application) {
                entry.standing.room = Room::Runs;
                self.shares.served(&entry.standing.share);
            }
        }
        let there: HashSet<_> = self.entries.values().map(|entry| entry.standing.share.as_str()).collect();
        self.shares.keep(|share| there.contains(share));
    }

    fn unclean(&self) -> impl Iterator<Item = (&ApplicationRef, &Entry)> {
        self.entries.iter().filter(|(_, entry)| !entry.clean)
    }

    /// How many of each share have room.
    fn running(&self) -> HashMap<&str, usize> {
        let mut running = HashMap::new();
        for (_, entry) in self.unclean().filter(|(_, entry)| entry.standing.runs()) {
            *running.entry(entry.standing.share.as_str()).or_default() += 1;
        }
        running
    }

    fn turns<'a>(&'a self, running: &HashMap<&'a str, usize>, now: Boot) -> Vec<Waiting<'a>> {
        let waiting = self.unclean().filter(|(_, entry)| entry.standing.waits(now));
        let waiting = waiting.map(|(application, Entry { standing, .. })| Waiting {
            submitted: standing.submitted,
            application,
            share: &standing.share,
        });
        self.shares.turns(waiting, running)
    }

    /// Who waits, and why.
    pub(super) fn queue(&self, now: Boot) -> Queue {
        let running = self.running();
        let waiting = self.turns(&running, now).into_iter().map(|one| InLine {
            application: one.application.clone(),
            share: one.share.to_owned(),
            share_running: running.get(one.share).copied().unwrap_or_default(),
        });
        let waiting = waiting.collect();
        Queue { running: running.values().sum(), max_running: self.terms.max_running, waiting }
    }

    /// A question was answered.
    pub(super) fn answered(&mut self, ask: &Ask, confirmed: bool, now: Boot) {
        let Some(entry) = self.entries.get_mut(&ask.application) else { return };
        entry.asking = false;
        if !confirmed {
            entry.retry_at = now + entry.backoff.next_delay();
            return;
        }
        entry.backoff.reset();
        // It may have become clean while contenders were asked for: then that is still to be done.
        if ask.clean {
            self.entries.remove(&ask.application);
        } else if !entry.clean && entry.wish == ask.wish {
            entry.done = true;
        }
    }

    /// When the next question is due; `None` while all are answered or under way.
    pub(super) fn next_due(&self) -> Option<Boot> {
        self.entries.values().filter(|entry| entry.is_open()).map(|entry| entry.retry_at).min()
    }

    /// What is going on, once the record is known.
    pub(super) fn work(&self) -> Work {
        Work { known: true, applications: self.entries.len(), finished: self.finished }
    }
}

fn key(application: &Application) -> Option<ApplicationRef> {
    let id = application.application_id.parse().ok()?;
    Some(ApplicationRef { id, generation: proto::Generation(application.generation) })
}

#[cfg(test)]
mod tests;
