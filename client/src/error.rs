//! What came of a call, in the caller's terms.

use std::time::Duration;

use proto::{Code, Problem, Reason};
use tonic::Status;

/// A call that was not answered with a result. The peer may have refused it, or the connection may
/// have failed before the answer came. A caller asks three questions of the error: whether a repeat
/// may help, whether the call may have had its effect all the same, and whether a later leader has
/// taken over.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct CallError {
    code: Code,
    reason: Option<Reason>,
    message: String,
    retry_after: Option<Duration>,
    status: Status,
}

impl CallError {
    /// An error that the caller found by itself, such as an answer that did not come in time.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Status::new(code, message).into()
    }

    /// The stable reason, if the peer gave one that this build knows.
    pub fn reason(&self) -> Option<Reason> {
        self.reason
    }

    /// The gRPC code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The peer's message, for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The whole status with its details, for callers that pass it on.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// How long the peer asks to wait before the next try.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Whether the same call may succeed later although nothing else has changed.
    pub fn is_retryable(&self) -> bool {
        let by_code =
            matches!(self.code, Code::Unavailable | Code::DeadlineExceeded | Code::Unknown);
        self.reason.map_or(by_code, Reason::is_retryable)
    }

    /// Whether the call may have had its effect. The caller then reads before it repeats the call,
    /// unless a repeat is harmless.
    pub fn may_have_happened(&self) -> bool {
        matches!(
            self.code,
            Code::DeadlineExceeded | Code::Unknown | Code::Cancelled | Code::Internal
        ) || (self.code == Code::Unavailable && self.reason.is_none())
    }

    /// Whether a later leader or incarnation has taken over, so that the caller has to stop.
    pub fn is_superseded(&self) -> bool {
        matches!(self.reason, Some(Reason::EpochSuperseded | Reason::IncarnationSuperseded))
    }
}

/// The conversion is for callers that ask several services, and act on no refusal of one operation.
impl<R: record::Refused> From<record::Error<R>> for CallError {
    fn from(error: record::Error<R>) -> Self {
        Status::from(error).into()
    }
}

impl From<proto::Problem> for CallError {
    fn from(problem: proto::Problem) -> Self {
        problem.into_status().into()
    }
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        let problem = Problem::from_status(&status);
        Self {
            code: status.code(),
            reason: problem.reason,
            message: status.message().to_owned(),
            retry_after: problem.retry_after,
            status,
        }
    }
}
