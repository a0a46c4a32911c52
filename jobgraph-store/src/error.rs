//! What can go wrong, in the caller's terms.

use chassis::tasks::TaskFailed;

use crate::blobs::BlobError;
use crate::model::Refusal;
use crate::store::StoreError;

/// A call that was not answered with a result.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// The record refuses it; nothing was changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Revisions that old are not kept.
    #[error("changes after revision {asked} are no longer kept; the oldest is {oldest}")]
    Compacted {
        /// What was asked for.
        asked: u64,
        /// What can be asked for.
        oldest: u64,
    },
    /// Too many others changed the same record at the same time; nothing was done.
    #[error("{0} is being changed by too many at once")]
    Contended(String),
    /// The record cannot be reached; nothing was done.
    #[error("the record is not available: {0}")]
    Unavailable(String),
    /// Cut off in the middle of a write.
    #[error("the outcome of the write is unknown: {0}")]
    Unknown(String),
    /// The disk is full or read-only; nothing was done.
    #[error("the record's disk is full or read-only: {0}")]
    Full(String),
    /// What is on the disk is not what was written there.
    #[error("{file} is damaged: {why}")]
    Damaged {
        /// The file.
        file: String,
        /// What was seen.
        why: String,
    },
    /// A defect of ours, or what another build has written.
    #[error("{0}")]
    Internal(String),
}

impl From<TaskFailed> for Error {
    fn from(failed: TaskFailed) -> Self {
        Self::Internal(failed.to_string())
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(why) => Self::Unavailable(why),
            StoreError::Unknown(why) => Self::Unknown(why),
            StoreError::Full(why) => Self::Full(why),
            StoreError::Compacted { asked, oldest } => Self::Compacted { asked, oldest },
            StoreError::TooLarge(why) => Self::Refused(Refusal::RequestInvalid(why)),
            StoreError::Damaged { file, why } => Self::Damaged { file, why },
            StoreError::Unreadable(why) => Self::Internal(why),
        }
    }
}

impl From<BlobError> for Error {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::Missing(digest) => Self::Refused(Refusal::PayloadMissing(vec![digest.to_string()])),
            BlobError::Damaged { file, why, .. } => Self::Damaged { file, why },
            BlobError::Full(why) => Self::Full(why),
            BlobError::Failed(why) => Self::Unavailable(why),
        }
    }
}

impl From<proto::InvalidId> for Error {
    fn from(error: proto::InvalidId) -> Self {
        Self::Refused(error.into())
    }
}
