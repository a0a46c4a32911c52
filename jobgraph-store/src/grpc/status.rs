//! The one place where errors become statuses.

use proto::{ApplicationRef, Problem, Reason};
use tonic::Status;

use crate::error::Error;
use crate::model::refusal::{Refusal, Violation};

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        problem(error).into_status()
    }
}

/// A caller that holds the service itself sees the same facts as a caller over the wire.
impl<R: record::Refused> From<Error> for record::Error<R> {
    fn from(error: Error) -> Self {
        problem(error).into()
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
        Error::Compacted { oldest, .. } => {
            Problem::new(Reason::Compacted, text).metadata("oldest", oldest).help("list again")
        }
        Error::Contended(_) => {
            Problem::new(Reason::RevisionMoved, text).help("read again, then try again")
        }
        Error::Unavailable(_) => Problem::new(Reason::StoreUnavailable, text),
        Error::Unknown(_) => Problem::new(Reason::TimedOut, text).help("read before trying again"),
        Error::Full(_) => Problem::new(Reason::StoreFull, text).help(
            "make room on the disk of the state directory; nothing that was recorded is lost",
        ),
        Error::Damaged { file, .. } => {
            tracing::error!("{text}");
            Problem::new(Reason::DataCorrupt, text).metadata("file", file)
        }
        Error::Newer(_) => Problem::new(Reason::HostIncompatible, text)
            .help("run the build that has written the record, or a later one"),
        Error::Internal(_) => {
            tracing::error!(error = %text, "a defect, or what no build has written");
            Problem::new(Reason::Internal, text)
        }
    }
}

fn about(problem: Problem, application: &ApplicationRef) -> Problem {
    problem
        .metadata("application_id", &application.id)
        .metadata("generation", application.generation)
}

fn with_fields(problem: Problem, violations: &[Violation]) -> Problem {
    violations
        .iter()
        .fold(problem, |problem, violation| problem.field(&violation.path, &violation.message))
}

