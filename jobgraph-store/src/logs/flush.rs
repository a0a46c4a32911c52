//! From memory to the record: lines that are not durable become a chunk, together with the states
//! of their sources.
//!
//! Several stores may do so with one generation. The head of the log is compared in each commit, so
//! of two chunks that would have the same numbers one is not committed. Its store then learns what
//! the other one has written, and tries again with other numbers. A conflict therefore means that
//! another store has got on, and pauses with jitter keep stores from meeting again and again.

use std::time::Duration;

use bytes::Bytes;
use chassis::backoff::Backoff;
use proto::{ApplicationRef, Digest};

use super::AppLog;
use super::chunk::{Body, Chunk, Chunks};
use super::part::Part;
use crate::error::Error;
use crate::keys::Kind as _;
use crate::keys::generation::spec_key;
use crate::keys::log::{ChunkBody, LogChunk, StoredLine, chunk_key, head_key};
use crate::keys::payload::{self, Use};
use crate::model::Refusal;
use crate::service::Service;
use crate::store::{Commit, Compare, Key, Operation, Transaction};

/// A chunk with fewer bytes is kept in the record itself: a word now and then is not worth a
/// payload.
const INLINE_BYTES: usize = 8 * 1024;

/// How often a chunk is written anew when another writer changed what its commit compares.
const TRIES: usize = 16;

/// The shortest and the longest pause before a chunk is written anew.
const RETRY: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(200));

/// How many chunks are dropped in one commit.
const DROPPED_AT_ONCE: usize = 24;

/// The lines of a part where a chunk can point to them.
struct Prepared {
    lines: Vec<StoredLine>,
    body: Body,
    /// What a commit has to compare and to put so that it may point to the body.
    pointer: Transaction,
}

impl Service {
    /// Makes all lines of all applications durable, before the process ends.
    pub async fn flush_logs(&self) -> Result<(), Error> {
        let logs: Vec<_> = self
            .logs
            .all()
            .iter()
            .map(|(application, log)| (application.clone(), log.clone()))
            .collect();
        for (application, log) in logs {
            self.flush(&application, &log).await?;
        }
        Ok(())
    }

    /// Makes all lines of one generation durable that are not. Lines that come meanwhile wait for
    /// their own time.
    pub(super) async fn flush(
        &self,
        application: &ApplicationRef,
        log: &AppLog,
    ) -> Result<(), Error> {
        let mut chunks = log.flushing.lock().await;
        self.flush_all(application, log, &mut chunks).await
    }

    /// Makes lines durable if they are old enough by the time that no other task writes. Each
    /// stream of a generation asks for this at the same time.
    pub(super) async fn flush_due(
        &self,
        application: &ApplicationRef,
        log: &AppLog,
    ) -> Result<(), Error> {
        let mut chunks = log.flushing.lock().await;
        let due = log.state().pending_since.map(|since| since + self.logs.chunk_after);
        if due.is_some_and(|due| due <= self.clock.boot()) {
            self.flush_all(application, log, &mut chunks).await?;
        }
        Ok(())
    }

