//! How an application stands with the room of its host: it waits, it has room to run, or it is let in only to be ended.

use std::time::SystemTime;

use chassis::clock::Boot;
use proto::api::{Application, ConditionStatus};

use super::admission::{Submitted, Terms};

/// An instant as both clocks show it: a deadline is of the wall's, everything else of the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) boot: Boot,
    pub(super) wall: SystemTime,
}

/// What an application was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// Nothing yet.
    Waits,
    /// It runs, or may.
    Runs,
    /// It never ran and never will: its contender records its end. This room is apart, so that a cancel does not wait for
    /// others to end.
    Ends,
}

#[derive(Debug)]
pub(super) struct Standing {
    pub(super) room: Room,
    pub(super) submitted: Submitted,
    pub(super) share: String,
    /// From here on it is to be ended, not run: it was cancelled, or its deadline has passed.
    end_at: Option<Boot>,
    /// Its contenders do not run any more and are not started again.
    gave_up: bool,
}

impl Standing {
    pub(super) fn new(application: &Application, terms: &Terms) -> Self {
        let submitted = application.submitted_at.unwrap_or_default();
        Self {
            room: Room::Waits,
            submitted: (submitted.seconds, submitted.nanos),
            share: terms.share(application.labels.get(&terms.share_by)),
            end_at: None,
            gave_up: false,
        }
    }

    /// The application is like this now. One that was led has room already: this host, or the one before it, gave it.
    pub(super) fn note(&mut self, application: &Application, now: Moment) {
        let desired = application.desired.as_ref();
        let unwanted = desired.is_some_and(|desired| desired.cancel || desired.abandon);
        self.end_at = if unwanted { Some(now.boot) } else { deadline(application, now) };
        self.gave_up = application.conditions.iter().any(|condition| {
            condition.r#type == "ContendersRun" && condition.status() == ConditionStatus::False
        });
        if application.leadership.as_ref().is_some_and(|leadership| leadership.ordinal > 0) {
            self.room = Room::Runs;
        }
    }

    /// It takes room that another one could have.
    pub(super) fn runs(&self) -> bool {
        self.room == Room::Runs && !self.gave_up
    }

    /// It waits for its turn to run.
    pub(super) fn waits(&self, now: Boot) -> bool {
        self.room == Room::Waits && !self.is_to_end(now)
    }

    /// It waits, and is to be ended rather than run.
    pub(super) fn waits_for_its_end(&self, now: Boot) -> bool {
        self.room == Room::Waits && self.is_to_end(now)
    }

    fn is_to_end(&self, now: Boot) -> bool {
        self.end_at.is_some_and(|at| at <= now)
    }
}

/// The deadline by the boot-time clock, as far as the wall's tells now.
fn deadline(application: &Application, now: Moment) -> Option<Boot> {
    let at = SystemTime::try_from(application.deadline_at?).ok()?;
    Some(now.boot + at.duration_since(now.wall).unwrap_or_default())
}
