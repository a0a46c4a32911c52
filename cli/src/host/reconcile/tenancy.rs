//! How an application stands with the room of its host: the application waits, has room to run, or
//! is let in only to be ended.

use std::time::SystemTime;

use chassis::clock::Boot;
use proto::api::{Application, ConditionStatus};

use super::admission::{Submitted, Terms};

/// An instant on both clocks, because deadlines are times of the wall clock and everything else is
/// measured by the boot-time clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) boot: Boot,
    pub(super) wall: SystemTime,
}

/// The room that an application was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// No room yet.
    Waits,
    /// The application runs, or may run.
    Runs,
    /// The application never ran and never will, so that its contender only records its end. This
    /// room is counted apart, so that a cancel does not wait for others to end.
    Ends,
}

#[derive(Debug)]
pub(super) struct Tenancy {
    pub(super) room: Room,
    pub(super) submitted: Submitted,
    pub(super) share: String,
    /// From when on the application is to be ended rather than run: now if it was cancelled, else
    /// its deadline.
    end_at: Option<Boot>,
    /// Whether its contenders have stopped and are not started again.
    gave_up: bool,
}

impl Tenancy {
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

    /// Takes in the application's present state. An application that was ever led has room already,
    /// which this host or the one before gave it.
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

    /// Whether it takes room that another application could have.
    pub(super) fn runs(&self) -> bool {
        self.room == Room::Runs && !self.gave_up
    }

    /// Whether it waits for its turn to run.
    pub(super) fn waits(&self, now: Boot) -> bool {
        self.room == Room::Waits && !self.is_to_end(now)
    }

    /// Whether it waits and is to be ended rather than run.
    pub(super) fn waits_for_its_end(&self, now: Boot) -> bool {
        self.room == Room::Waits && self.is_to_end(now)
    }

    fn is_to_end(&self, now: Boot) -> bool {
        self.end_at.is_some_and(|at| at <= now)
    }
}

/// The deadline on the boot-time clock, as far as the wall clock lets that be computed now.
fn deadline(application: &Application, now: Moment) -> Option<Boot> {
    let at = SystemTime::try_from(application.deadline_at?).ok()?;
    Some(now.boot + at.duration_since(now.wall).unwrap_or_default())
}
