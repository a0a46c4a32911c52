//! What a write does to a record: the dossier of a generation comes in; the changed dossier and
//! events come out, or a refusal.
//!
//! There is no I/O and no clock here. The caller reads the dossier at one revision and commits the
//! difference with compares on what was read; when a part of it has moved meanwhile, the caller
//! reads and decides again.

pub mod attempt;
pub mod checkpoint;
pub mod cluster;
pub mod contender;
pub mod ending;
pub mod event;
pub mod forget;
pub mod identity;
pub mod job;
mod likeness;
pub mod place;
pub mod process;
pub mod refusal;
pub mod savepoint;
pub mod spec;
pub mod submit;
pub mod view;

use std::collections::BTreeMap;
use std::time::SystemTime;

use chassis::failpoint;
use prost_types::Timestamp;
use proto::{ApplicationRef, EpochFence, IncarnationFence, JobId, api};

use crate::keys::artifacts::Artifacts;
use crate::keys::checkpoint::Checkpoints;
use crate::keys::fence::{AttemptFence, ClusterFence};
use crate::keys::generation::{GenerationSpec, GenerationState};
use crate::keys::head::Head;
use crate::keys::job::StoredJob;

pub use refusal::Refusal;

/// What the record holds about one generation, all as of one revision.
///
/// The decisions about a generation rest on its dossier. The caller reads it before each decision,
/// and again after each conflict.
#[derive(Debug, Clone, PartialEq)]
pub struct Dossier {
    /// The application and its generation.
    pub application: ApplicationRef,
    /// The latest generation of the id.
    pub head: Head,
    /// The leader's fence.
    pub attempt: AttemptFence,
    /// The cluster's fence.
    pub cluster: ClusterFence,
    /// What was submitted.
    pub spec: GenerationSpec,
    /// What became of the submission.
    pub state: GenerationState,
    /// What users ask for.
    pub desired: api::Desired,
    /// The bytes that every attempt runs with.
    pub artifacts: Artifacts,
    /// The generation's jobs.
    pub jobs: BTreeMap<JobId, StoredJob>,
    /// What the jobs resume from.
    pub checkpoints: BTreeMap<JobId, Checkpoints>,
}

impl Dossier {
    /// Whether the outcome is decided.
    pub fn is_terminal(&self) -> bool {
        self.state.application().terminal
    }

    /// Whether nothing is left to do.
    pub fn is_clean(&self) -> bool {
        self.state.application().clean
    }

    /// A job by its id.
    pub fn job(&self, id: JobId) -> Result<&StoredJob, Refusal> {
        self.jobs.get(&id).ok_or_else(|| Refusal::JobNotFound {
            application: self.application.clone(),
            job: id.to_string(),
        })
    }

    /// Refuses a leader that is not the current one.
    pub fn check_epoch(&self, fence: &EpochFence) -> Result<(), Refusal> {
        // A test plants the bug to see that it would be noticed.
        if self.attempt.admits(fence.application.generation, fence.epoch)
            || failpoint::is_planted("store.epochs-unfenced")
        {
            return Ok(());
        }
        Err(Refusal::EpochSuperseded {
            application: self.application.clone(),
            epoch: fence.epoch.get(),
            current: self.attempt.epoch,
            holder: self.attempt.holder.clone(),
        })
    }

    /// Refuses a cluster that is not the current one.
    pub fn check_incarnation(&self, fence: &IncarnationFence) -> Result<(), Refusal> {
        if self.cluster.admits(fence.application.generation, fence.incarnation) {
            return Ok(());
        }
        Err(self.incarnation_superseded(fence.incarnation.get()))
    }

    fn incarnation_superseded(&self, incarnation: u64) -> Refusal {
        let application = self.application.clone();
        Refusal::IncarnationSuperseded {
            application,
            incarnation,
            current: self.cluster.incarnation,
        }
    }

    fn already_ended(&self) -> Refusal {
        let ended = self.state.application();
        let (outcome, reason) = (ended.outcome(), ended.reason.clone());
        Refusal::AlreadyEnded { application: self.application.clone(), outcome, reason }
    }
}

/// A dossier that one write changes, and the events that tell of the change.
///
/// A decision changes the draft in place. The caller compares the draft with the dossier it began
/// with and commits only the parts that differ, with the events, in one transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// The dossier as the write leaves it.
    pub dossier: Dossier,
    /// What happened; the commit numbers these events.
    pub events: Vec<api::Event>,
    /// The instant of the write, by the wall clock.
    pub now: SystemTime,
}

impl Draft {
    /// A draft in which nothing has changed yet.
    pub fn new(dossier: Dossier, now: SystemTime) -> Self {
        Self { dossier, events: Vec::new(), now }
    }

    fn at(&self) -> Option<Timestamp> {
        Some(timestamp(self.now))
    }

    fn app(&mut self) -> &mut api::Application {
        self.dossier.state.application_mut()
    }

    /// Sets a condition; the time at which a value was first seen is kept.
    pub(crate) fn condition(
        &mut self,
        kind: &str,
        status: api::ConditionStatus,
        reason: &str,
        message: &str,
    ) {
        let source = self.dossier.attempt.holder.clone();
        let observed_at = self.at();
        let message = cut(message.into(), 1024);
        let conditions = &mut self.app().conditions;
        let condition = api::Condition {
            r#type: kind.into(),
            status: status.into(),
            reason: reason.into(),
            message: message.clone(),
            source,
            observed_at,
        };
        match conditions.iter_mut().find(|known| known.r#type == kind) {
            Some(known)
                if known.status == condition.status
                    && known.reason == reason
                    && known.message == message => {}
            Some(known) => *known = condition,
            None => conditions.push(condition),
        }
    }
}

/// A text for people, cut between characters to so many bytes, because a record has a bound.
fn cut(mut text: String, max_bytes: usize) -> String {
    if text.len() > max_bytes {
        let end = (0..=max_bytes).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Wall time as the record writes it.
pub fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp::from(time)
}

#[cfg(test)]
mod tests;
