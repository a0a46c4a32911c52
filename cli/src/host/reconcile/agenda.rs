//! What the host has to do for which application: keep its share of the contenders of those that
//! are not clean and have room, end the contenders of those that are clean. Pure: what the record,
//! lifecycle and the elector said comes in, what is to be asked of lifecycle goes out.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chassis::backoff::Backoff;
use chassis::clock::Boot;
use proto::ApplicationRef;
use proto::api::Application;

use super::Work;
use super::admission::{Shares, Terms, Waiting};
use super::rendezvous::Live;
use super::tenancy::{Moment, Room, Tenancy};

/// The pauses after a question that lifecycle refused.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// One question to lifecycle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) application: ApplicationRef,
    /// Whether the contenders are to be ended, rather than kept.
    pub(super) clean: bool,
    /// How many contenders are kept here.
    pub(super) count: u32,
    /// The revision of the last wish for the application. A new wish is worth another try of
    /// contenders that gave up.
    pub(super) wish: u64,
    /// The trace of the application's Submit.
    pub(super) traceparent: String,
    /// Whether this question is a part of that trace. The first question and the last one are;
    /// repetitions are not.
    pub(super) traced: bool,
}

/// One application that the host has something to do for.
#[derive(Debug)]
struct Entry {
    clean: bool,
    /// How many contenders the application asks for, on all hosts together.
    wanted: u32,
    /// How many of them are kept here: the most that were ever this host's share.
    count: u32,
    wish: u64,
    traceparent: String,
    /// Lifecycle was asked at least once.
    asked: bool,
    /// Lifecycle has confirmed what is wanted.
    done: bool,
    /// A question is under way.
    asking: bool,
    /// The earliest time of the next question.
    retry_at: Boot,
    backoff: Backoff,
    /// How the application stands with the room; it means nothing once the application is clean.
    tenancy: Tenancy,
}

impl Entry {
    fn new(application: &Application, terms: &Terms, now: Boot) -> Self {
        Self {
            clean: false,
            wanted: application.spec.as_ref().map_or(1, |spec| spec.contenders.max(1)),
            count: 0,
            wish: 0,
            traceparent: application.traceparent.clone(),
            asked: false,
            done: false,
            asking: false,
            retry_at: now,
            backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE),
            tenancy: Tenancy::new(application, terms),
        }
    }

    /// Notes that the contenders are to be ended from now on. False if that was noted before.
    fn is_over_now(&mut self, now: Boot) -> bool {
        if self.clean {
            return false;
        }
        (self.clean, self.done, self.retry_at) = (true, false, now);
        true
    }

    /// Notes that so many contenders are this host's share, or are here. Lifecycle is never asked
    /// for fewer than before: a contender may lead, and hosts that come and go are no reason to
    /// end a leader. One contender more than is needed stands by.
    fn keep(&mut self, count: u32, now: Boot) {
        if count > self.count {
            (self.count, self.done, self.retry_at) = (count, false, now);
        }
    }

    /// Whether this host keeps contenders of the application, or will once there is room.
    fn is_kept(&self) -> bool {
        !self.clean && self.count > 0
    }

    /// Whether lifecycle is to be asked.
    fn is_open(&self) -> bool {
        let has_room = self.is_kept() && self.tenancy.room != Room::Waits;
        !self.done && !self.asking && (self.clean || has_room)
    }
}

/// The applications that wait for room, the next one first, and how much room is taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Queue {
    pub(crate) running: usize,
    pub(crate) max_running: usize,
    pub(crate) waiting: Vec<InLine>,
}

/// One application that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InLine {
    pub(crate) application: ApplicationRef,
    pub(crate) share: String,
    /// How many applications of its share have room.
    pub(crate) share_running: usize,
}

