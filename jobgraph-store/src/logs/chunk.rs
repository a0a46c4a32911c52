//! Chunks of durable lines, as far as the writer and the merger of chunks have to know them.

use bytes::Bytes;
use proto::Digest;

/// One of the chunks that the record has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) first_line: u64,
    pub(super) stored_bytes: u64,
}

/// Where encoded lines are.
pub(super) struct Body {
    /// The payload that the lines are in, if they are many.
    pub(super) digest: Option<Digest>,
    /// The lines themselves, if they are few.
    pub(super) inline: Bytes,
    pub(super) stored_bytes: u64,
}
