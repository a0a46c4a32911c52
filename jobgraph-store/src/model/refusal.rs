//! What the record refuses, as facts that a caller can act on.

use proto::{ApplicationRef, InvalidId, api};

use super::event::outcome_word;

/// A value of a request that cannot work, by its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The value's path in the request, such as `spec.artifacts[0].uri`.
    pub path: String,
    /// What is wrong, with the value and what it has to look like.
    pub message: String,
}

/// A write or a question that the record refuses; nothing was changed.
///
/// Each variant is a fact about the record or the request, with the ids that the caller needs to
/// act on it. `grpc/status.rs` alone maps these facts to reasons and codes.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// An identity is malformed.
    #[error(transparent)]
    Id(#[from] InvalidId),
    /// The request contradicts itself or lacks a part.
    #[error("{0}")]
    RequestInvalid(String),
    /// This build has no such target.
    #[error("{target:?} is not a target of this build; there is {known}")]
    TargetUnknown {
        /// The target that was asked for.
        target: String,
        /// The targets that this build has.
        known: String,
    },
    /// The submission has values that cannot work.
    #[error("the spec cannot be accepted: {}", listed(.0))]
    SpecInvalid(Vec<Violation>),
    /// The submission names what is on one host alone, and the deployment has several.
    #[error("the spec is for one host, and the deployment has several: {}", listed(.0))]
    LocationLocal(Vec<Violation>),
    /// The record has no application with this id.
    #[error("there is no application {0}")]
    IdNotFound(proto::ApplicationId),
    /// The id has no such generation.
    #[error("there is no generation {} of application {}", .0.generation, .0.id)]
    GenerationNotFound(ApplicationRef),
    /// The generation was there, and was forgotten.
    #[error("generation {} of application {} was forgotten", .0.generation, .0.id)]
    Forgotten(ApplicationRef),
    /// The generation cannot be forgotten, because something is left to do for it.
    #[error("{0} is not clean and cannot be forgotten")]
    NotClean(ApplicationRef),
    /// The generation cannot be forgotten, because processes of it may live.
    #[error("{application} cannot be forgotten yet: {} of it may live", .processes.join(", "))]
    ProcessesLive {
        /// The generation that was to be forgotten.
        application: ApplicationRef,
        /// The keys of those processes.
        processes: Vec<String>,
    },
    /// The latest generation of the id is not clean yet.
    #[error("{0} is not finished yet")]
    ApplicationExists(ApplicationRef),
    /// The request id was used before, with other content.
    #[error("request id {request_id:?} was used for {application} with other content")]
    RequestIdReused {
        /// The request id.
        request_id: String,
        /// The generation that the earlier request was answered with.
        application: ApplicationRef,
    },
    /// The application's end is recorded.
    #[error("{application} has ended already: {} {reason}", outcome_word(*outcome))]
    AlreadyEnded {
        /// The application that has ended.
        application: ApplicationRef,
        /// The recorded outcome.
        outcome: api::Outcome,
        /// The recorded reason of the outcome.
        reason: String,
    },
    /// The application has to have ended first.
    #[error("{0} has not ended and no cancel was asked for: main() or a job still runs")]
    NotEnded(ApplicationRef),
    /// The application has ended and takes no further job.
    #[error("{0} has ended and takes no further job")]
    ApplicationEnding(ApplicationRef),
    /// Another leader has taken over.
    #[error("epoch {epoch} of {application} is superseded: {holder} leads with epoch {current}")]
    EpochSuperseded {
        /// The application that the writer wanted to lead.
        application: ApplicationRef,
        /// The epoch of the writer.
        epoch: u64,
        /// The epoch in the record.
        current: u64,
        /// The contender that holds the recorded epoch.
        holder: String,
    },
    /// Another incarnation has begun.
    #[error(
        "incarnation {incarnation} of {application} is superseded: the current one is {current}"
    )]
    IncarnationSuperseded {
        /// The application that the cluster belongs to.
        application: ApplicationRef,
        /// The incarnation of the writer.
        incarnation: u64,
        /// The incarnation in the record.
        current: u64,
    },
    /// The incarnation belongs to another place, which alone starts its processes.
    #[error("incarnation {incarnation} of {application} runs on {place}, and on no other host")]
    IncarnationElsewhere {
        /// The application that the cluster belongs to.
        application: ApplicationRef,
        /// The incarnation.
        incarnation: u64,
        /// The name of its place.
        place: String,
    },
    /// The application is not clean, because other places than the leader's have not forgotten what
    /// they may run.
    #[error(
        "{application} is not clean: host {} has not ended yet what it ran of its clusters",
        .places.join(", host ")
    )]
    PlacesNotReleased {
        /// The application that was to become clean.
        application: ApplicationRef,
        /// The names of those places.
        places: Vec<String>,
    },
    /// What the caller decided on has changed.
    #[error(
        "{what} of {application} changed: revision {seen} was read, {current} is recorded; read it again"
    )]
    RevisionMoved {
        /// The application that the caller decided on.
        application: ApplicationRef,
        /// The part that changed.
        what: &'static str,
        /// The revision that the caller saw.
        seen: u64,
        /// The recorded revision.
        current: u64,
    },
    /// The application has no such job.
    #[error("{application} has no job {job:?}")]
    JobNotFound {
        /// The application that was asked.
        application: ApplicationRef,
        /// The id or the name that was asked for.
        job: String,
    },
    /// The application cannot end, because these jobs have no end.
    #[error("{application} cannot end: no end is recorded for {}", .jobs.join(", "))]
    JobsNotEnded {
        /// The application that was to end.
        application: ApplicationRef,
        /// The names or ids of those jobs.
        jobs: Vec<String>,
    },
    /// The application cannot end, because the committed ends of these jobs are not published.
    #[error("{application} cannot end: outputs are not published for {}", .jobs.join(", "))]
    OutputNotPublished {
        /// The application that was to end.
        application: ApplicationRef,
        /// The names or ids of those jobs.
        jobs: Vec<String>,
    },
    /// The main() that is executed again asks for another job than before.
    #[error(
        "main() of {application} diverged: its call {ordinal} asks for {asked:?}, {}", there(.asked, .recorded)
    )]
    MainDiverged {
        /// The application whose main() diverged.
        application: ApplicationRef,
        /// The ordinal of the `execute()` that asks.
        ordinal: u32,
        /// The name that the call asks for.
        asked: String,
        /// The name that the record holds there.
        recorded: String,
    },
    /// Another call of this attempt has the name.
    #[error("another execute() of this attempt of {application} is named {name:?}")]
    JobNameTaken {
        /// The application that the calls belong to.
        application: ApplicationRef,
        /// The name of both calls.
        name: String,
    },
    /// Too many incarnations in a row came to nothing.
    #[error(
        "the cluster of {application} keeps dying: {count} incarnations in a row without a job's end"
    )]
    ClusterKeepsDying {
        /// The application whose cluster keeps dying.
        application: ApplicationRef,
        /// How many incarnations came to nothing.
        count: u32,
    },
    /// The store does not have these payloads.
    #[error("these payloads are not in the store: {}; put them again", .0.join(", "))]
    PayloadMissing(Vec<String>),
    /// The bytes have another digest or size than the caller said.
    #[error("the payload was said to be {said} and is {is}")]
    PayloadDigestMismatch {
        /// The digest in the header.
        said: String,
        /// The digest, or the size, of the bytes that came.
        is: String,
    },
    /// The store cannot read a file that it was told to take.
    #[error("{path} cannot be read by the store: {why}")]
    FileNotReadable {
        /// The path as the caller named it.
        path: String,
        /// Why the file cannot be read.
        why: String,
    },
    /// The value of a `once()` step is too large.
    #[error("the value of step {key:?} has {bytes} bytes; at most {max} are kept")]
    JournalValueTooLarge {
        /// The key of the step.
        key: String,
        /// The size of the value.
        bytes: usize,
        /// The largest size that is kept.
        max: usize,
    },
    /// The job has as many checkpoints as can be kept.
    #[error(
        "job {job:?} of {application} would have {count} checkpoints of {bytes} bytes together; at most {most} are kept, of {most_bytes} bytes"
    )]
    TooManyCheckpoints {
        /// The application that the job belongs to.
        application: ApplicationRef,
        /// The name of the job.
        job: String,
        /// How many checkpoints the job would have.
        count: usize,
        /// How many bytes those would take.
        bytes: usize,
        /// How many checkpoints are kept at most.
        most: usize,
        /// How many bytes are kept at most.
        most_bytes: usize,
    },
    /// The wish is for jobs without an end, and there is none.
    #[error("{}", match .job.as_str() { "" => format!("no job of {application} runs"), job => format!("job {job:?} of {application} has ended") })]
    JobNotRunning {
        /// The application that was asked.
        application: ApplicationRef,
        /// The id or the name that was asked for; empty for any job.
        job: String,
    },
    /// As many savepoints are asked for as can be kept.
    #[error("{most} savepoints of {application} are asked for and have no result yet")]
    TooManySavepoints {
        /// The application that was asked.
        application: ApplicationRef,
        /// How many wishes are kept at most.
        most: usize,
    },
    /// The application cannot end, because savepoints of these jobs were asked for and have no
    /// result.
    #[error("{application} cannot end: savepoints that were asked for have no result for {}", .jobs.join(", "))]
    SavepointPending {
        /// The application that was to end.
        application: ApplicationRef,
        /// The names or ids of those jobs.
        jobs: Vec<String>,
    },
    /// The job is still running.
    #[error("job {job:?} of {application} has not ended yet")]
    ResultNotReady {
        /// The application that the job belongs to.
        application: ApplicationRef,
        /// The name of the job.
        job: String,
    },
    /// The job has no rows to read.
    #[error("job {job:?} of {application} brought back no rows")]
    ResultNone {
        /// The application that the job belongs to.
        application: ApplicationRef,
        /// The name of the job.
        job: String,
    },
    /// The page token is not one that this service gave out.
    #[error("the page token is not one that this service gave out for this question")]
    PageTokenInvalid,
}

/// Each violation with its path.
fn listed(violations: &[Violation]) -> String {
    let each: Vec<String> =
        violations.iter().map(|v| format!("{}: {}", v.path, v.message)).collect();
    each.join("; ")
}

/// What stands in the record where a diverged main() asks for a job.
fn there(asked: &str, recorded: &str) -> String {
    if asked == recorded {
        "and a call before it, under another name, was taken for that one".to_owned()
    } else {
        format!("the record holds {recorded:?} there")
    }
}
