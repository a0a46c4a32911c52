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
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::SystemTime;

    use proto::api::{Condition, ConditionStatus, Desired, Leadership};

    use super::*;

    const NOW: Boot = Boot::from_nanos(1_000_000_000_000);

    const MOMENT: Moment = Moment { boot: NOW, wall: SystemTime::UNIX_EPOCH };

    /// With room for so many.
    fn wanted(max_running: usize) -> Wanted {
        Wanted::new(Terms { max_running, share_by: "team".into() })
    }

    fn application(id: &str, clean: bool) -> Application {
        Application { application_id: id.into(), generation: 1, clean, ..Application::default() }
    }

    fn reference(id: &str) -> ApplicationRef {
        key(&application(id, false)).unwrap()
    }

    fn names(asks: &[Ask]) -> Vec<(String, bool)> {
        let mut names: Vec<_> = asks.iter().map(|ask| (ask.application.id.to_string(), ask.clean)).collect();
        names.sort();
        names
    }

    #[test]
    fn contenders_are_kept_for_what_is_not_clean_and_ended_for_what_is() {
        let mut wanted = wanted(8);
        wanted.note(&application("runs", false), MOMENT);
        let asked = wanted.due(NOW);
        assert_eq!(names(&asked), [("runs".to_owned(), false)]);
        assert_eq!(wanted.due(NOW), [], "it is under way");
        wanted.answered(&asked[0], true, NOW);
        assert_eq!((wanted.due(NOW), wanted.next_due()), (vec![], None));
        wanted.note(&application("runs", true), MOMENT);
        let asked = wanted.due(NOW);
        assert_eq!(names(&asked), [("runs".to_owned(), true)]);
        assert_eq!(wanted.work(), Work { known: true, applications: 1, finished: 1 });
        wanted.answered(&asked[0], true, NOW);
        assert_eq!(wanted.work(), Work { known: true, applications: 0, finished: 1 });
    }

    #[test]
    fn what_became_clean_while_contenders_were_asked_for_is_ended_next() {
        let mut wanted = wanted(8);
        wanted.note(&application("short", false), MOMENT);
        let asked = wanted.due(NOW);
        wanted.note(&application("short", true), MOMENT);
        wanted.answered(&asked[0], true, NOW);
        assert_eq!(names(&wanted.due(NOW)), [("short".to_owned(), true)]);
    }

    #[test]
    fn a_new_wish_is_told_to_contenders_that_are_kept_already() {
        let mut wanted = wanted(8);
        wanted.note(&application("runs", false), MOMENT);
        let asked = wanted.due(NOW);
        wanted.answered(&asked[0], true, NOW);
        let desired = Some(proto::api::Desired { cancel: true, revision: 7, ..Default::default() });
        wanted.note(&Application { desired, ..application("runs", false) }, MOMENT);
        assert_eq!(wanted.due(NOW).iter().map(|ask| ask.wish).collect::<Vec<_>>(), [7]);
    }

    #[test]
    fn a_refused_question_is_asked_again_later() {
        let mut wanted = wanted(8);
        wanted.note(&application("runs", false), MOMENT);
        let asked = wanted.due(NOW);
        wanted.answered(&asked[0], false, NOW);
        let due = wanted.next_due().unwrap();
        assert!(due > NOW && due <= NOW + LONGEST_PAUSE);
        assert_eq!(wanted.due(NOW), []);
        assert_eq!(wanted.due(due).len(), 1);
    }

    #[test]
    fn a_snapshot_tells_what_is_gone_and_lifecycle_what_was_left_behind() {
        let mut wanted = wanted(8);
        wanted.note(&application("gone", false), MOMENT);
        wanted.note(&application("ended-unseen", false), MOMENT);
        let shown = [application("runs", false), application("of-an-older-store", true)];
        let seen: HashSet<_> = shown.iter().filter_map(|shown| wanted.see(shown, MOMENT)).collect();
        assert_eq!(seen, HashSet::from([reference("runs")]));
        wanted.snapshot_ended(&seen, vec![reference("left"), reference("ended-unseen")], NOW);
        let (over, goes_on) = (|name: &str| (name.to_owned(), true), ("runs".to_owned(), false));
        assert_eq!(names(&wanted.due(NOW)), [over("ended-unseen"), over("left"), goes_on]);
        assert_eq!(wanted.work().finished, 1, "one that was known to run has ended");
    }

    #[test]
    fn in_doubt_everything_is_asked_for_again_but_not_as_a_part_of_its_trace() {
        let mut wanted = wanted(8);
        wanted.note(&application("runs", false), MOMENT);
        let first = wanted.due(NOW);
        wanted.answered(&first[0], true, NOW);
        wanted.doubt();
        let again = wanted.due(NOW);
        assert_eq!((first[0].traced, again[0].traced), (true, false));
    }

    /// Submitted at this second of 1970.
    fn submitted(id: &str, second: i64) -> Application {
        let submitted_at = Some(prost_types::Timestamp { seconds: second, nanos: 0 });
        Application { submitted_at, ..application(id, false) }
    }

    fn led(id: &str) -> Application {
        let leadership = Some(Leadership { epoch: 7, ordinal: 1, ..Leadership::default() });
        Application { leadership, ..application(id, false) }
    }

    fn cancelled(id: &str) -> Application {
        let desired = Some(Desired { cancel: true, revision: 7, ..Desired::default() });
        Application { desired, ..application(id, false) }
    }

    fn in_line(wanted: &Wanted, now: Boot) -> Vec<String> {
        wanted.queue(now).waiting.iter().map(|one| one.application.id.to_string()).collect()
    }

    #[test]
    fn no_more_run_than_there_is_room_for_and_the_oldest_is_next() {
        let mut wanted = wanted(2);
        for (second, id) in [(3, "third"), (1, "first"), (4, "fourth"), (2, "second")] {
            wanted.note(&submitted(id, second), MOMENT);
        }
        let asked = wanted.due(NOW);
        assert_eq!(names(&asked), [("first".to_owned(), false), ("second".to_owned(), false)]);
        assert_eq!(in_line(&wanted, NOW), ["third", "fourth"]);
        assert_eq!((wanted.queue(NOW).running, wanted.work().applications), (2, 4));
        asked.iter().for_each(|ask| wanted.answered(ask, true, NOW));
        wanted.note(&application("first", true), MOMENT);
        let next = [("first".to_owned(), true), ("third".to_owned(), false)];
        assert_eq!(names(&wanted.due(NOW)), next);
        assert_eq!(in_line(&wanted, NOW), ["fourth"]);
    }

    #[test]
    fn who_was_led_or_has_contenders_does_not_wait_again() {
        let mut wanted = wanted(1);
        let shown = [submitted("waits", 1), led("led"), submitted("kept", 2)];
        let seen: HashSet<_> = shown.iter().filter_map(|shown| wanted.see(shown, MOMENT)).collect();
        wanted.have_contenders(&HashSet::from([reference("kept")]));
        wanted.snapshot_ended(&seen, Vec::new(), NOW);
        assert_eq!(names(&wanted.due(NOW)), [("kept".to_owned(), false), ("led".to_owned(), false)]);
        assert_eq!(in_line(&wanted, NOW), ["waits"]);
    }

    #[test]
    fn a_cancel_does_not_wait_for_others_to_end_but_for_other_cancels() {
        let mut wanted = wanted(1);
        wanted.note(&led("runs"), MOMENT);
        wanted.note(&cancelled("one"), MOMENT);
        wanted.note(&cancelled("two"), MOMENT);
        wanted.note(&submitted("waits", 1), MOMENT);
        let asked: Vec<_> = names(&wanted.due(NOW)).into_iter().map(|(id, _)| id).collect();
        assert_eq!(asked.len(), 2, "the one that runs and one of the cancelled: {asked:?}");
        let (ending, other) = if asked.contains(&"one".to_owned()) { ("one", "two") } else { ("two", "one") };
        assert_eq!(in_line(&wanted, NOW), ["waits"]);
        wanted.note(&application(ending, true), MOMENT);
        assert!(names(&wanted.due(NOW)).contains(&(other.to_owned(), false)));
        assert_eq!(in_line(&wanted, NOW), ["waits"], "room to be ended is no room to run");
    }

    #[test]
    fn whose_deadline_passes_while_it_waits_is_ended() {
        let mut wanted = wanted(1);
        wanted.note(&led("runs"), MOMENT);
        let deadline_at = Some(prost_types::Timestamp { seconds: 60, nanos: 0 });
        wanted.note(&Application { deadline_at, ..submitted("late", 1) }, MOMENT);
        assert_eq!(names(&wanted.due(NOW)), [("runs".to_owned(), false)]);
        let passed = NOW + Duration::from_secs(60);
        assert_eq!(names(&wanted.due(passed)), [("late".to_owned(), false)]);
    }

    #[test]
    fn one_whose_contenders_gave_up_takes_no_room() {
        let mut wanted = wanted(1);
        wanted.note(&led("broken"), MOMENT);
        wanted.note(&submitted("next", 1), MOMENT);
        assert_eq!(names(&wanted.due(NOW)), [("broken".to_owned(), false)]);
        let mut gave_up = led("broken");
        let condition = Condition { r#type: "ContendersRun".into(), ..Condition::default() };
        gave_up.conditions = vec![Condition { status: ConditionStatus::False.into(), ..condition }];
        wanted.note(&gave_up, MOMENT);
        assert_eq!(names(&wanted.due(NOW)), [("next".to_owned(), false)]);
    }

    #[test]
    fn room_is_shared_by_the_label() {
        let mut wanted = wanted(2);
        let of = |team: &str, id: &str, second| {
            let labels = [("team".to_owned(), team.to_owned())].into();
            Application { labels, ..submitted(id, second) }
        };
        for (id, second) in [("a1", 1), ("a2", 2), ("a3", 3)] {
            wanted.note(&of("a", id, second), MOMENT);
        }
        wanted.note(&of("b", "b1", 4), MOMENT);
        assert_eq!(names(&wanted.due(NOW)), [("a1".to_owned(), false), ("b1".to_owned(), false)]);
        let queue = wanted.queue(NOW);
        let shares: Vec<_> =
            queue.waiting.iter().map(|one| (one.share.as_str(), one.share_running)).collect();
        assert_eq!(shares, [("team=a", 1), ("team=a", 1)]);
    }
}
