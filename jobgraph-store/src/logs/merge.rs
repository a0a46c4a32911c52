//! Small chunks become larger ones, because a stream that says a word now and then would otherwise
//! have a key for each word. Sixteen chunks of a size become one, so that a line is written again a
//! few times in all, and not once for each line that follows.

use std::ops::Range;

use bytes::Bytes;
use proto::{ApplicationRef, Digest};

use super::chunk::{Body, Chunk, Chunks, Known};
use crate::error::Error;
use crate::keys::Kind as _;
use crate::keys::log::{ChunkBody, LogChunk, LogHead, chunk_key, chunk_prefix, head_key};
use crate::keys::payload::{self, Use};
use crate::service::{Service, one, revision_of};
use crate::store::{Commit, Compare, Operation, Read, Transaction};

/// Chunks below such a size, in bytes, are merged with their like; larger chunks are left alone.
const SIZES: [u64; 2] = [8 * 1024, 64 * 1024];

/// So many chunks of a size become one.
const FAN_IN: usize = 16;

/// How many chunks are merged in one commit at most.
const MERGED_AT_ONCE: usize = 32;

/// A merged chunk is at most one part in so many of what is kept, so that dropping the oldest chunk
/// drops little.
const PART_OF_KEPT: u64 = 64;

/// Which chunks are to become one; none if the range is empty. The oldest of the latest ones come
/// first, so that none is left behind where several stores have written many before one looks.
fn to_merge(chunks: &[Chunk], kept_bytes: u64) -> Range<usize> {
    let limit = kept_bytes / PART_OF_KEPT;
    let mut smaller = 0;
    for size in SIZES {
        let small = chunks.iter().rev().take_while(|chunk| chunk.stored_bytes < size).count();
        let begin = chunks.len() - small;
        let (mut bytes, mut count, mut like) = (0, 0, 0);
        for chunk in chunks[begin..].iter().take(MERGED_AT_ONCE) {
            bytes += chunk.stored_bytes;
            if bytes > limit {
                break;
            }
            count += 1;
            like += usize::from(chunk.stored_bytes >= smaller);
        }
        if like >= FAN_IN {
            return begin..begin + count;
        }
        smaller = size;
    }
    0..0
}

impl Service {
    /// All chunks of a generation.
    pub(super) async fn known_chunks(&self, application: &ApplicationRef) -> Result<Known, Error> {
        let reads = vec![Read::all(chunk_prefix(application)), Read::Key(head_key(application))];
        let view = self.metadata.read(reads, None).await?;
        let known = |stored: &Bytes| {
            let LogChunk { first_line, stored_bytes, .. } = LogChunk::from_stored(stored)?;
            Ok(Chunk { first_line, stored_bytes })
        };
        let chunks: Result<_, Error> =
            view.answers[0].iter().map(|(_, stored)| known(&stored.value)).collect();
        Ok(Known { head: revision_of(&view, 1), chunks: chunks? })
    }

