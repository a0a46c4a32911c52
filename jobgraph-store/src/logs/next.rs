//! The next lines for a reader: from memory if they are there, otherwise from a chunk.

use proto::{ApplicationRef, Digest};

use super::cursor::Cursor;
use super::{AppLog, LogState};
use crate::error::Error;
use crate::keys::Kind as _;
use crate::keys::log::{
    ChunkBody, LogChunk, LogHead, StoredLine, chunk_key, chunk_prefix, head_key,
};
use crate::model::Refusal;
use crate::service::Service;
use crate::store::Read;

/// How many bytes of lines travel together.
pub(super) const BATCH_BYTES: usize = 256 * 1024;

/// How often a chunk is looked up anew that was merged after its pointer was read and before its
/// lines were.
const LOOKED_UP: usize = 4;

/// Where a reader stands in the log of this store.
pub(super) struct Place {
    pub(super) cursor: Cursor,
    /// Lines up to this number were read, wanted or not.
    after: u64,
    /// Which numbering of the log the numbers beyond the durable ones are of.
    numbering: u64,
}

/// Lines for a reader.
pub(super) struct Lines {
    /// The lines, in the order of their numbers.
    pub(super) lines: Vec<StoredLine>,
    /// Lines up to this number have it for good.
    pub(super) durable: u64,
}

/// A chunk that a reader comes to.
struct Found {
    chunk: LogChunk,
    /// How many bytes of output were dropped for room.
    lost_bytes: u64,
}

impl Place {
    /// The place of a reader who comes with this cursor.
    pub(super) fn at(cursor: Cursor, log: &AppLog) -> Self {
        Self { after: cursor.line(), cursor, numbering: log.state().numbering }
    }

    /// The next lines that are in memory, which may be none, and the last durable number.
    fn in_memory(&mut self, log: &AppLog) -> Lines {
        let state = log.state();
        if self.numbering != state.numbering {
            // Lines that are not durable have other numbers now. The reader goes back to the last
            // durable line; the cursor knows what was shown beyond it.
            self.numbering = state.numbering;
            self.cursor.renumbered();
            self.after = self.cursor.line();
        }
        Lines { lines: state.lines_after(self.after), durable: state.durable_line }
    }

    /// Takes note of lines that the reader gets.
    fn passes(&mut self, found: Lines) -> Lines {
        self.cursor.settle(self.after, found.durable);
        self.after = found.lines.last().map_or(self.after, |line| line.number);
        found
    }
}

impl LogState {
    /// The lines after this one, if the next line is in memory.
    fn lines_after(&self, after: u64) -> Vec<StoredLine> {
        let Some(first) = self.tail.front().map(|(_, line)| line.number) else { return Vec::new() };
        let Some(begin) = after.saturating_add(1).checked_sub(first) else { return Vec::new() };
        let mut bytes = 0;
        let lines = self.tail.iter().map(|(_, line)| line);
        let next = lines.skip(usize::try_from(begin).unwrap_or(usize::MAX)).take_while(|line| {
            bytes += line.text.len();
            bytes <= 4 * BATCH_BYTES
        });
        next.cloned().collect()
    }
}

impl Service {
    /// The next lines; `None` if there are none yet.
    pub(super) async fn next_lines(
        &self,
        application: &ApplicationRef,
        log: &AppLog,
        place: &mut Place,
    ) -> Result<Option<Lines>, Error> {
        let mut looked_up = 0;
        loop {
            let known = place.in_memory(log);
            if !known.lines.is_empty() {
                return Ok(Some(place.passes(known)));
            }
            let (last_line, found) = self.chunk_after(application, place.after).await?;
            let is_known = |found: &Found| found.chunk.last_line <= known.durable;
            if last_line > known.durable && !found.as_ref().is_some_and(is_known) {
                // Another store has written lines. What is in memory goes behind them first, so
                // that the numbers beyond the chunk are those of the same log.
                self.catch_up(application, log, last_line).await?;
                continue;
            }
            let Some(Found { chunk, lost_bytes }) = found else {
                // The lines came, or left memory, in between; or there are none.
                let known = place.in_memory(log);
                return Ok((!known.lines.is_empty()).then(|| place.passes(known)));
            };
            let mut lines = match self.read_chunk(&chunk).await {
                Ok(lines) => lines,
                // The chunk was merged with others meanwhile, or dropped.
                Err(Error::Refused(Refusal::PayloadMissing(_))) if looked_up < LOOKED_UP => {
                    looked_up += 1;
                    continue;
                }
                Err(error) => return Err(error),
            };
            lines.retain(|line| line.number > place.after);
            if chunk.first_line > place.after + 1
                && let Some(first) = lines.first_mut()
            {
                first.lost_before += lost_bytes;
            }
            if lines.is_empty() {
                return Ok(None);
            }
            return Ok(Some(place.passes(Lines { lines, durable: known.durable })));
        }
    }

    /// The last line of the record, and the chunk with the first kept line after this one.
    async fn chunk_after(
        &self,
        application: &ApplicationRef,
        after: u64,
    ) -> Result<(u64, Option<Found>), Error> {
        let (prefix, key) = (chunk_prefix(application), chunk_key(application, after));
        let reads = vec![
            Read::Key(head_key(application)),
            // This read finds the chunk that holds the line, whose rest comes next; the line may
            // also be that chunk's last one.
            Read::Last { prefix: prefix.clone(), until: key.clone() },
            Read::Range { prefix, after: Some(key), limit: 1 },
        ];
        let view = self.metadata.read(reads, None).await?;
        let head: LogHead = crate::service::one(&view, 0)?.unwrap_or_default();
        for (_, stored) in view.answers[1..].iter().flatten() {
            let chunk = LogChunk::from_stored(&stored.value)?;
            if chunk.last_line > after {
                let found = Found { chunk, lost_bytes: head.lost_bytes };
                return Ok((head.last_line, Some(found)));
            }
        }
        Ok((head.last_line, None))
    }

    /// The lines of a chunk.
    pub(super) async fn read_chunk(&self, chunk: &LogChunk) -> Result<Vec<StoredLine>, Error> {
        let mut lines = if chunk.digest.is_empty() {
            ChunkBody::from_stored(&chunk.body)?.lines
        } else {
            let digest: Digest = chunk.digest.parse()?;
            ChunkBody::from_stored(&self.read_payload(digest).await?)?.lines
        };
        // The payload may have been put before the commit said which numbers its lines have.
        for (number, line) in (chunk.first_line..).zip(&mut lines) {
            line.number = number;
        }
        Ok(lines)
    }
}
