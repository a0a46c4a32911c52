//! What can go wrong, in the caller's terms.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chassis::status::Problem;
use proto::{InvalidId, Reason};
use tonic::{Code, Status};

/// How soon a caller may try again after a disk has failed or the elector has ended.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// Why a call was refused or failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An id in the request is malformed.
    #[error("{0}")]
    Id(#[from] InvalidId),
    /// The request lacks a part or contradicts itself.
    #[error("{field}: {why}")]
    Request {
        /// The field's path.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The elector's own disk failed: nothing was granted or resigned.
    #[error("the elector cannot write {}: {why}", path.display())]
    Ledger {
        /// The file.
        path: PathBuf,
        /// What the disk said.
        why: String,
        /// No space, or a read-only file system.
        full: bool,
    },
    /// What the elector once wrote cannot be read: it will not guess an epoch.
    #[error("the elector's record of {application} in {} is unreadable: {why}", path.display())]
    LedgerUnreadable {
        /// The file.
        path: PathBuf,
        /// Whose record.
        application: String,
        /// What is wrong with it.
        why: String,
    },
    /// The elector is ending; another one will answer.
    #[error("the elector is shutting down")]
    ShuttingDown,
    /// A defect of ours.
    #[error("{0}")]
    Internal(String),
}

impl Error {
    /// A failed read or write of the file at `path`.
    pub(crate) fn ledger(path: &Path, error: redb::Error) -> Self {
        let kind = match &error {
            redb::Error::Io(error) => Some(error.kind()),
            _ => None,
        };
        let full = matches!(
            kind,
            Some(
                std::io::ErrorKind::StorageFull
                    | std::io::ErrorKind::ReadOnlyFilesystem
                    | std::io::ErrorKind::QuotaExceeded
            )
        );
        Self::Ledger { path: path.to_owned(), why: error.to_string(), full }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Id(id) => Problem::new(Code::InvalidArgument, Reason::IdMalformed, message.clone())
                .field(id.kind, message)
                .help(format!("it has to be {}", id.rule)),
            Error::Request { field, why } => {
                Problem::new(Code::InvalidArgument, Reason::RequestInvalid, message).field(field, why)
            }
            Error::Ledger { path, full: true, .. } => {
                Problem::new(Code::ResourceExhausted, Reason::StoreFull, message)
                    .metadata("path", path.display())
                    .help(format!("make room on the disk of {}", path.display()))
                    .retry_after(RETRY_AFTER)
            }
            Error::Ledger { path, .. } => Problem::new(Code::Unavailable, Reason::StoreUnavailable, message)
                .metadata("path", path.display())
                .retry_after(RETRY_AFTER),
            Error::LedgerUnreadable { path, application, .. } => {
                tracing::error!("{message}");
                Problem::new(Code::Internal, Reason::Internal, message)
                    .metadata("path", path.display())
                    .metadata("application_id", application)
            }
            Error::ShuttingDown => {
                Problem::new(Code::Unavailable, Reason::StoreUnavailable, message).retry_after(RETRY_AFTER)
            }
            Error::Internal(what) => {
                tracing::error!("{what}");
                Problem::new(Code::Internal, Reason::Internal, "the elector has a defect; its log says more")
            }
        }
        .into_status()
    }
}
