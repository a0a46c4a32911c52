//! What can go wrong outside, in the terms that a runner acts on.

use chassis::status::Problem;
use client::error::CallError;
use proto::{Epoch, Reason};

use crate::model::Failure;

/// Why a port did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct PortError {
    /// What to do about it.
    pub kind: PortErrorKind,
    /// The stable reason, if there is one.
    pub reason: Option<Reason>,
    /// For people.
    pub message: String,
}

/// What a runner does about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortErrorKind {
    /// Nobody answered, or the answer was lost: ask again later.
    Away,
    /// A later leader or incarnation has begun; the epoch that stands, where it was said.
    Superseded(Epoch),
    /// What was read has changed: read again.
    Moved,
    /// It will be refused again.
    Refused,
}

impl PortError {
    /// A refusal.
    pub fn refused(reason: Reason, message: impl Into<String>) -> Self {
        Self { kind: PortErrorKind::Refused, reason: Some(reason), message: message.into() }
    }

    /// Something that may work later.
    pub fn away(message: impl Into<String>) -> Self {
        Self { kind: PortErrorKind::Away, reason: None, message: message.into() }
    }

    /// Asking again may help.
    pub fn is_away(&self) -> bool {
        self.kind == PortErrorKind::Away
    }

    /// A later leader has begun.
    pub fn is_superseded(&self) -> bool {
        matches!(self.kind, PortErrorKind::Superseded(_))
            && self.reason != Some(Reason::IncarnationSuperseded)
    }

    /// As what the application failed of; `otherwise` where the peer gave no reason.
    pub fn failure(&self, otherwise: Reason) -> Failure {
        Failure { reason: Some(self.reason.unwrap_or(otherwise)), message: self.message.clone() }
    }
}

impl From<CallError> for PortError {
    fn from(error: CallError) -> Self {
        let problem = Problem::from_status(error.status());
        let reason = error.reason();
        // A connection that broke ends in one of several codes without a reason of ours.
        let unexplained =
            problem.reason_word.is_empty() && !matches!(error.code(), tonic::Code::Unimplemented);
        let full = reason == Some(Reason::StoreFull);
        // The fetcher has tried often enough before it says so.
        let exhausted = reason == Some(Reason::ArtifactNotReachable);
        let kind = if error.is_superseded() {
            let epoch =
                problem.metadata.get("epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or_default();
            PortErrorKind::Superseded(Epoch(epoch))
        } else if reason == Some(Reason::RevisionMoved) {
            PortErrorKind::Moved
        } else if !exhausted && (error.is_retryable() || unexplained || full) {
            PortErrorKind::Away
        } else {
            PortErrorKind::Refused
        };
        let mut message = error.message().to_owned();
        for field in &problem.fields {
            if !message.contains(&field.message) {
                message.push_str(&format!("; {}: {}", field.path, field.message));
            }
        }
        for help in &problem.help {
            message.push_str(&format!("; help: {}", help.text));
        }
        Self { kind, reason, message }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tonic::{Code, Status};

    use super::*;

    fn kind(status: Status) -> PortErrorKind {
        PortError::from(CallError::from(status)).kind
    }

    #[test]
    fn what_a_runner_does_about_an_error_follows_from_its_code_and_reason() {
        let problem = |code, reason| Problem::new(code, reason, "x");
        let superseded = problem(Code::FailedPrecondition, Reason::EpochSuperseded).metadata("epoch", 9);
        let table = [
            (Status::unavailable("connection refused"), PortErrorKind::Away),
            (Status::unknown("the connection broke"), PortErrorKind::Away),
            (Status::internal("h2 protocol error"), PortErrorKind::Away),
            (Status::unimplemented("another service"), PortErrorKind::Refused),
            (problem(Code::ResourceExhausted, Reason::StoreFull).into_status(), PortErrorKind::Away),
            (
                problem(Code::Unavailable, Reason::StoreUnavailable)
                    .retry_after(Duration::from_secs(1))
                    .into_status(),
                PortErrorKind::Away,
            ),
            (problem(Code::Unavailable, Reason::ArtifactNotReachable).into_status(), PortErrorKind::Refused),
            (problem(Code::Aborted, Reason::RevisionMoved).into_status(), PortErrorKind::Moved),
            (problem(Code::InvalidArgument, Reason::OptionMeaningless).into_status(), PortErrorKind::Refused),
            (superseded.into_status(), PortErrorKind::Superseded(Epoch(9))),
        ];
        for (status, expected) in table {
            assert_eq!(kind(status.clone()), expected, "{status:?}");
        }
    }

    #[test]
    fn field_violations_and_ways_out_are_in_the_message() {
        let problem = Problem::new(Code::InvalidArgument, Reason::SettingUnknown, "a setting is unknown")
            .field("settings.memroy", "did you mean memory?")
            .help("mainspring-datafusion lists them");
        let error = PortError::from(CallError::from(problem.into_status()));
        assert!(error.message.contains("settings.memroy: did you mean memory?"), "{error}");
        assert!(error.message.contains("help: mainspring-datafusion lists them"), "{error}");
    }
}
