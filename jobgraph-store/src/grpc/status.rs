//! The one place where errors become statuses.

use std::time::Duration;

use chassis::status::Problem;
use proto::{ApplicationRef, Reason};
use tonic::{Code, Status};

use crate::error::Error;
use crate::model::Refusal;

/// When a caller tries again after the record could not be reached.
const RETRY_AFTER: Duration = Duration::from_millis(200);

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        problem(error).into_status()
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        refused(refusal).into_status()
    }
}

fn problem(error: Error) -> Problem {
    let text = error.to_string();
    match error {
        Error::Refused(refusal) => refused(refusal),
        Error::Compacted { oldest, .. } => Problem::new(Code::OutOfRange, Reason::Compacted, text)
            .metadata("oldest", oldest)
            .help("list again"),
        Error::Contended(_) => {
            Problem::new(Code::Aborted, Reason::RevisionMoved, text).help("read again, then try again")
        }
        Error::Unavailable(_) => {
            Problem::new(Code::Unavailable, Reason::StoreUnavailable, text).retry_after(RETRY_AFTER)
        }
        Error::Unknown(_) => {
            Problem::new(Code::Unknown, Reason::TimedOut, text).help("read before trying again")
        }
        Error::Full(_) => Problem::new(Code::ResourceExhausted, Reason::StoreFull, text)
            .help("make room on the disk of the state directory; nothing that was recorded is lost"),
        Error::Damaged { file, .. } => {
            tracing::error!("{text}");
            Problem::new(Code::DataLoss, Reason::DataCorrupt, text).metadata("file", file)
        }
        Error::Internal(_) => {
            tracing::error!(error = %text, "a defect, or what another build has written");
            Problem::new(Code::Internal, Reason::Internal, text)
        }
    }
}

fn about(problem: Problem, application: &ApplicationRef) -> Problem {
    problem.metadata("application_id", &application.id).metadata("generation", application.generation)
}

