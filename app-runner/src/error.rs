//! What can go wrong outside, in the terms that a runner acts on.

use client::error::CallError;
use proto::{Epoch, Problem, Reason};

use crate::model::Failure;

/// Why a port did not do what it was asked. A port reduces each peer's own errors to this one,
/// because a runner only decides whether to ask again, to stop or to fail the application.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct PortError {
    /// What the runner does about the error.
    pub kind: PortErrorKind,
    /// The stable reason, if the peer gave one.
    pub reason: Option<Reason>,
    /// The text for people.
    pub message: String,
}

/// What a runner does about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortErrorKind {
    /// The call may work later: no answer came, it was lost, or the peer cannot do it now. The
    /// runner asks again.
    Away,
    /// A later leader or incarnation has begun. Carries its number; 0 where the peer did not say.
    Superseded(Epoch),
    /// The call was refused and will be refused again.
    Refused,
}

impl PortError {
    /// A refusal with its reason.
    pub fn refused(reason: Reason, message: impl Into<String>) -> Self {
        Self { kind: PortErrorKind::Refused, reason: Some(reason), message: message.into() }
    }

    /// An error that may be gone later.
    pub fn away(message: impl Into<String>) -> Self {
        Self { kind: PortErrorKind::Away, reason: None, message: message.into() }
    }

    /// Whether asking again may help.
    pub fn is_away(&self) -> bool {
        self.kind == PortErrorKind::Away
    }

    /// Whether a later leader has begun.
    pub fn is_superseded(&self) -> bool {
        matches!(self.kind, PortErrorKind::Superseded(_))
            && self.reason != Some(Reason::IncarnationSuperseded)
    }

    /// Whether the call will be refused again to every contender on this host, so that another
    /// start would change nothing. A refusal without a reason of ours, and a defect of ours, may be
    /// gone when the peer is of another build.
    pub fn is_permanent(&self) -> bool {
        self.kind == PortErrorKind::Refused
            && self.reason.is_some_and(|reason| reason != Reason::Internal)
    }

    /// Whether the peer refuses every call of this process, because of its credential.
    pub fn is_about_the_caller(&self) -> bool {
        let reasons =
            [Reason::CredentialMissing, Reason::CredentialInvalid, Reason::CredentialScope];
        self.is_permanent() && self.reason.is_some_and(|reason| reasons.contains(&reason))
    }

    /// The error as what the application failed of; `otherwise` is the reason where the peer gave
    /// none.
    pub fn failure(&self, otherwise: Reason) -> Failure {
        Failure { reason: Some(self.reason.unwrap_or(otherwise)), message: self.message.clone() }
    }
}

/// A contender has met an error that another start would not cure. Its text is the contender's last
/// word on stderr, and people read it in `status`.
#[derive(Debug, Clone, thiserror::Error)]
#[error("error[{reason}]: {message}")]
pub struct GaveUp {
    /// The stable reason.
    pub reason: Reason,
    /// One line that names the thing, the value and the way out.
    pub message: String,
}

impl GaveUp {
    /// The error that a contender gives up over; `None` for an error that another start may cure.
    pub fn over(error: &PortError) -> Option<Self> {
        let reason = error.reason.filter(|_| error.is_permanent())?;
        Some(Self { reason, message: error.message.replace('\n', " ") })
    }
}

impl<R: record::Refused> From<record::Error<R>> for PortError {
    fn from(error: record::Error<R>) -> Self {
        let kind = match error {
            record::Error::Away(_) => PortErrorKind::Away,
            record::Error::Superseded { current, .. } => PortErrorKind::Superseded(Epoch(current)),
            record::Error::Refused(..) | record::Error::Failed(_) => PortErrorKind::Refused,
        };
        Self { kind, reason: error.reason(), message: said(error.told().problem()) }
    }
}

impl From<CallError> for PortError {
    fn from(error: CallError) -> Self {
        let problem = Problem::from_status(error.status());
        let reason = error.reason();
        // A connection that broke ends in one of several codes without a reason of ours.
        let unexplained =
            problem.reason_word.is_empty() && !matches!(error.code(), tonic::Code::Unimplemented);
        // Both refusals pass without the caller's doing: an operator makes room, and other writers
        // finish.
        let passes = matches!(reason, Some(Reason::StoreFull | Reason::RevisionMoved));
        let kind = if error.is_superseded() {
            let epoch = problem
                .metadata
                .get("epoch")
                .and_then(|epoch| epoch.parse().ok())
                .unwrap_or_default();
            PortErrorKind::Superseded(Epoch(epoch))
        } else if error.is_retryable() || unexplained || passes {
            PortErrorKind::Away
        } else {
            PortErrorKind::Refused
        };
        Self { kind, reason, message: said(&problem) }
    }
}