fn refused(refusal: Refusal) -> Problem {
    let text = refusal.to_string();
    let of = |reason, application: &ApplicationRef| {
        about(Problem::new(reason, text.clone()), application)
    };
    match &refusal {
        Refusal::Id(invalid) => {
            Problem::new(Reason::IdMalformed, text.clone()).field(invalid.kind, invalid.rule)
        }
        Refusal::RequestInvalid(_) => Problem::new(Reason::RequestInvalid, text),
        Refusal::TargetUnknown { target, .. } => Problem::new(Reason::TargetUnknown, text.clone())
            .field("spec.target", &text)
            .metadata("target", target),
        Refusal::SpecInvalid(violations) => {
            with_fields(Problem::new(Reason::SpecInvalid, text), violations)
        }
        Refusal::LocationLocal(violations) => {
            with_fields(Problem::new(Reason::LocationLocal, text), violations)
        }
        Refusal::IdNotFound(id) => Problem::new(Reason::ApplicationNotFound, text.clone())
            .metadata("application_id", id)
            .help("mainspring list shows what there is"),
        Refusal::GenerationNotFound(application) => of(Reason::ApplicationNotFound, application),
        Refusal::Forgotten(application) => of(Reason::ApplicationNotFound, application)
            .metadata(proto::reason::FORGOTTEN, "true")
            .help("its id can be submitted anew; mainspring list --all shows what is kept"),
        Refusal::NotClean(application) => of(Reason::NotClean, application).help(format!(
            "wait until it is clean (mainspring wait {application}), or cancel it first"
        )),
        Refusal::ProcessesLive { application, .. } => of(Reason::TreeAlive, application)
            .help("the host ends them: try again in a moment; mainspring doctor shows what runs"),
        Refusal::ApplicationExists(application) => of(Reason::ApplicationExists, application)
            .help("wait for it, cancel it, choose another id, or submit with --if-exists attach"),
        Refusal::RequestIdReused { request_id, application } => {
            of(Reason::RequestIdReused, application).metadata("request_id", request_id)
        }
        Refusal::AlreadyEnded { application, outcome, reason } => {
            of(Reason::AlreadyEnded, application)
                .metadata("outcome", crate::model::event::outcome_word(*outcome))
                .metadata("reason", reason)
        }
        Refusal::NotEnded(application) => of(Reason::NotEnded, application).help("cancel it first"),
        Refusal::ApplicationEnding(application) => of(Reason::ApplicationEnding, application),
        Refusal::EpochSuperseded { application, current, .. } => {
            of(Reason::EpochSuperseded, application).metadata("epoch", current)
        }
        Refusal::IncarnationSuperseded { application, current, .. } => {
            of(Reason::IncarnationSuperseded, application).metadata("incarnation", current)
        }
        Refusal::IncarnationElsewhere { application, place, .. } => {
            of(Reason::IncarnationElsewhere, application).metadata("place", place)
        }
        Refusal::PlacesNotReleased { application, places } => {
            let problem =
                of(Reason::PlacesNotReleased, application).metadata("places", places.join(","));
            problem.help(format!(
                "start that host again; if it never comes back: mainspring host give-up NAME, or \
                 for one application mainspring abandon {application}"
            ))
        }
        Refusal::RevisionMoved { application, current, .. } => {
            of(Reason::RevisionMoved, application).metadata("revision", current)
        }
        Refusal::JobNotFound { application, job } => {
            of(Reason::JobNotFound, application).metadata("job", job)
        }
        Refusal::JobsNotEnded { application, jobs } => {
            of(Reason::JobsNotEnded, application).metadata("jobs", jobs.join(","))
        }
        Refusal::OutputNotPublished { application, jobs } => {
            of(Reason::OutputNotPublished, application).metadata("jobs", jobs.join(","))
        }
        Refusal::MainDiverged { application, ordinal, .. } => {
            of(Reason::MainDiverged, application).metadata("ordinal", ordinal)
        }
        Refusal::JobNameTaken { application, name } => {
            of(Reason::JobNameTaken, application).metadata("name", name)
        }
        Refusal::ClusterKeepsDying { application, count } => {
            of(Reason::ClusterKeepsDying, application).metadata("incarnations", count)
        }
        Refusal::PayloadMissing(digests) => Problem::new(Reason::PayloadMissing, text.clone())
            .metadata("digests", digests.join(",")),
        Refusal::PayloadDigestMismatch { .. } => Problem::new(Reason::PayloadDigestMismatch, text),
        Refusal::FileNotReadable { .. } => Problem::new(Reason::ArtifactNotReadable, text)
            .help("where no directory is shared with the store, put the bytes"),
        Refusal::JournalValueTooLarge { .. } => Problem::new(Reason::JournalValueTooLarge, text)
            .help("keep a large value in a file of your own, and its name here"),
        Refusal::TooManyCheckpoints { application, job, .. } => {
            of(Reason::TooManyCheckpoints, application)
                .metadata("job", job)
                .help("let the engine keep fewer checkpoints, and dispose of old savepoints")
        }
        Refusal::JobNotRunning { application, job } => {
            of(Reason::JobNotRunning, application).metadata("job", job)
        }
        Refusal::TooManySavepoints { application, .. } => {
            of(Reason::TooManySavepoints, application)
        }
        Refusal::SavepointPending { application, jobs } => {
            of(Reason::SavepointPending, application).metadata("jobs", jobs.join(","))
        }
        Refusal::ResultNotReady { application, job } => {
            of(Reason::ResultNotReady, application).metadata("job", job)
        }
        Refusal::ResultNone { application, job } => {
            of(Reason::ResultNone, application).metadata("job", job)
        }
        Refusal::PageTokenInvalid => Problem::new(Reason::PageTokenInvalid, text),
    }
}
