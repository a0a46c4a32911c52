//! Chunks of durable lines, as far as the writer and the merger of chunks have to know them.

use bytes::Bytes;
use proto::Digest;

/// How many chunks this store writes before it looks at those that other stores have written.
const LOOKS_AFTER: usize = 16;

/// One of the chunks that the record has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) first_line: u64,
    pub(super) stored_bytes: u64,
}

/// The chunks that the record has, as of a commit.
#[derive(Debug)]
pub(super) struct Known {
    /// The revision of the log's head. Each commit that changes chunks writes the head, so the
    /// chunks are as here for as long as the head is of this revision.
    pub(super) head: Option<u64>,
    /// All chunks, in their order.
    pub(super) chunks: Vec<Chunk>,
}

/// What the writer of chunks knows of those that there are.
#[derive(Debug)]
pub(super) struct Chunks {
    /// The chunks of the record; `None` once another store has changed them.
    pub(super) known: Option<Known>,
    /// How many chunks this store has written since it looked at the record's. To look means to
    /// read them all, so two stores that write in turns do not look after each chunk.
    pub(super) written: usize,
}

impl Default for Chunks {
    fn default() -> Self {
        Self { known: None, written: LOOKS_AFTER }
    }
}

impl Chunks {
    /// Notes a commit of this store, which found the head at `before` and put it at `after`: chunks
    /// up to the line `dropped_to` are gone, and `new` has come.
    pub(super) fn wrote(
        &mut self,
        before: Option<u64>,
        after: u64,
        dropped_to: u64,
        new: Option<Chunk>,
    ) {
        self.written += usize::from(new.is_some());
        self.known = self.known.take().filter(|known| known.head == before);
        if let Some(known) = &mut self.known {
            known.head = Some(after);
            known.chunks.retain(|chunk| chunk.first_line > dropped_to);
            known.chunks.extend(new);
        }
    }

    /// Whether the record's chunks are not known, and it is time to look at them.
    pub(super) fn have_to_be_looked_at(&self) -> bool {
        self.known.is_none() && self.written >= LOOKS_AFTER
    }
}

/// Where encoded lines are.
#[derive(Debug, Clone)]
pub(super) struct Body {
    /// The payload that the lines are in, if they are many.
    pub(super) digest: Option<Digest>,
    /// The lines themselves, if they are few.
    pub(super) inline: Bytes,
    pub(super) stored_bytes: u64,
}
