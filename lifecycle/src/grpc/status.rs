//! The one place where errors become statuses.

use proto::{Problem, Reason};
use tonic::Status;

use crate::error::Error;

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        let problem = |reason| Problem::new(reason, text.clone());
        let problem = match error {
            Error::EpochSuperseded { current, .. } => {
                problem(Reason::EpochSuperseded).metadata("epoch", current)
            }
            Error::IncarnationSuperseded { current, .. } => {
                let problem = problem(Reason::IncarnationSuperseded);
                problem.metadata("incarnation", current.get())
            }
            Error::IncarnationElsewhere(_) => problem(Reason::IncarnationElsewhere),
            Error::PlanInvalid(invalid) => {
                problem(Reason::PlanInvalid).field(invalid.field, invalid.why)
            }
            Error::RoleExited { status, .. } => {
                problem(Reason::RoleExited).metadata("role", status.name())
            }
            Error::RoleNotReady { status, .. } => {
                problem(Reason::RoleNotReady).metadata("role", status.name())
            }
            Error::NoPort(_) => problem(Reason::Overloaded),
            Error::RecordAway(_) | Error::ShuttingDown => problem(Reason::StoreUnavailable),
            Error::RecordRefused(_) => {
                tracing::error!("the record refuses what lifecycle writes: {text}");
                problem(Reason::Internal)
            }
        };
        problem.into_status()
    }
}
