//! The one place where a [`PortError`] becomes a status.

use proto::{Problem, Reason};
use tonic::Status;

use crate::error::{PortError, PortErrorKind};

/// A call that has to wait for another leader or for the store is answered `STORE_UNAVAILABLE`,
/// because a program waits and asks again on that reason.
impl From<PortError> for Status {
    fn from(error: PortError) -> Self {
        match (error.kind, error.reason) {
            (PortErrorKind::Refused, Some(reason)) if reason != Reason::Internal => {
                Problem::new(reason, error.message).into_status()
            }
            (PortErrorKind::Refused, _) => {
                tracing::error!("{error}");
                Status::internal(error.message)
            }
            (PortErrorKind::Away | PortErrorKind::Superseded(_), _) => {
                Problem::new(Reason::StoreUnavailable, error.message).into_status()
            }
        }
    }
}
