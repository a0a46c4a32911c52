//! Chunks of durable lines, as far as who writes and merges them has to know.

use bytes::Bytes;
use proto::Digest;

/// One of the chunks that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) first_line: u64,
    pub(super) stored_bytes: u64,
}

/// Where encoded lines are.
pub(super) struct Body {
    /// In this payload.
    pub(super) digest: Option<Digest>,
    /// Or in place.
    pub(super) inline: Bytes,
    pub(super) stored_bytes: u64,
}
