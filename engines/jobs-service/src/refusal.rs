//! Why a call is refused.

use client::error::CallError;
use proto::{InvalidId, JobId, Reason};

use crate::orders::NotTaken;

/// Why a call is refused.
#[derive(Debug, thiserror::Error)]
pub enum OrderRefusal {
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
