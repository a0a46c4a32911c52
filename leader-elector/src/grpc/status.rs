//! The one place where errors become statuses.

use proto::{Problem, Reason};
use tonic::Status;

use crate::error::Error;

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Id(id) => Problem::new(Reason::IdMalformed, message.clone())
                .field(id.kind, message)
                .help(format!("it has to be {}", id.rule)),
            Error::Request { field, why } => {
                Problem::new(Reason::RequestInvalid, message).field(field, why)
            }
            Error::Ledger { path, full: true, .. } => Problem::new(Reason::StoreFull, message)
                .metadata("path", path.display())
                .help(format!("make room on the disk of {}", path.display())),
            Error::Ledger { path, .. } => {
                Problem::new(Reason::StoreUnavailable, message).metadata("path", path.display())
            }
            Error::LedgerDamaged { path, .. } => {
                tracing::error!("{message}");
                Problem::new(Reason::DataCorrupt, message).metadata("file", path.display())
            }
            Error::LedgerUnreadable { path, application, .. } => {
                tracing::error!("{message}");
                Problem::new(Reason::DataCorrupt, message)
                    .metadata("path", path.display())
                    .metadata("application_id", application)
            }
            Error::KeyUnreadable { key, .. } | Error::SeatUnreadable { key, .. } => {
                Problem::new(Reason::DataCorrupt, message).metadata("key", key)
            }
            Error::Etcd { full: true, .. } => Problem::new(Reason::StoreFull, message)
                .help("compact and defragment etcd or raise its quota, then clear its alarm"),
            Error::Etcd { .. } => Problem::new(Reason::StoreUnavailable, message),
            Error::HostNameTaken { host, by } => Problem::new(Reason::HostNameTaken, message)
                .metadata("host", host)
                .metadata("uid", by),
            Error::HostSuperseded { host } => {
                Problem::new(Reason::HostSuperseded, message).metadata("host", host)
            }
            Error::SeatFree { host } => {
                Problem::new(Reason::StoreUnavailable, message).metadata("host", host)
            }
            Error::ShuttingDown => Problem::new(Reason::StoreUnavailable, message),
            Error::Internal(what) => {
                tracing::error!("{what}");
                Problem::new(Reason::Internal, "the elector has a defect; its log says more")
            }
        }
        .into_status()
    }
}
