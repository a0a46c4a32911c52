//! What can go wrong, in the caller's terms.

use chassis::tasks::TaskFailed;

use crate::blobs::BlobError;
use crate::model::Refusal;
use crate::store::StoreError;

/// Why a call was not answered with a result, in one enum for all verbs of the service.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// The record refuses the call; nothing was changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Changes after so old a revision are no longer kept.
    #[error("changes after revision {asked} are no longer kept; the oldest is {oldest}")]
    Compacted {
        /// The revision that was asked for.
        asked: u64,
        /// The oldest revision that can be asked for.
        oldest: u64,
    },
    /// Too many other writers changed the same record at the same time; nothing was done.
    #[error("{0} is being changed by too many at once")]
    Contended(String),
    /// The record cannot be reached; nothing was done.
    #[error("the record is not available: {0}")]
    Unavailable(String),
    /// The connection to the record broke in the middle of a write.
    #[error("the outcome of the write is unknown: {0}")]
    Unknown(String),
    /// The disk is full or read-only; nothing was done.
    #[error("the record's disk is full or read-only: {0}")]
    Full(String),
    /// The bytes on the disk are not those that were written there.
    #[error("{file} is damaged: {why}")]
    Damaged {
        /// The damaged file.
        file: String,
        /// What the reader saw.
        why: String,
    },
    /// The record holds what only a newer build reads.
    #[error("the record is for a newer build: {0}")]
    Newer(String),
    /// The store has a defect, or cannot read what is in the record.
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
            StoreError::Newer(why) => Self::Newer(why),
            StoreError::Unreadable(why) => Self::Internal(why),
        }
    }
}

impl From<BlobError> for Error {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::Missing(digest) => {
                Self::Refused(Refusal::PayloadMissing(vec![digest.to_string()]))
            }
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
