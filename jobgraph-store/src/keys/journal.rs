//! `…/journal/<key>`: the value of one `once(key, …)`. The key is the last part and may hold any bytes.

use bytes::Bytes;
use proto::ApplicationRef;

use super::Kind;
use crate::store::Key;

/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 256;

/// The largest value, in bytes.
pub const MAX_VALUE_BYTES: usize = 32 * 1024;

/// A step that is done.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct JournalEntry {
    /// Its value.
    #[prost(bytes = "bytes", tag = "1")]
    pub value: Bytes,
    /// The attempt that kept it.
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
}

impl Kind for JournalEntry {
    const NAME: &'static str = "journal entry";
}

/// Where the step's value is.
pub fn key(application: &ApplicationRef, step: &str) -> Key {
    super::of_generation(application, &format!("journal/{step}"))
}
