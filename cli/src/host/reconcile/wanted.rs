//! What the host has to do for which application: contenders kept for those that are not clean, ended for those that are.
//! Pure: what the record and lifecycle said comes in, what is to be asked of lifecycle goes out.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chassis::backoff::Backoff;
use chassis::clock::Boot;
use proto::ApplicationRef;
use proto::api::Application;

use super::Work;

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
}

impl Entry {
    fn new(count: u32, traceparent: String, now: Boot) -> Self {
        Self {
            clean: false,
            count,
            wish: 0,
            traceparent,
            asked: false,
            done: false,
            asking: false,
            retry_at: now,
            backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE),
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

    fn waits(&self) -> bool {
        !self.done && !self.asking
    }
}

/// All applications that something is to be done for.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    entries: HashMap<ApplicationRef, Entry>,
    /// Applications that were seen to become clean, ever.
    finished: u64,
}

impl Wanted {
    /// One application as a snapshot shows it; which one it is, unless it is clean. Snapshots of this build show none of those: what is
    /// left to be done for them comes out at the snapshot's end.
    pub(super) fn see(&mut self, application: &Application, now: Boot) -> Option<ApplicationRef> {
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

    /// One application as it is now.
    pub(super) fn note(&mut self, application: &Application, now: Boot) {
        let Some(key) = key(application) else { return };
        let count = application.spec.as_ref().map_or(1, |spec| spec.contenders.max(1));
        let entry = self
            .entries
            .entry(key)
            .or_insert_with(|| Entry::new(count, application.traceparent.clone(), now));
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
                    self.entries.insert(key, Entry { clean: true, ..Entry::new(0, String::new(), now) });
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
        let due = self.entries.iter_mut().filter(|(_, entry)| entry.waits() && entry.retry_at <= now);
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
        self.entries.values().filter(|entry| entry.waits()).map(|entry| entry.retry_at).min()
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
    use super::*;

    const NOW: Boot = Boot::from_nanos(1_000_000_000_000);

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
        let mut wanted = Wanted::default();
        wanted.note(&application("runs", false), NOW);
        let asked = wanted.due(NOW);
        assert_eq!(names(&asked), [("runs".to_owned(), false)]);
        assert_eq!(wanted.due(NOW), [], "it is under way");
        wanted.answered(&asked[0], true, NOW);
        assert_eq!((wanted.due(NOW), wanted.next_due()), (vec![], None));
        wanted.note(&application("runs", true), NOW);
        let asked = wanted.due(NOW);
        assert_eq!(names(&asked), [("runs".to_owned(), true)]);
        assert_eq!(wanted.work(), Work { known: true, applications: 1, finished: 1 });
        wanted.answered(&asked[0], true, NOW);
        assert_eq!(wanted.work(), Work { known: true, applications: 0, finished: 1 });
    }

    #[test]
    fn what_became_clean_while_contenders_were_asked_for_is_ended_next() {
        let mut wanted = Wanted::default();
        wanted.note(&application("short", false), NOW);
        let asked = wanted.due(NOW);
        wanted.note(&application("short", true), NOW);
        wanted.answered(&asked[0], true, NOW);
        assert_eq!(names(&wanted.due(NOW)), [("short".to_owned(), true)]);
    }

    #[test]
    fn a_new_wish_is_told_to_contenders_that_are_kept_already() {
        let mut wanted = Wanted::default();
        wanted.note(&application("runs", false), NOW);
        let asked = wanted.due(NOW);
        wanted.answered(&asked[0], true, NOW);
        let desired = Some(proto::api::Desired { cancel: true, revision: 7, ..Default::default() });
        wanted.note(&Application { desired, ..application("runs", false) }, NOW);
        assert_eq!(wanted.due(NOW).iter().map(|ask| ask.wish).collect::<Vec<_>>(), [7]);
    }

    #[test]
    fn a_refused_question_is_asked_again_later() {
        let mut wanted = Wanted::default();
        wanted.note(&application("runs", false), NOW);
        let asked = wanted.due(NOW);
        wanted.answered(&asked[0], false, NOW);
        let due = wanted.next_due().unwrap();
        assert!(due > NOW && due <= NOW + LONGEST_PAUSE);
        assert_eq!(wanted.due(NOW), []);
        assert_eq!(wanted.due(due).len(), 1);
    }

    #[test]
    fn a_snapshot_tells_what_is_gone_and_lifecycle_what_was_left_behind() {
        let mut wanted = Wanted::default();
        wanted.note(&application("gone", false), NOW);
        wanted.note(&application("ended-unseen", false), NOW);
        let shown = [application("runs", false), application("of-an-older-store", true)];
        let seen: HashSet<_> = shown.iter().filter_map(|shown| wanted.see(shown, NOW)).collect();
        assert_eq!(seen, HashSet::from([reference("runs")]));
        wanted.snapshot_ended(&seen, vec![reference("left"), reference("ended-unseen")], NOW);
        let (over, goes_on) = (|name: &str| (name.to_owned(), true), ("runs".to_owned(), false));
        assert_eq!(names(&wanted.due(NOW)), [over("ended-unseen"), over("left"), goes_on]);
        assert_eq!(wanted.work().finished, 1, "one that was known to run has ended");
    }

    #[test]
    fn in_doubt_everything_is_asked_for_again_but_not_as_a_part_of_its_trace() {
        let mut wanted = Wanted::default();
        wanted.note(&application("runs", false), NOW);
        let first = wanted.due(NOW);
        wanted.answered(&first[0], true, NOW);
        wanted.doubt();
        let again = wanted.due(NOW);
        assert_eq!((first[0].traced, again[0].traced), (true, false));
    }
}
