//! `docs/errors.md`, made from the reasons themselves, so that it cannot go stale.

use chassis::status::Problem;
use client::error::CallError;
use proto::Reason;
use proto::api::Outcome;
use tonic::Code;

use super::remedy;
use crate::exit::Exit;
use crate::failure::Failure;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors.md");

const HEAD: &str = "\
# Errors

Every error names a reason. It is the same word on a terminal (`error[REASON]: …`), in JSON (`error.reason`), in the record, and on the wire
(`google.rpc.ErrorInfo`, domain `mainspring`). A reason is never renamed; its text may improve.

- **gRPC** is the status code of a call that is refused for this reason; `–`: no call is, it is how an application or a job ended.
- **exit** is the exit code of the command that meets it. 1, 3 and 4 are those of an application that ended so: what a leader or a cluster
  is refused ends the application. `–`: mainspring's processes settle it among themselves, or it is a condition that `status` shows.
- A write whose answer was lost exits 8 whatever the reason; the error names the command that finds out.

| reason | meaning | gRPC | exit | what to do |
| --- | --- | --- | --- | --- |
";

/// Who meets a reason.
enum Met {
    /// A caller of the API: the exit code follows from the status code.
    Called(Code),
    /// Whoever watches the application: a seam's call was refused, and the application ended of it.
    Failed(Option<Code>),
    /// Whoever watches an application or a job that ended so.
    Ended(Outcome),
    /// Processes of ours among themselves.
    Inside(Code),
    /// The command itself.
    Said(Exit),
    /// Whoever looks at an application: it is a condition of it.
    Shown,
}

/// Where each reason shows. Exhaustive, so that a new reason is placed.
fn met(reason: Reason) -> Met {
    use Code::{
        Aborted, AlreadyExists, DataLoss, DeadlineExceeded, FailedPrecondition, Internal, InvalidArgument,
        NotFound, OutOfRange, PermissionDenied, ResourceExhausted, Unauthenticated, Unavailable,
    };
    use Met::{Called, Ended, Failed, Inside, Said, Shown};
    use Reason as R;
    match reason {
        R::CredentialMissing | R::CredentialInvalid => Called(Unauthenticated),
        R::CredentialScope => Called(PermissionDenied),
        R::IdMalformed | R::RequestInvalid | R::SpecInvalid | R::TargetUnknown | R::PageTokenInvalid => {
            Called(InvalidArgument)
        }
        R::MessageTooLarge | R::StoreFull => Called(ResourceExhausted),
        R::ApplicationNotFound | R::JobNotFound => Called(NotFound),
        R::ApplicationExists | R::RequestIdReused => Called(AlreadyExists),
        R::AlreadyEnded
        | R::NotEnded
        | R::NotClean
        | R::ResultNotReady
        | R::ResultNone
        | R::JobNotRunning => Called(FailedPrecondition),
        R::SavepointUnsupported => Said(Exit::REFUSED),
        R::SavepointFailed => Said(Exit::FAILED),
        R::SavepointPending => Inside(FailedPrecondition),
        R::DataCorrupt => Called(DataLoss),
        R::Compacted => Called(OutOfRange),
        R::StoreUnavailable => Called(Unavailable),
        R::Overloaded => Called(ResourceExhausted),
        R::TimedOut => Called(DeadlineExceeded),
        R::Internal => Called(Internal),

        R::OptionMeaningless | R::SettingUnknown | R::ArtifactUriInvalid | R::ProgramUnsupported => {
            Failed(Some(InvalidArgument))
        }
        R::ProgramInvalid | R::ProgramNotExecutable | R::StatementUnsupported => {
            Failed(Some(InvalidArgument))
        }
        R::PlanInvalid => Failed(Some(InvalidArgument)),
        R::ArtifactNotFound => Failed(Some(NotFound)),
        R::ArtifactNotReachable => Failed(Some(Unavailable)),
        R::ArtifactNotReadable | R::ArtifactDigestMismatch | R::ArtifactRedirects => {
            Failed(Some(FailedPrecondition))
        }
        R::CacheFull | R::GraphTooLarge => Failed(Some(ResourceExhausted)),
        R::ApplicationEnding | R::UnnamedJobOverlaps | R::MainDiverged | R::ClusterKeepsDying => {
            Failed(Some(FailedPrecondition))
        }
        R::JobNameTaken => Failed(Some(AlreadyExists)),
        R::JournalValueTooLarge | R::GraphDigestMismatch => Failed(Some(InvalidArgument)),
        R::GraphUnreadable => Failed(Some(InvalidArgument)),
        R::EngineNotSetUp => Failed(Some(FailedPrecondition)),
        R::EngineNotFound | R::JobFailed | R::JobLost | R::Abandoned => Failed(None),
        R::MainExited | R::MainKilled | R::MainNotStarted | R::MainNotRepeatable => Failed(None),
        R::OutputTargetTaken | R::OutputLost => Failed(Some(FailedPrecondition)),
        R::OutputNotWritable => Failed(Some(Unavailable)),
        R::Cancelled => Ended(Outcome::Cancelled),
        R::DeadlineExceeded => Ended(Outcome::DeadlineExceeded),

        R::EpochSuperseded | R::IncarnationSuperseded | R::JobsNotEnded | R::OutputNotPublished => {
            Inside(FailedPrecondition)
        }
        R::PayloadMissing | R::NotAdopted | R::RoleExited | R::TreeAlive => Inside(FailedPrecondition),
        R::RevisionMoved | R::TetherReplaced => Inside(Aborted),
        R::PayloadDigestMismatch => Inside(InvalidArgument),
        R::ArtifactNotCached => Inside(NotFound),
        R::TooManyCheckpoints => Inside(ResourceExhausted),
        R::RoleNotReady => Inside(DeadlineExceeded),
        R::ClusterNotReady => Inside(Unavailable),

        R::ContenderGaveUp | R::HostFull => Shown,

        R::HostNotReachable => Said(Exit::UNREACHABLE),
        R::HostIncompatible | R::HostRuns => Said(Exit::REFUSED),
        R::WaitTimedOut => Said(Exit::WAIT_TIMED_OUT),
    }
}

