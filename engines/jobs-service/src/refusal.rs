//! Why a call is refused, and what goes over the wire of it.

use client::error::CallError;
use proto::{InvalidId, JobId, Problem, Reason};
use tonic::Status;

use crate::orders::NotTaken;

/// Why a call is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// By who called, or for whom.
    #[error(transparent)]
    NotTaken(#[from] NotTaken),
    /// An id that is none.
    #[error(transparent)]
    Malformed(#[from] InvalidId),
    /// The job is not known here.
    #[error("job {0} is not known to this cluster")]
    UnknownJob(JobId),
    /// The engine cannot do it, and could not the next time either.
    #[error("{message}")]
    Never {
        /// The stable code.
        reason: Reason,
        /// What the engine says.
        message: String,
    },
    /// The engine cannot do it now.
    #[error("{0}")]
    NotNow(String),
    /// The record did not answer as hoped.
    #[error(transparent)]
    Record(#[from] CallError),
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        let problem = |reason| Problem::new(reason, text);
        match refusal {
            Refusal::NotTaken(NotTaken::NotHere { .. }) => problem(Reason::IncarnationSuperseded),
            Refusal::NotTaken(NotTaken::NotAdopted(_)) => problem(Reason::NotAdopted),
            Refusal::NotTaken(NotTaken::Superseded { .. } | NotTaken::NotLeader(_)) => {
                problem(Reason::EpochSuperseded)
            }
            Refusal::Malformed(_) => problem(Reason::IdMalformed),
            Refusal::UnknownJob(_) => problem(Reason::JobNotFound),
            Refusal::Never { reason: reason @ Reason::SavepointUnsupported, .. } => problem(reason),
            Refusal::Never { reason, .. } => problem(reason),
            Refusal::NotNow(_) => problem(Reason::ClusterUnavailable),
            Refusal::Record(error) if error.is_retryable() || error.reason().is_none() => {
                problem(Reason::StoreUnavailable)
            }
            // A refusal of the store's own, such as an epoch that it does not know, is passed on as it is.
            Refusal::Record(error) => return error.status().clone(),
        }
        .into_status()
    }
}