/// All that the peer said for people, in one line: its message, its fields and its ways out.
fn said(problem: &Problem) -> String {
    let mut message = problem.message.clone();
    for field in &problem.fields {
        if !message.contains(&field.message) {
            message.push_str(&format!("; {}: {}", field.path, field.message));
        }
    }
    for help in &problem.help {
        message.push_str(&format!("; help: {}", help.text));
    }
    message
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tonic::Status;

    use super::*;

    fn kind(status: Status) -> PortErrorKind {
        PortError::from(CallError::from(status)).kind
    }

    #[test]
    fn what_a_runner_does_about_an_error_follows_from_its_code_and_reason() {
        let problem = |reason| Problem::new(reason, "x");
        let superseded = problem(Reason::EpochSuperseded).metadata("epoch", 9);
        let table = [
            (Status::unavailable("connection refused"), PortErrorKind::Away),
            (Status::unknown("the connection broke"), PortErrorKind::Away),
            (Status::internal("h2 protocol error"), PortErrorKind::Away),
            (Status::unimplemented("another service"), PortErrorKind::Refused),
            (problem(Reason::StoreFull).into_status(), PortErrorKind::Away),
            (
                problem(Reason::StoreUnavailable).retry_after(Duration::from_secs(1)).into_status(),
                PortErrorKind::Away,
            ),
            (problem(Reason::ArtifactNotReachable).into_status(), PortErrorKind::Refused),
            (problem(Reason::RevisionMoved).into_status(), PortErrorKind::Away),
            (problem(Reason::OptionMeaningless).into_status(), PortErrorKind::Refused),
            (superseded.into_status(), PortErrorKind::Superseded(Epoch(9))),
        ];
        for (status, expected) in table {
            assert_eq!(kind(status.clone()), expected, "{status:?}");
        }
    }

    #[test]
    fn what_the_record_answers_is_acted_on_by_its_kind_and_told_in_full() {
        let of =
            |problem: Problem| PortError::from(record::Error::<record::EndRefused>::from(problem));
        let superseded = Problem::new(Reason::EpochSuperseded, "x").metadata("epoch", 9);
        let table = [
            (Problem::new(Reason::StoreUnavailable, "x"), PortErrorKind::Away),
            (Problem::new(Reason::StoreFull, "x"), PortErrorKind::Away),
            (superseded, PortErrorKind::Superseded(Epoch(9))),
            (Problem::new(Reason::RevisionMoved, "x"), PortErrorKind::Refused),
            (Problem::new(Reason::CredentialInvalid, "x"), PortErrorKind::Refused),
        ];
        for (problem, expected) in table {
            let error = of(problem.clone());
            assert_eq!((error.kind, error.reason), (expected, problem.reason), "{problem:?}");
        }
        let moved =
            record::Error::<record::Nothing>::from(Problem::new(Reason::RevisionMoved, "x"));
        assert!(PortError::from(moved).is_away(), "where nothing acts on it, other writers finish");
        let told =
            of(Problem::new(Reason::SpecInvalid, "no").field("a.b", "is odd").help("make it even"));
        assert_eq!(told.message, "no; a.b: is odd; help: make it even");
    }

    #[test]
    fn only_a_refusal_with_a_reason_that_is_no_defect_is_permanent() {
        let of = |reason| PortError::from(CallError::from(Problem::new(reason, "x")));
        let table = [
            (of(Reason::CredentialInvalid), true, true),
            (of(Reason::CredentialScope), true, true),
            (of(Reason::ApplicationNotFound), true, false),
            (of(Reason::DataCorrupt), true, false),
            (of(Reason::Internal), false, false),
            (of(Reason::StoreUnavailable), false, false),
            (
                PortError::from(CallError::from(Status::unimplemented("of another build"))),
                false,
                false,
            ),
            (
                PortError::from(CallError::from(Status::unavailable("connection refused"))),
                false,
                false,
            ),
        ];
        for (error, permanent, about_the_caller) in table {
            assert_eq!(error.is_permanent(), permanent, "{error:?}");
            assert_eq!(error.is_about_the_caller(), about_the_caller, "{error:?}");
            assert_eq!(GaveUp::over(&error).is_some(), permanent, "{error:?}");
        }
    }

    #[test]
    fn field_violations_and_ways_out_are_in_the_message() {
        let problem = Problem::new(Reason::SettingUnknown, "a setting is unknown")
            .field("settings.memroy", "did you mean memory?")
            .help("mainspring-datafusion lists them");
        let error = PortError::from(CallError::from(problem.into_status()));
        assert!(error.message.contains("settings.memroy: did you mean memory?"), "{error}");
        assert!(error.message.contains("help: mainspring-datafusion lists them"), "{error}");
    }
}