/// All applications that the host has something to do for.
///
/// The reconciler tells [`Agenda`] what the record and lifecycle say, and asks lifecycle what
/// [`Agenda::due`] answers. A question that lifecycle has confirmed is not asked again until the
/// application changes, or until [`Agenda::doubt`] has everything asked for again. An application
/// leaves once lifecycle has confirmed the end of its contenders, or once the record lacks it.
#[derive(Debug)]
pub(super) struct Agenda {
    terms: Terms,
    shares: Shares,
    live: Live,
    entries: HashMap<ApplicationRef, Entry>,
    /// How many applications were seen to become clean since the start.
    finished: u64,
}

impl Agenda {
    pub(super) fn new(terms: Terms) -> Self {
        let (shares, live) = (Shares::default(), Live::only());
        Self { terms, shares, live, entries: HashMap::new(), finished: 0 }
    }

    /// Takes in which hosts are there. Without that word this host is the only one.
    pub(super) fn hosts(&mut self, live: Live, now: Boot) {
        for (application, entry) in self.entries.iter_mut().filter(|(_, entry)| !entry.clean) {
            entry.keep(live.share(application, entry.wanted), now);
        }
        self.live = live;
    }

    /// Takes in one application of a snapshot, and answers its name unless it is clean. A store of
    /// this build puts no clean application into the snapshot; what is left to be done for those
    /// comes out at the snapshot's end.
    pub(super) fn see(&mut self, application: &Application, now: Moment) -> Option<ApplicationRef> {
        if application.clean {
            return None;
        }
        self.note(application, now);
        key(application)
    }

    /// All applications that the host has something to do for.
    pub(super) fn known(&self) -> impl Iterator<Item = ApplicationRef> {
        self.entries.keys().cloned()
    }

    /// Takes in of which applications lifecycle has contenders, and how many: an earlier `up` has
    /// let these in, and they do not wait again.
    pub(super) fn have_contenders(&mut self, known: &HashMap<ApplicationRef, u32>, now: Boot) {
        for (application, entry) in &mut self.entries {
            let Some(&count) = known.get(application) else { continue };
            if !entry.clean {
                entry.keep(count, now);
            }
            if entry.tenancy.room == Room::Waits {
                entry.tenancy.room = Room::Runs;
            }
        }
    }

    /// Takes in one application as it is now.
    pub(super) fn note(&mut self, application: &Application, moment: Moment) {
        let Some(key) = key(application) else { return };
        let now = moment.boot;
        let entry = self.entries.entry(key.clone()).or_insert_with(|| {
            let entry = Entry::new(application, &self.terms, now);
            Entry { count: self.live.share(&key, entry.wanted), ..entry }
        });
        entry.tenancy.note(application, moment);
        let wish = application.desired.as_ref().map_or(0, |desired| desired.revision);
        if std::mem::replace(&mut entry.wish, wish) != wish {
            entry.done = false;
            entry.retry_at = now;
        }
        if application.clean {
            self.finished += u64::from(entry.is_over_now(now));
            if entry.count == 0 {
                // Its contenders were on other hosts, so that nothing of it is left here.
                self.entries.remove(&key);
            }
        }
    }