    async fn flush_all(
        &self,
        application: &ApplicationRef,
        log: &AppLog,
        chunks: &mut Chunks,
    ) -> Result<(), Error> {
        let mut backoff = Backoff::new(RETRY.0, RETRY.1);
        let (mut tries, mut prepared, mut more) = (0, None, true);
        while more && log.state().has_work() {
            match self.flush_some(application, log, chunks, &mut prepared).await {
                Ok(left) => {
                    (tries, prepared, more) = (0, None, left);
                    backoff.reset();
                }
                Err(Error::Contended(_)) if tries < TRIES => {
                    tries += 1;
                    self.clock.sleep(backoff.next_delay()).await;
                }
                Err(error) => {
                    // The lines that wait are tried again after the time that new lines wait.
                    log.state().wait_again(self.clock.boot());
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Writes one chunk; answers whether it left lines for the next one. `prepared` has what an
    /// earlier try for the same lines has put.
    async fn flush_some(
        &self,
        application: &ApplicationRef,
        log: &AppLog,
        chunks: &mut Chunks,
        prepared: &mut Option<Prepared>,
    ) -> Result<bool, Error> {
        let recorded = self.recorded(application, log, None, DROPPED_AT_ONCE).await?;
        let Some(spec) = recorded.spec else {
            return Err(Refusal::Forgotten(application.clone()).into());
        };
        log.learn(&recorded);
        // Another store may have kept all that was to be written.
        let Some(part) = Part::of(&mut log.state()) else { return Ok(false) };
        let more = part.leaves_some;
        let mut head = recorded.head;
        let mut transaction = Transaction::default();
        transaction
            .compares
            .push(Compare { key: head_key(application), revision: recorded.head_revision });
        // The generation may be forgotten meanwhile; then no output of it may be written again.
        transaction.compares.push(Compare { key: spec_key(application), revision: Some(spec) });
        let mut put = |key, value| transaction.operations.push(Operation::Put(key, value));
        for (source, _, state) in &part.sources {
            put(Key::from(source.clone()), state.to_stored());
        }
        let mut new = None;
        if !part.lines.is_empty() {
            // Bytes that are put already are not put again. A store whose payloads take long would
            // otherwise always come after one that writes often.
            let ready = match prepared.take().filter(|earlier| earlier.serves(&part)) {
                Some(earlier) => earlier,
                None => self.prepare(application, &part).await?,
            };
            let Prepared { body: Body { digest, inline, stored_bytes }, pointer, .. } =
                &*prepared.insert(ready);
            let (first_line, stored_bytes) = (head.last_line + 1, *stored_bytes);
            head.last_line += part.lines.len() as u64;
            head.kept_bytes += stored_bytes;
            let chunk = LogChunk {
                digest: digest.map(|digest| digest.to_string()).unwrap_or_default(),
                first_line,
                last_line: head.last_line,
                bytes: part.lines.iter().map(|line| line.text.len() as u64).sum(),
                lost_bytes: part.lines.iter().map(|line| line.lost_before).sum(),
                stored_bytes,
                body: inline.clone(),
            };
            put(chunk_key(application, first_line), chunk.to_stored());
            transaction.compares.extend(pointer.compares.iter().cloned());
            transaction.operations.extend(pointer.operations.iter().cloned());
            new = Some(Chunk { first_line, stored_bytes });
        }
        let (mut dropped, mut dropped_to) = (Vec::new(), 0);
        for (key, stored) in &recorded.oldest {
            if head.kept_bytes <= self.logs.kept_bytes {
                break;
            }
            let chunk = LogChunk::from_stored(&stored.value)?;
            head.kept_bytes -= chunk.stored_bytes.min(head.kept_bytes);
            // What was lost before the chunk's lines is lost with them: the first line that is kept
            // tells of all that was lost.
            head.lost_bytes += chunk.bytes + chunk.lost_bytes;
            transaction.operations.push(Operation::Delete(key.clone()));
            dropped_to = chunk.last_line;
            if !chunk.digest.is_empty() {
                let digest: Digest = chunk.digest.parse()?;
                let reference = payload::reference_key(digest, application, Use::Log);
                transaction.operations.push(Operation::Delete(reference));
                dropped.push(digest);
            }
        }
        transaction.operations.push(Operation::Put(head_key(application), head.to_stored()));
        match self.commit(transaction).await? {
            Commit::Committed(revision) => {
                part.stored(log, self.clock.boot());
                chunks.wrote(recorded.head_revision, revision, dropped_to, new);
            }
            Commit::Conflict(key) => {
                if key != head_key(application) {
                    // The mark of the payload has moved, so the payload has to be looked for again.
                    *prepared = None;
                }
                return Err(Error::Contended(key.to_string()));
            }
        }
        for digest in dropped {
            self.sweep(digest).await?;
        }
        if let Err(error) = self.merge_chunks(application, chunks).await {
            // The chunks stay as they are until later ones come; the lines that had to be durable
            // are.
            tracing::debug!(%error, %application, "chunks of output are not merged");
            chunks.known = None;
        }
        Ok(more)
    }

    /// Puts the lines of a part where a chunk can point to them.
    async fn prepare(&self, application: &ApplicationRef, part: &Part) -> Result<Prepared, Error> {
        let lines = part.lines.clone();
        let encoded = ChunkBody { application: application.to_string(), lines };
        let body = self.put_lines(encoded.to_stored()).await?;
        let mut pointer = Transaction::default();
        let pointers = body.digest.map(|digest| (digest, Use::Log)).into_iter().collect();
        self.point(application, pointers, &mut pointer).await?;
        Ok(Prepared { lines: encoded.lines, body, pointer })
    }

    /// Keeps encoded lines: in the record itself if they are few, otherwise in a payload.
    pub(super) async fn put_lines(&self, body: Bytes) -> Result<Body, Error> {
        let stored_bytes = body.len() as u64;
        if body.len() < INLINE_BYTES {
            return Ok(Body { digest: None, inline: body, stored_bytes });
        }
        Ok(Body { digest: Some(self.put_bytes(body).await?), inline: Bytes::new(), stored_bytes })
    }
}

impl Prepared {
    /// Whether a chunk of these lines may point to what was put. Only the numbers of the lines may
    /// be others, which a reader takes from the chunk. Lines in the record itself cost nothing to
    /// write anew.
    fn serves(&self, part: &Part) -> bool {
        self.body.digest.is_some()
            && self.lines.len() == part.lines.len()
            && self.lines.iter().zip(&part.lines).all(|(earlier, line)| {
                *earlier == StoredLine { number: earlier.number, ..line.clone() }
            })
    }
}