fn refused(refusal: Refusal) -> Problem {
    use Code::{AlreadyExists, FailedPrecondition, InvalidArgument, NotFound};
    let text = refusal.to_string();
    let of = |code, reason, application: &ApplicationRef| {
        about(Problem::new(code, reason, text.clone()), application)
    };
    match &refusal {
        Refusal::Id(invalid) => {
            Problem::new(InvalidArgument, Reason::IdMalformed, text.clone()).field(invalid.kind, invalid.rule)
        }
        Refusal::RequestInvalid(_) => Problem::new(InvalidArgument, Reason::RequestInvalid, text),
        Refusal::TargetUnknown { target, .. } => {
            Problem::new(InvalidArgument, Reason::TargetUnknown, text.clone())
                .field("spec.target", &text)
                .metadata("target", target)
        }
        Refusal::SpecInvalid(violations) => {
            let problem = Problem::new(InvalidArgument, Reason::SpecInvalid, text.clone());
            violations
                .iter()
                .fold(problem, |problem, violation| problem.field(&violation.path, &violation.message))
        }
        Refusal::IdNotFound(id) => Problem::new(NotFound, Reason::ApplicationNotFound, text.clone())
            .metadata("application_id", id)
            .help("mainspring list shows what there is"),
        Refusal::GenerationNotFound(application) => of(NotFound, Reason::ApplicationNotFound, application),
        Refusal::Forgotten(application) => of(NotFound, Reason::ApplicationNotFound, application)
            .metadata(proto::reason::FORGOTTEN, "true")
            .help("its id can be submitted anew; mainspring list --all shows what is kept"),
        Refusal::NotClean(application) => of(FailedPrecondition, Reason::NotClean, application)
            .help(format!("wait until it is clean (mainspring wait {application}), or cancel it first")),
        Refusal::ProcessesLive { application, .. } => of(FailedPrecondition, Reason::TreeAlive, application)
            .help("the host ends them: try again in a moment; mainspring doctor shows what runs"),
        Refusal::ApplicationExists(application) => of(AlreadyExists, Reason::ApplicationExists, application)
            .help("wait for it, cancel it, choose another id, or submit with --if-exists attach"),
        Refusal::RequestIdReused { request_id, application } => {
            of(AlreadyExists, Reason::RequestIdReused, application).metadata("request_id", request_id)
        }
        Refusal::AlreadyEnded { application, outcome, reason } => {
            of(FailedPrecondition, Reason::AlreadyEnded, application)
                .metadata("outcome", crate::model::event::outcome_word(*outcome))
                .metadata("reason", reason)
        }
        Refusal::NotEnded(application) => {
            of(FailedPrecondition, Reason::NotEnded, application).help("cancel it first")
        }
        Refusal::ApplicationEnding(application) => {
            of(FailedPrecondition, Reason::ApplicationEnding, application)
        }
        Refusal::EpochSuperseded { application, current, .. } => {
            of(FailedPrecondition, Reason::EpochSuperseded, application).metadata("epoch", current)
        }
        Refusal::IncarnationSuperseded { application, current, .. } => {
            of(FailedPrecondition, Reason::IncarnationSuperseded, application)
                .metadata("incarnation", current)
        }
        Refusal::RevisionMoved { application, current, .. } => {
            of(Code::Aborted, Reason::RevisionMoved, application).metadata("revision", current)
        }
        Refusal::JobNotFound { application, job } => {
            of(NotFound, Reason::JobNotFound, application).metadata("job", job)
        }
        Refusal::JobsNotEnded { application, jobs } => {
            of(FailedPrecondition, Reason::JobsNotEnded, application).metadata("jobs", jobs.join(","))
        }
        Refusal::OutputNotPublished { application, jobs } => {
            of(FailedPrecondition, Reason::OutputNotPublished, application).metadata("jobs", jobs.join(","))
        }
        Refusal::MainDiverged { application, ordinal, .. } => {
            of(FailedPrecondition, Reason::MainDiverged, application).metadata("ordinal", ordinal)
        }
        Refusal::JobNameTaken { application, name } => {
            of(AlreadyExists, Reason::JobNameTaken, application).metadata("name", name)
        }
        Refusal::ClusterKeepsDying { application, count } => {
            of(FailedPrecondition, Reason::ClusterKeepsDying, application).metadata("incarnations", count)
        }
        Refusal::PayloadMissing(digests) => {
            Problem::new(FailedPrecondition, Reason::PayloadMissing, text.clone())
                .metadata("digests", digests.join(","))
        }
        Refusal::PayloadDigestMismatch { .. } => {
            Problem::new(InvalidArgument, Reason::PayloadDigestMismatch, text)
        }
        Refusal::FileNotReadable { .. } => {
            Problem::new(FailedPrecondition, Reason::ArtifactNotReadable, text)
                .help("where no directory is shared with the store, put the bytes")
        }
        Refusal::JournalValueTooLarge { .. } => {
            Problem::new(InvalidArgument, Reason::JournalValueTooLarge, text)
                .help("keep a large value in a file of your own, and its name here")
        }
        Refusal::TooManyCheckpoints { application, job, .. } => {
            of(Code::ResourceExhausted, Reason::TooManyCheckpoints, application)
                .metadata("job", job)
                .help("let the engine keep fewer checkpoints, and dispose of old savepoints")
        }
        Refusal::JobNotRunning { application, job } => {
            of(FailedPrecondition, Reason::JobNotRunning, application).metadata("job", job)
        }
        Refusal::TooManySavepoints { application, .. } => {
            of(Code::ResourceExhausted, Reason::Overloaded, application)
                .help("wait until those that are asked for are taken")
        }
        Refusal::SavepointPending { application, jobs } => {
            of(FailedPrecondition, Reason::SavepointPending, application).metadata("jobs", jobs.join(","))
        }
        Refusal::ResultNotReady { application, job } => {
            of(FailedPrecondition, Reason::ResultNotReady, application).metadata("job", job)
        }
        Refusal::ResultNone { application, job } => {
            of(FailedPrecondition, Reason::ResultNone, application).metadata("job", job)
        }
        Refusal::PageTokenInvalid => Problem::new(InvalidArgument, Reason::PageTokenInvalid, text),
    }
}
