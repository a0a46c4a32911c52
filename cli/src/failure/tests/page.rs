//! `docs/errors.md`, made from the reasons themselves, so that the page cannot go stale.

use client::error::CallError;
use proto::api::Outcome;
use proto::{Problem, Reason};
use tonic::Code;

use crate::exit::Exit;
use crate::failure::Failure;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors.md");

const HEAD: &str = "\
# Errors

Every error names a reason. It is the same word on a terminal (`error[REASON]: …`), in JSON
(`error.reason`), in the record, and on the wire (`google.rpc.ErrorInfo`, domain `mainspring`). A
reason is never renamed; its text may improve.

- **gRPC** is the status code of a call that is refused for this reason. `–` means that no call is
  refused for it, because the reason tells how an application or a job ended.
- **exit** is the exit code of the command that meets the reason. 1, 3 and 4 are the codes for an
  application that ended so, because a refusal of a leader's or a cluster's call ends the
  application. `–` means that mainspring's processes settle the reason among themselves, or that it
  is a condition that `status` shows.
- A command exits 8 for every reason when the answer to its write was lost; its error names the
  command that finds out what happened.

| reason | meaning | gRPC | exit | what to do |
| --- | --- | --- | --- | --- |
";

/// Where a reason shows, and to whom.
enum Met {
    /// A caller of the API sees the reason, and the exit code follows from the status code.
    Called,
    /// A command that watches an application sees the reason. A call of one of the application's
    /// processes was refused, and the application ended for it.
    Refused,
    /// A command that watches an application or a job sees the reason, because the application or
    /// the job ended so. No call is refused for it.
    Ended(Exit),
    /// Only our processes among themselves see the reason.
    Inside,
    /// The command itself says the reason.
    Said(Exit),
    /// A command that shows an application sees the reason as a condition of the application.
    Shown,
}

/// Where each reason shows. The match is exhaustive, so that the compiler asks where a new reason
/// belongs.
fn met(reason: Reason) -> Met {
    use Met::{Called, Ended, Inside, Refused, Said, Shown};
    use Reason as R;
    match reason {
        R::CredentialMissing | R::CredentialInvalid | R::CredentialScope => Called,
        R::CertificateInvalid => Called,
        R::IdMalformed
        | R::RequestInvalid
        | R::SpecInvalid
        | R::TargetUnknown
        | R::PageTokenInvalid => Called,
        R::MessageTooLarge | R::StoreFull | R::StoreUnavailable | R::DataCorrupt | R::Compacted => {
            Called
        }
        R::ApplicationNotFound | R::ApplicationExists | R::RequestIdReused => Called,
        R::AlreadyEnded | R::NotEnded | R::NotClean | R::TooManySavepoints => Called,
        R::JobNotFound | R::JobNotRunning | R::ResultNotReady | R::ResultNone => Called,
        R::HostNameTaken | R::HostSuperseded | R::HostIncompatible | R::LocationLocal => Called,
        R::Overloaded | R::TimedOut | R::Internal => Called,

        R::OptionMeaningless | R::SettingUnknown | R::EngineNotSetUp | R::PlanInvalid => Refused,
        R::ProgramUnsupported
        | R::ProgramInvalid
        | R::ProgramNotExecutable
        | R::StatementUnsupported => Refused,
        R::ArtifactUriInvalid
        | R::ArtifactNotFound
        | R::ArtifactNotReachable
        | R::ArtifactNotReadable => Refused,
        R::ArtifactDigestMismatch | R::ArtifactRedirects | R::CacheFull => Refused,
        R::ApplicationEnding | R::UnnamedJobOverlaps | R::MainDiverged | R::JobNameTaken => Refused,
        R::GraphTooLarge
        | R::GraphDigestMismatch
        | R::GraphUnreadable
        | R::JournalValueTooLarge => Refused,
        R::ClusterKeepsDying
        | R::ClusterNotReady
        | R::OutputTargetTaken
        | R::OutputLost
        | R::OutputNotWritable => Refused,

        R::EngineNotFound | R::JobFailed | R::JobLost | R::Abandoned => Ended(Exit::FAILED),
        R::MainExited | R::MainKilled | R::MainNotStarted | R::MainNotRepeatable => {
            Ended(Exit::FAILED)
        }
        R::Cancelled => Ended(Exit::of(Outcome::Cancelled)),
        R::DeadlineExceeded => Ended(Exit::of(Outcome::DeadlineExceeded)),

        R::EpochSuperseded | R::IncarnationSuperseded | R::IncarnationElsewhere => Inside,
        R::RevisionMoved | R::NotAdopted | R::PlacesNotReleased => Inside,
        R::JobsNotEnded | R::OutputNotPublished | R::SavepointPending | R::TooManyCheckpoints => {
            Inside
        }
        R::PayloadMissing | R::PayloadDigestMismatch | R::ArtifactNotCached => Inside,
        R::RoleExited
        | R::RoleNotReady
        | R::ClusterUnavailable
        | R::TreeAlive
        | R::TetherReplaced => Inside,

        R::ContenderGaveUp | R::HostFull => Shown,

        R::SavepointUnsupported | R::HostRuns | R::HostLives => Said(Exit::REFUSED),
        R::HostNotFound => Said(Exit::NOT_FOUND),
        R::SavepointFailed => Said(Exit::FAILED),
        R::HostNotReachable => Said(Exit::UNREACHABLE),
        R::WaitTimedOut => Said(Exit::WAIT_TIMED_OUT),
    }
}

/// The code that the command exits with when a call of its own is refused for this reason.
fn exit_of_call(reason: Reason) -> Exit {
    Failure::from(CallError::from(Problem::new(reason, "no"))).exit
}

/// A code as gRPC writes it, such as `INVALID_ARGUMENT`.
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

/// The page as the reasons make it.
fn page() -> String {
    let mut text = HEAD.to_owned();
    for &reason in Reason::ALL {
        let (is_on_the_wire, exit) = match met(reason) {
            Met::Called => (true, Some(exit_of_call(reason))),
            Met::Refused => (true, Some(Exit::FAILED)),
            Met::Ended(exit) | Met::Said(exit) => (false, Some(exit)),
            Met::Inside => (true, None),
            Met::Shown => (false, None),
        };
        let code = is_on_the_wire.then(|| reason.code());
        let code = code.map_or_else(|| "–".to_owned(), word);
        let exit = exit.map_or_else(|| "–".to_owned(), |exit| exit.code().to_string());
        let meaning = reason.meaning().trim_end_matches('.');
        let what_to_do = reason.remedy().replace('|', "\\|");
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
    assert_eq!(
        written,
        page(),
        "MAINSPRING_BLESS=1 cargo test -p mainspring writes docs/errors.md anew"
    );
}

#[test]
fn codes_are_written_as_in_grpc() {
    assert_eq!(word(Code::NotFound), "NOT_FOUND");
    assert_eq!(word(Code::Internal), "INTERNAL");
}
