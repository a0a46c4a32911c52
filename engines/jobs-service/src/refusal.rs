//! Why a call is refused, and how that is said on the wire.

use client::error::CallError;
use proto::{InvalidId, JobId, Problem, Reason};
use tonic::Status;

use crate::orders::NotTaken;

/// Why a call is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The caller may not give orders here, or means another cluster.
    #[error(transparent)]
    NotTaken(#[from] NotTaken),
    /// An id is malformed.
    #[error(transparent)]
    Malformed(#[from] InvalidId),
    /// The job is not known to this cluster.
    #[error("job {0} is not known to this cluster")]
    UnknownJob(JobId),
    /// The engine cannot do it, and could not do it the next time either.
    #[error("{message}")]
    Never {
        /// The stable reason code.
        reason: Reason,
        /// The engine's explanation.
        message: String,
    },
    /// The engine cannot do it now, and may be able to later.
    #[error("{0}")]
    NotNow(String),
    /// The record did not answer, or refused.
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
            // A refusal of the store's own, such as that of an epoch which the store does not know,
            // is passed on as it is.
            Refusal::Record(error) => return error.status().clone(),
        }
        .into_status()
    }
}
