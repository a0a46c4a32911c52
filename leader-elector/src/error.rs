//! What can go wrong, in the caller's terms.

use std::path::PathBuf;

use proto::{InvalidId, PlaceUid};
use redb_file::FileError;

/// Why a call was refused or failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An id in the request is malformed.
    #[error("{0}")]
    Id(#[from] InvalidId),
    /// The request lacks a part or contradicts itself.
    #[error("{field}: {why}")]
    Request {
        /// The path of the field.
        field: &'static str,
        /// What is wrong with the field.
        why: String,
    },
    /// The elector's own disk failed: nothing was granted or resigned.
    #[error("the elector cannot write {}: {why}", path.display())]
    Ledger {
        /// The file that could not be written.
        path: PathBuf,
        /// What the disk said.
        why: String,
        /// The disk has no space, or its file system is read-only.
        full: bool,
    },
    /// The elector's own file is not what was written to it, and the elector does not guess who
    /// leads. Without the file nothing is lost for good, because a contender enters with the epoch
    /// that the record knows.
    #[error(
        "the elector's ledger {} is damaged: {why}; restore it from a copy, or end the host and remove it: epochs go on above \
         those in the record",
        path.display()
    )]
    LedgerDamaged {
        /// The damaged file.
        path: PathBuf,
        /// What was seen in it.
        why: String,
    },
    /// A grant that the elector once wrote cannot be read, and the elector does not guess an epoch.
    #[error("the elector's record of {application} in {} is unreadable: {why}", path.display())]
    LedgerUnreadable {
        /// The file that holds the grant.
        path: PathBuf,
        /// The application whose grant is unreadable.
        application: String,
        /// What is wrong with the grant.
        why: String,
    },
    /// A key of an election on etcd cannot be read, and the elector does not guess who leads.
    #[error(
        "the key {key} on etcd is unreadable: {why}; end the application's contenders and remove \
         it (etcdctl del {key}): epochs go on above those in the record"
    )]
    KeyUnreadable {
        /// The name of the key.
        key: String,
        /// What is wrong with its value.
        why: String,
    },
    /// The key of a host's seat on etcd cannot be read, and the elector does not guess whose the
    /// seat is.
    #[error(
        "the key {key} on etcd is unreadable: {why}; remove it (etcdctl del {key}): its host \
         attends again by itself"
    )]
    SeatUnreadable {
        /// The name of the key.
        key: String,
        /// What is wrong with its value.
        why: String,
    },
    /// Another host has the seat of this name.
    #[error("another host has the name {host}: the uid of its place is {by}")]
    HostNameTaken {
        /// The name.
        host: String,
        /// The uid of the host that has the seat.
        by: PlaceUid,
    },
    /// Another stream of the same host has the seat.
    #[error("another process attends as {host}")]
    HostSuperseded {
        /// The name of the host.
        host: String,
    },
    /// The host has lost its seat, and may take it again.
    #[error("{host} has no seat any more: no renewal came for a lease; attend again")]
    SeatFree {
        /// The name of the host.
        host: String,
    },
    /// etcd, which keeps the grants, does not do as asked.
    #[error("{why}")]
    Etcd {
        /// What etcd said, or that it did not answer.
        why: String,
        /// etcd has no room.
        full: bool,
    },
    /// The elector is ending; another one will answer.
    #[error("the elector is shutting down")]
    ShuttingDown,
    /// A defect of the elector.
    #[error("{0}")]
    Internal(String),
}

impl From<FileError> for Error {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Damaged { path, why } => Self::LedgerDamaged { path, why },
            FileError::Full { path, why } => Self::Ledger { path, why, full: true },
            FileError::Failed { path, why } => Self::Ledger { path, why, full: false },
            FileError::InUse { path } => {
                Self::Ledger { path, why: "another process has it open".to_owned(), full: false }
            }
        }
    }
}
