//! What can go wrong, in the caller's terms.

use std::time::Duration;

use proto::{ApplicationRef, EpochFence, Incarnation};

use crate::model::{InvalidPlan, Status};
use crate::record::RecordError;

/// Why lifecycle did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A later leader has begun.
    #[error("epoch {} of {} has been superseded by {current}", .fence.epoch, .fence.application)]
    EpochSuperseded {
        /// The fence that the caller has shown.
        fence: EpochFence,
        /// The epoch that holds; 0 if it is not known.
        current: u64,
    },
    /// A later incarnation has begun, or this one has been torn down.
    #[error(
        "incarnation {incarnation} of {application} is over: {current} has begun or it was torn down"
    )]
    IncarnationSuperseded {
        /// The application that the incarnation belongs to.
        application: ApplicationRef,
        /// The incarnation that the caller asked for.
        incarnation: Incarnation,
        /// The highest incarnation that this lifecycle knows.
        current: Incarnation,
    },
    /// The incarnation belongs to another host, which alone starts its processes.
    #[error("{0}")]
    IncarnationElsewhere(String),
    /// The plan contradicts itself.
    #[error("the plan cannot be realised: {0}")]
    PlanInvalid(#[from] InvalidPlan),
    /// A process has exited before all were ready.
    #[error("{} exited before the cluster was ready: {}{}", .status.name(), exit_of(.status), meanwhile(.others))]
    RoleExited {
        /// The process that exited.
        status: Box<Status>,
        /// How other processes of the cluster had exited by then, in people's words: their exits
        /// may be the cause.
        others: Vec<String>,
    },
    /// A process did not become ready in time.
    #[error("{} was not ready within {within:?}{}", .status.name(), said(.status))]
    RoleNotReady {
        /// The process that did not become ready.
        status: Box<Status>,
        /// How long the process had.
        within: Duration,
    },
    /// The substrate cannot give the roles the ports that they need. Nothing was started.
    #[error("no port for the cluster: {0}")]
    NoPort(String),
    /// The record cannot be reached. Nothing was done.
    #[error("{0}")]
    RecordAway(String),
    /// The record refuses what lifecycle has to write.
    #[error("{0}")]
    RecordRefused(String),
    /// Lifecycle is ending.
    #[error("lifecycle is shutting down")]
    ShuttingDown,
}

/// How the process exited and why; all that it said is in the log.
fn exit_of(status: &Status) -> String {
    let exit = status.last_exit();
    if exit.is_empty() { "exit unknown".to_owned() } else { exit }
}

fn meanwhile(others: &[String]) -> String {
    others.iter().map(|other| format!("; {other}")).collect()
}

/// What a process said that was ended because it did not get ready.
fn said(status: &Status) -> String {
    let cause = status.last_words.cause();
    if cause.is_empty() { String::new() } else { format!(" ({cause})") }
}

impl From<RecordError> for Error {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Away(text) => Self::RecordAway(text),
            RecordError::Superseded { fence, current } => {
                Self::EpochSuperseded { fence, current: current.get() }
            }
            RecordError::Elsewhere(text) => Self::IncarnationElsewhere(text),
            // Only the intent of a process is refused for its incarnation, and its minder says so;
            // and a cluster that is not needed is refused where it is asked for.
            error @ (RecordError::IncarnationOver { .. } | RecordError::Unneeded(_)) => {
                Self::RecordRefused(error.to_string())
            }
            RecordError::Refused(text) | RecordError::Unknown(text) => Self::RecordRefused(text),
        }
    }
}