    /// Takes in that the snapshot is whole. An application that the snapshot lacks is over or gone;
    /// those in `left_behind` became clean or were forgotten while no host watched, and their
    /// contenders are still to be ended.
    pub(super) fn snapshot_ended(
        &mut self,
        seen: &HashSet<ApplicationRef>,
        left_behind: Vec<ApplicationRef>,
        now: Boot,
    ) {
        let mut gone: HashSet<ApplicationRef> =
            self.known().filter(|key| !seen.contains(key)).collect();
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

    /// Has everything asked for again.
    pub(super) fn doubt(&mut self) {
        self.entries.values_mut().for_each(|entry| entry.done = false);
    }

    /// The questions to ask now; each of them counts as under way from here on.
    pub(super) fn due(&mut self, now: Boot) -> Vec<Question> {
        self.let_in(now);
        let due =
            self.entries.iter_mut().filter(|(_, entry)| entry.is_open() && entry.retry_at <= now);
        due.map(|(key, entry)| {
            entry.asking = true;
            let first = !std::mem::replace(&mut entry.asked, true);
            Question {
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

    /// Gives the free room to the applications whose turn it is.
    fn let_in(&mut self, now: Boot) {
        let max = self.terms.max_running;
        let ending = self.kept().filter(|(_, entry)| entry.tenancy.room == Room::Ends).count();
        let to_end = self.entries.values_mut().filter(|entry| entry.is_kept());
        let to_end = to_end.filter(|entry| entry.tenancy.waits_for_its_end(now));
        to_end.take(max.saturating_sub(ending)).for_each(|entry| entry.tenancy.room = Room::Ends);

        let room =
            max.saturating_sub(self.kept().filter(|(_, entry)| entry.tenancy.runs()).count());
        if room == 0 || !self.kept().any(|(_, entry)| entry.tenancy.waits(now)) {
            return;
        }
        let next = self.turns(&self.running(), now);
        let next: Vec<_> = next.into_iter().take(room).map(|one| one.application.clone()).collect();
        for application in next {
            if let Some(entry) = self.entries.get_mut(&application) {
                entry.tenancy.room = Room::Runs;
                self.shares.served(&entry.tenancy.share);
            }
        }
        let there: HashSet<_> =
            self.entries.values().map(|entry| entry.tenancy.share.as_str()).collect();
        self.shares.keep(|share| there.contains(share));
    }

    /// The applications that take room of this host, or wait for it.
    fn kept(&self) -> impl Iterator<Item = (&ApplicationRef, &Entry)> {
        self.entries.iter().filter(|(_, entry)| entry.is_kept())
    }

    /// How many applications of each share have room.
    fn running(&self) -> HashMap<&str, usize> {
        let mut running = HashMap::new();
        for (_, entry) in self.kept().filter(|(_, entry)| entry.tenancy.runs()) {
            *running.entry(entry.tenancy.share.as_str()).or_default() += 1;
        }
        running
    }

    fn turns<'a>(&'a self, running: &HashMap<&'a str, usize>, now: Boot) -> Vec<Waiting<'a>> {
        let waiting = self.kept().filter(|(_, entry)| entry.tenancy.waits(now));
        let waiting = waiting.map(|(application, Entry { tenancy, .. })| Waiting {
            submitted: tenancy.submitted,
            application,
            share: &tenancy.share,
        });
        self.shares.turns(waiting, running)
    }

    /// The queue as it is shown to users.
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

    /// Takes in the answer to a question.
    pub(super) fn answered(&mut self, ask: &Question, confirmed: bool, now: Boot) {
        let Some(entry) = self.entries.get_mut(&ask.application) else { return };
        entry.asking = false;
        if !confirmed {
            entry.retry_at = now + entry.backoff.next_delay();
            return;
        }
        entry.backoff.reset();
        // The application may have become clean while contenders were asked for; then their end is
        // still to be asked for. More of them may be this host's by now.
        if ask.clean {
            self.entries.remove(&ask.application);
        } else if !entry.clean && (entry.wish, entry.count) == (ask.wish, ask.count) {
            entry.done = true;
        }
    }

    /// When the next question is due; `None` while all questions are answered or under way.
    pub(super) fn next_due(&self) -> Option<Boot> {
        self.entries.values().filter(|entry| entry.is_open()).map(|entry| entry.retry_at).min()
    }

    /// What is going on here, once the record is known.
    pub(super) fn work(&self) -> Work {
        let here = self.entries.values().filter(|entry| entry.clean || entry.count > 0);
        Work { known: true, applications: here.count(), finished: self.finished }
    }
}

fn key(application: &Application) -> Option<ApplicationRef> {
    let id = application.application_id.parse().ok()?;
    Some(ApplicationRef { id, generation: proto::Generation(application.generation) })
}

#[cfg(test)]
mod tests;
