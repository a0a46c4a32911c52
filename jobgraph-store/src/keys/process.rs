//! `x/<key>`: intents and tombstones of processes, as the lifecycle of each host names them. The
//! third part of a key is the uid of the host; in what an older build has written there is none.

use proto::{ApplicationRef, jobgraph};

use super::Kind;
use crate::store::Key;

/// A process, and when it was first recorded.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StoredProcess {
    /// The process as lifecycle wrote it.
    #[prost(message, optional, tag = "1")]
    pub process: Option<jobgraph::Process>,
    /// When the process's key was first put, in nanoseconds since 1970.
    #[prost(uint64, tag = "2")]
    pub first_put: u64,
}

impl Kind for StoredProcess {
    const NAME: &'static str = "process";
}

/// The key of a process.
pub fn key(name: &str) -> Key {
    format!("x/{name}").into()
}

/// The beginning of the names of a generation's processes.
pub fn of_generation(application: &ApplicationRef) -> String {
    format!("{}/{}/", application.id, application.generation)
}