    /// Makes one chunk of the latest ones, if there are enough of a size. Only the writer of this
    /// generation's chunks may call this. What is merged are neighbours: if another store has
    /// changed the chunks since this one looked at them, nothing is done.
    pub(super) async fn merge_chunks(
        &self,
        application: &ApplicationRef,
        chunks: &mut Chunks,
    ) -> Result<(), Error> {
        if chunks.have_to_be_looked_at() {
            chunks.known = Some(self.known_chunks(application).await?);
            chunks.written = 0;
        }
        let Some(known) = &mut chunks.known else { return Ok(()) };
        let merged = to_merge(&known.chunks, self.logs.kept_bytes);
        if merged.is_empty() {
            return Ok(());
        }
        let mut reads = vec![Read::Key(head_key(application))];
        reads.extend(
            known.chunks[merged.clone()]
                .iter()
                .map(|chunk| Read::Key(chunk_key(application, chunk.first_line))),
        );
        let view = self.metadata.read(reads, None).await?;
        let revision = revision_of(&view, 0);
        if revision != known.head {
            chunks.known = None;
            return Ok(());
        }
        let mut head: LogHead = one(&view, 0)?.unwrap_or_default();
        let mut whole = LogChunk::default();
        let mut body = ChunkBody { application: application.to_string(), lines: Vec::new() };
        let mut transaction = Transaction::default();
        transaction.compares.push(Compare { key: head_key(application), revision });
        let mut replaced: Vec<Digest> = Vec::new();
        for (key, stored) in view.answers[1..].iter().flatten() {
            let chunk = LogChunk::from_stored(&stored.value)?;
            body.lines.extend(self.read_chunk(&chunk).await?);
            if whole.first_line == 0 {
                whole.first_line = chunk.first_line;
            } else {
                transaction.operations.push(Operation::Delete(key.clone()));
            }
            whole.last_line = chunk.last_line;
            whole.bytes += chunk.bytes;
            whole.lost_bytes += chunk.lost_bytes;
            head.kept_bytes = head.kept_bytes.saturating_sub(chunk.stored_bytes);
            if !chunk.digest.is_empty() {
                let digest = chunk.digest.parse()?;
                let reference = payload::reference_key(digest, application, Use::Log);
                transaction.operations.push(Operation::Delete(reference));
                replaced.push(digest);
            }
        }
        let Body { digest, inline, stored_bytes } = self.put_lines(body.to_stored()).await?;
        (whole.stored_bytes, whole.body) = (stored_bytes, inline);
        whole.digest = digest.map(|digest| digest.to_string()).unwrap_or_default();
        head.kept_bytes += stored_bytes;
        let first_line = whole.first_line;
        transaction
            .operations
            .push(Operation::Put(chunk_key(application, first_line), whole.to_stored()));
        transaction.operations.push(Operation::Put(head_key(application), head.to_stored()));
        let pointers = digest.map(|digest| (digest, Use::Log)).into_iter().collect();
        self.point(application, pointers, &mut transaction).await?;
        match self.commit(transaction).await? {
            Commit::Committed(revision) => known.head = Some(revision),
            Commit::Conflict(key) => return Err(Error::Contended(key.to_string())),
        }
        known.chunks.splice(merged, [Chunk { first_line, stored_bytes }]);
        for digest in replaced {
            self.sweep(digest).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: u64 = 64 * 1024 * 1024;

    fn add(chunks: &mut Vec<Chunk>, first_line: u64, stored_bytes: u64) -> u64 {
        chunks.push(Chunk { first_line, stored_bytes });
        let merged = to_merge(chunks, KEPT);
        if merged.is_empty() {
            return 0;
        }
        let stored_bytes = chunks[merged.clone()].iter().map(|chunk| chunk.stored_bytes).sum();
        let first_line = chunks[merged.start].first_line;
        chunks.splice(merged, [Chunk { first_line, stored_bytes }]);
        stored_bytes
    }

    #[test]
    fn a_day_of_a_line_every_five_seconds_is_a_few_dozen_chunks_and_each_line_is_written_a_few_times()
     {
        let (mut chunks, mut rewritten) = (Vec::new(), 0);
        for line in 0..17_280 {
            rewritten += add(&mut chunks, line + 1, 150);
        }
        assert!(chunks.len() < 80, "{} chunks", chunks.len());
        let written = 17_280 * 150;
        assert!(
            rewritten < 6 * written,
            "each byte was written {} times again",
            rewritten / written
        );
        assert!(chunks.is_sorted_by_key(|chunk| chunk.first_line));
    }

    #[test]
    fn large_chunks_are_left_alone_and_a_merged_one_is_a_small_part_of_what_is_kept() {
        let many = |stored_bytes| vec![Chunk { first_line: 1, stored_bytes }; 40];
        assert_eq!(to_merge(&many(64 * 1024), KEPT), 0..0);
        assert_eq!(to_merge(&many(60 * 1024), KEPT), 0..17, "a megabyte of 64");
        assert_eq!(to_merge(&many(1000), 40_000), 0..0);
    }

    #[test]
    fn many_small_chunks_that_came_before_the_store_looked_are_merged_oldest_first() {
        let (large, small) = (9_000, 100);
        let of = |(first_line, stored_bytes)| Chunk { first_line, stored_bytes };
        let chunks: Vec<Chunk> =
            (1..=60).zip([large].into_iter().chain([small; 59])).map(of).collect();
        assert_eq!(to_merge(&chunks, KEPT), 1..33);
    }
}
