//! What the record refuses, as facts that a caller can act on.

use proto::{ApplicationRef, InvalidId, api};

use super::event::outcome_word;

/// A value of a request that cannot work, by its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Such as `spec.artifacts[0].uri`.
    pub path: String,
    /// What is wrong, with the value and what it has to look like.
    pub message: String,
}

/// A write or a question that the record refuses. Nothing was changed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// An identity is malformed.
    #[error(transparent)]
    Id(#[from] InvalidId),
    /// The request contradicts itself or lacks a part.
    #[error("{0}")]
    RequestInvalid(String),
    /// There is no such target in this build.
    #[error("{target:?} is not a target of this build; there is {known}")]
    TargetUnknown {
        /// What was asked for.
        target: String,
        /// Those that there are.
        known: String,
    },
    /// The submission has values that cannot work.
    #[error("the spec cannot be accepted: {}", .0.iter().map(|v| format!("{}: {}", v.path, v.message)).collect::<Vec<_>>().join("; "))]
    SpecInvalid(Vec<Violation>),
    /// No such id.
    #[error("there is no application {0}")]
    IdNotFound(proto::ApplicationId),
    /// No such generation of it.
    #[error("there is no generation {} of application {}", .0.generation, .0.id)]
    GenerationNotFound(ApplicationRef),
    /// It was there, and was forgotten.
    #[error("generation {} of application {} was forgotten", .0.generation, .0.id)]
    Forgotten(ApplicationRef),
    /// Something is left to do for it, so that it cannot be forgotten.
    #[error("{0} is not clean and cannot be forgotten")]
    NotClean(ApplicationRef),
    /// Processes of it may live, so that it cannot be forgotten.
    #[error("{application} cannot be forgotten yet: {} of it may live", .processes.join(", "))]
    ProcessesLive {
        /// Whose.
        application: ApplicationRef,
        /// Their keys.
        processes: Vec<String>,
    },
    /// The latest generation is not clean yet.
    #[error("{0} is not finished yet")]
    ApplicationExists(ApplicationRef),
    /// Same request id, other content.
    #[error("request id {request_id:?} was used for {application} with other content")]
    RequestIdReused {
        /// The id.
        request_id: String,
        /// What it made.
        application: ApplicationRef,
    },
    /// The end is recorded.
    #[error("{application} has ended already: {} {reason}", outcome_word(*outcome))]
    AlreadyEnded {
        /// Which.
        application: ApplicationRef,
        /// How.
        outcome: api::Outcome,
        /// Why.
        reason: String,
    },
    /// It has to have ended first.
    #[error("{0} has not ended and nobody asked it to: main() or a job still runs")]
    NotEnded(ApplicationRef),
    /// No further job is taken.
    #[error("{0} has ended and takes no further job")]
    ApplicationEnding(ApplicationRef),
    /// Another leader has taken over.
    #[error("epoch {epoch} of {application} is superseded: {holder} leads with epoch {current}")]
    EpochSuperseded {
        /// Whose.
        application: ApplicationRef,
        /// The writer's.
        epoch: u64,
        /// The record's.
        current: u64,
        /// Who holds that.
        holder: String,
    },
    /// Another incarnation has begun.
    #[error("incarnation {incarnation} of {application} is superseded: the current one is {current}")]
    IncarnationSuperseded {
        /// Whose.
        application: ApplicationRef,
        /// The writer's.
        incarnation: u64,
        /// The record's.
        current: u64,
    },
    /// What was decided on has changed.
    #[error(
        "{what} of {application} changed: revision {seen} was read, {current} is recorded; read it again"
    )]
    RevisionMoved {
        /// Whose.
        application: ApplicationRef,
        /// What changed.
        what: &'static str,
        /// What the caller saw.
        seen: u64,
        /// What is so.
        current: u64,
    },
    /// No such job.
    #[error("{application} has no job {job:?}")]
    JobNotFound {
        /// Whose.
        application: ApplicationRef,
        /// Id or name.
        job: String,
    },
    /// These jobs have no end.
    #[error("{application} cannot end: no end is recorded for {}", .jobs.join(", "))]
    JobsNotEnded {
        /// Whose.
        application: ApplicationRef,
        /// Names or ids.
        jobs: Vec<String>,
    },
    /// These committed ends are unpublished.
    #[error("{application} cannot end: outputs are not published for {}", .jobs.join(", "))]
    OutputNotPublished {
        /// Whose.
        application: ApplicationRef,
        /// Names or ids.
        jobs: Vec<String>,
    },
    /// The re-executed main() asks for something else.
    #[error(
        "main() of {application} diverged: its call {ordinal} asks for {asked:?}, {}", there(.asked, .recorded)
    )]
    MainDiverged {
        /// Whose.
        application: ApplicationRef,
        /// Which `execute()`.
        ordinal: u32,
        /// The name that was asked for.
        asked: String,
        /// The name that is recorded.
        recorded: String,
    },
    /// Another call of this attempt has the name.
    #[error("another execute() of this attempt of {application} is named {name:?}")]
    JobNameTaken {
        /// Whose.
        application: ApplicationRef,
        /// The name.
        name: String,
    },
    /// Too many incarnations came to nothing.
    #[error("the cluster of {application} keeps dying: {count} incarnations in a row without a job's end")]
    ClusterKeepsDying {
        /// Whose.
        application: ApplicationRef,
        /// How many.
        count: u32,
    },
    /// These bytes are not here.
    #[error("these payloads are not in the store: {}; put them again", .0.join(", "))]
    PayloadMissing(Vec<String>),
    /// The bytes are not what was said.
    #[error("the payload was said to be {said} and is {is}")]
    PayloadDigestMismatch {
        /// The digest in the header.
        said: String,
        /// The digest (or size) of what came.
        is: String,
    },
    /// A file that was to be taken cannot be read here.
    #[error("{path} cannot be read by the store: {why}")]
    FileNotReadable {
        /// As the caller named it.
        path: String,
        /// Why not.
        why: String,
    },
    /// A once() value is too large.
    #[error("the value of step {key:?} has {bytes} bytes; at most {max} are kept")]
    JournalValueTooLarge {
        /// The step.
        key: String,
        /// Its value's size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The job has as many checkpoints as can be kept.
    #[error(
        "job {job:?} of {application} would have {count} checkpoints of {bytes} bytes together; at most {most} are kept, of {most_bytes} bytes"
    )]
    TooManyCheckpoints {
        /// Whose.
        application: ApplicationRef,
        /// Its name.
        job: String,
        /// How many it would have.
        count: usize,
        /// How large they would be.
        bytes: usize,
        /// The limits.
        most: usize,
        /// In bytes.
        most_bytes: usize,
    },
    /// No job without an end is meant.
    #[error("{}", match .job.as_str() { "" => format!("no job of {application} runs"), job => format!("job {job:?} of {application} has ended") })]
    JobNotRunning {
        /// Whose.
        application: ApplicationRef,
        /// Id or name; empty for any.
        job: String,
    },
    /// As many savepoints are asked for as can be.
    #[error("{most} savepoints of {application} are asked for and have no result yet")]
    TooManySavepoints {
        /// Whose.
        application: ApplicationRef,
        /// The limit.
        most: usize,
    },
    /// Savepoints of these jobs were asked for and have no result.
    #[error("{application} cannot end: savepoints that were asked for have no result for {}", .jobs.join(", "))]
    SavepointPending {
        /// Whose.
        application: ApplicationRef,
        /// Names or ids.
        jobs: Vec<String>,
    },
    /// The job is still running.
    #[error("job {job:?} of {application} has not ended yet")]
    ResultNotReady {
        /// Whose.
        application: ApplicationRef,
        /// Its name.
        job: String,
    },
    /// The job has no rows to read.
    #[error("job {job:?} of {application} brought back no rows")]
    ResultNone {
        /// Whose.
        application: ApplicationRef,
        /// Its name.
        job: String,
    },
    /// Not a token of ours.
    #[error("the page token is not one that this service gave out for this question")]
    PageTokenInvalid,
}

/// What stands where a diverged main() asks for a job.
fn there(asked: &str, recorded: &str) -> String {
    if asked == recorded {
        "and a call before it, under another name, was taken for that one".to_owned()
    } else {
        format!("the record holds {recorded:?} there")
    }
}
