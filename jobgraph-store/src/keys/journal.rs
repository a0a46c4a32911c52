//! `…/journal/<key>`: the value of one `once(key, …)`. The program's key is the last part and may
//! hold any bytes.

use bytes::Bytes;
use proto::ApplicationRef;

use super::Kind;
use crate::store::Key;

/// The longest key that a program may give a step, in bytes.
pub const MAX_KEY_BYTES: usize = 256;

/// The largest value of a step, in bytes.
pub const MAX_VALUE_BYTES: usize = 32 * 1024;

/// A step that main() has done.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct JournalEntry {
    /// The value that the step came to.
    #[prost(bytes = "bytes", tag = "1")]
    pub value: Bytes,
    /// The attempt that kept it.
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
}

impl Kind for JournalEntry {
    const NAME: &'static str = "journal entry";
}

/// The key of a step's value.
pub fn key(application: &ApplicationRef, step: &str) -> Key {
    super::of_generation(application, &format!("journal/{step}"))
}