/// What the command exits with when a call of its own gets this.
fn exit_of_call(code: Code, reason: Reason) -> Exit {
    Failure::from(CallError::from(Problem::new(code, reason, "no").into_status())).exit
}

/// `INVALID_ARGUMENT`.
fn word(code: Code) -> String {
    let mut word = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !word.is_empty() {
            word.push('_');
        }
        word.extend(letter.to_uppercase());
    }
    word
}

/// What the page has to be.
fn page() -> String {
    let mut text = HEAD.to_owned();
    for &reason in Reason::ALL {
        let (code, exit) = match met(reason) {
            Met::Called(code) => (Some(code), Some(exit_of_call(code, reason))),
            Met::Failed(code) => (code, Some(Exit::FAILED)),
            Met::Ended(outcome) => (None, Some(Exit::of(outcome))),
            Met::Inside(code) => (Some(code), None),
            Met::Said(exit) => (None, Some(exit)),
            Met::Shown => (None, None),
        };
        let code = code.map_or_else(|| "–".to_owned(), word);
        let exit = exit.map_or_else(|| "–".to_owned(), |exit| exit.code().to_string());
        let meaning = reason.meaning().trim_end_matches('.');
        let what_to_do = remedy(reason).replace('|', "\\|");
        text.push_str(&format!("| `{reason}` | {meaning} | {code} | {exit} | {what_to_do} |\n"));
    }
    text
}

#[test]
fn every_reason_is_documented_with_its_codes_and_its_way_out() {
    if std::env::var_os("MAINSPRING_BLESS").is_some() {
        std::fs::write(PATH, page()).expect("docs/ can be written");
    }
    let written = std::fs::read_to_string(PATH).unwrap_or_default();
    assert_eq!(written, page(), "MAINSPRING_BLESS=1 cargo test -p mainspring writes docs/errors.md anew");
}

#[test]
fn codes_are_written_as_in_grpc() {
    assert_eq!(word(Code::NotFound), "NOT_FOUND");
    assert_eq!(word(Code::Internal), "INTERNAL");
}
