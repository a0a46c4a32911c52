//! What can go wrong, in the caller's terms.

use std::time::Duration;

use client::tether::output::last_word;
use proto::{ApplicationRef, EpochFence, Incarnation};

use crate::model::{InvalidPlan, Status};
use crate::record::RecordError;

/// Why lifecycle did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A later leader has begun.
    #[error("epoch {} of {} has been superseded by {current}", .fence.epoch, .fence.application)]
    EpochSuperseded {
        /// What was shown.
        fence: EpochFence,
        /// What holds; 0 if it is not known.
        current: u64,
    },
    /// A later incarnation has begun, or this one has been torn down.
    #[error("incarnation {incarnation} of {application} is over: {current} has begun or it was torn down")]
    IncarnationSuperseded {
        /// Whose.
        application: ApplicationRef,
        /// What was asked for.
        incarnation: Incarnation,
        /// The highest one that is known here.
        current: Incarnation,
    },
    /// The plan contradicts itself.
    #[error("the plan cannot be realised: {0}")]
    PlanInvalid(#[from] InvalidPlan),
    /// A process has exited before all were ready.
    #[error("{} exited before the cluster was ready: {}{}", .0.name(), exit_of(.0), said(.0))]
    RoleExited(Box<Status>),
    /// A process did not become ready.
    #[error("{} was not ready within {within:?}{}", .status.name(), said(.status))]
    RoleNotReady {
        /// Which.
        status: Box<Status>,
        /// The time that it had.
        within: Duration,
    },
    /// The substrate cannot give the roles the ports that they need; nothing was started.
    #[error("no port for the cluster: {0}")]
    NoPort(String),
    /// The record cannot be reached; nothing was done.
    #[error("{0}")]
    RecordAway(String),
    /// The record refuses what lifecycle has to write.
    #[error("{0}")]
    RecordRefused(String),
    /// The process is ending.
    #[error("lifecycle is shutting down")]
    ShuttingDown,
}

fn exit_of(status: &Status) -> String {
    status.exit.as_ref().map_or_else(|| "exit unknown".to_owned(), ToString::to_string)
}

/// All of it is in the log.
fn said(status: &Status) -> String {
    last_word(&status.stderr_tail).map(|line| format!(" ({line})")).unwrap_or_default()
}

impl From<RecordError> for Error {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Away(text) => Self::RecordAway(text),
            RecordError::Superseded { fence, current } => {
                Self::EpochSuperseded { fence, current: current.get() }
            }
            RecordError::Refused(text) | RecordError::Unknown(text) => Self::RecordRefused(text),
        }
    }
}
