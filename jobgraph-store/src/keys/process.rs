//! `x/<key>`: intents and tombstones of processes, as lifecycle names them.

use proto::{ApplicationRef, jobgraph};

use super::Kind;
use crate::store::Key;

/// A process and when it was first recorded.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StoredProcess {
    /// As lifecycle wrote it.
    #[prost(message, optional, tag = "1")]
    pub process: Option<jobgraph::Process>,
    /// When its key was first put, nanoseconds since 1970.
    #[prost(uint64, tag = "2")]
    pub first_put: u64,
}

impl Kind for StoredProcess {
    const NAME: &'static str = "process";
}

/// Where a process is.
pub fn key(name: &str) -> Key {
    format!("x/{name}").into()
}

/// What the names of a generation's processes begin with.
pub fn of_generation(application: &ApplicationRef) -> String {
    format!("{}/{}/", application.id, application.generation)
}
