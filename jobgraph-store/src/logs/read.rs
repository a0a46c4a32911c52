//! Reading output: from payloads and from memory, in the order of line numbers, and on as it comes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use chassis::tasks::{Feed, fed};
use futures::Stream;
use proto::{ApplicationId, ApplicationRef, Digest, api};

use super::AppLog;
use crate::error::Error;
use crate::keys::Kind as _;
use crate::keys::generation::{GenerationState, state_key};
use crate::keys::log::{ChunkBody, LogChunk, LogHead, StoredLine, chunk_key, chunk_prefix, head_key};
use crate::model::Refusal;
use crate::service::Service;
use crate::store::{Read, Stored};

/// Bytes of lines that travel together.
const BATCH_BYTES: usize = 256 * 1024;

/// Batches on their way to a reader.
const ROOM: usize = 4;

/// Which lines are wanted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogFilter {
    /// Empty: all roles.
    pub roles: Vec<String>,
    /// Only of this execution of main(); 0: all.
    pub attempt: u64,
    /// Seen at or after.
    pub since: Option<SystemTime>,
    /// Seen before.
    pub until: Option<SystemTime>,
    /// Only the last so many; 0: all.
    pub tail: usize,
    /// Go on as lines come, until the application is clean.
    pub follow: bool,
}

impl LogFilter {
    fn passes(&self, line: &StoredLine) -> bool {
        let nanos = |time: SystemTime| {
            let since = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
            i64::try_from(since).unwrap_or(i64::MAX)
        };
        (self.roles.is_empty() || self.roles.contains(&line.role))
            && (self.attempt == 0 || (line.role == "main" && line.source_number == self.attempt))
            && self.since.is_none_or(|since| line.unix_nanos >= nanos(since))
            && self.until.is_none_or(|until| line.unix_nanos < nanos(until))
    }
}

/// The number of a line as a cursor.
pub fn cursor(number: u64) -> String {
    format!("{number:x}")
}

/// A reader of a generation's log, however the reading ends: what it opened is closed.
struct Reading {
    service: Service,
    application: ApplicationRef,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.service.logs.close(&self.application);
    }
}

impl Service {
    /// Lines after a cursor (empty: from the beginning), in batches.
    pub async fn read_logs(
        &self,
        id: &ApplicationId,
        generation: u64,
        after: &str,
        filter: LogFilter,
    ) -> Result<impl Stream<Item = Result<Vec<api::LogLine>, Error>> + Send + 'static + use<>, Error> {
        let application = self.resolve(id, generation).await?;
        self.load(&application, None).await?;
        let malformed =
            || Refusal::RequestInvalid(format!("{after:?} is not a cursor that this service gave out"));
        let after =
            if after.is_empty() { 0 } else { u64::from_str_radix(after, 16).map_err(|_| malformed())? };
        let reading = Reading { service: self.clone(), application };
        Ok(fed("log", ROOM, move |feed| async move {
            let Reading { service, application } = &reading;
            let log = service.log_of(application).await?;
            service.feed_logs(application, &log, after, &filter, &feed).await
        }))
    }

    async fn feed_logs(
        &self,
        application: &ApplicationRef,
        log: &Arc<AppLog>,
        mut after: u64,
        filter: &LogFilter,
        feed: &Feed<Vec<api::LogLine>>,
    ) -> Result<(), Error> {
        let mut last = log.last.subscribe();
        let mut revisions = self.metadata.revisions();
        let mut tail = (filter.tail > 0).then(VecDeque::new);
        let (mut clean, mut asked_at) = (false, None);
        loop {
            last.borrow_and_update();
            let revision = *revisions.borrow_and_update();
            // Asked before lines are read: what was written before clean is read below. It changes with the record, not with each line.
            if asked_at.replace(revision) != Some(revision) {
                clean = self.is_clean_now(application).await?;
            }
            while let Some(lines) = self.lines_after(application, log, after).await? {
                after = lines.last().map_or(after, |line| line.number);
                let wanted = lines.into_iter().filter(|line| filter.passes(line));
                match &mut tail {
                    Some(kept) => {
                        kept.extend(wanted);
                        kept.drain(..kept.len().saturating_sub(filter.tail));
                    }
                    None => send(feed, wanted).await,
                }
            }
            if let Some(kept) = tail.take() {
                send(feed, kept.into_iter()).await;
            }
            let over = filter.until.is_some_and(|until| until <= self.clock.wall());
            if !filter.follow || clean || over {
                return Ok(());
            }
            tokio::select! {
                changed = last.changed() => changed.map_err(|_| Error::Unavailable("the log is closed".into()))?,
                changed = self.changed(application, &mut revisions, revision) => changed?,
            }
        }
    }

    async fn is_clean_now(&self, application: &ApplicationRef) -> Result<bool, Error> {
        let view = self.metadata.read(vec![Read::Key(state_key(application))], None).await?;
        Ok(crate::service::one::<GenerationState>(&view, 0)?.is_some_and(|state| state.application().clean))
    }

    /// The next lines; `None` if there are none yet.
    async fn lines_after(
        &self,
        application: &ApplicationRef,
        log: &AppLog,
        after: u64,
    ) -> Result<Option<Vec<StoredLine>>, Error> {
        if let Some(lines) = in_memory(log, after) {
            return Ok(Some(lines));
        }
        let Some((chunk, lost_bytes)) = self.chunk_after(application, after).await? else {
            // It became durable and left memory in between, or there is none.
            return Ok(in_memory(log, after));
        };
        let mut lines = self.read_chunk(&chunk).await?;
        lines.retain(|line| line.number > after);
        if chunk.first_line > after + 1
            && let Some(first) = lines.first_mut()
        {
            first.lost_before += lost_bytes;
        }
        Ok(if lines.is_empty() { None } else { Some(lines) })
    }

    /// The chunk with the first line after this one that is kept, and how many bytes of output were dropped for room.
    async fn chunk_after(
        &self,
        application: &ApplicationRef,
        after: u64,
    ) -> Result<Option<(LogChunk, u64)>, Error> {
        // Whoever reads on stands at the end of a chunk: the next one begins with the next line.
        let next = Read::Range {
            prefix: chunk_prefix(application),
            after: Some(chunk_key(application, after)),
            limit: 1,
        };
        let view = self.metadata.read(vec![Read::Key(head_key(application)), next], None).await?;
        let head: LogHead = crate::service::one(&view, 0)?.unwrap_or_default();
        let decode = |stored: &Stored| LogChunk::from_stored(&stored.value);
        let next = view.answers[1].first().map(|(_, stored)| decode(stored)).transpose()?;
        if next.as_ref().is_some_and(|chunk| chunk.first_line == after + 1) || after == 0 {
            return Ok(next.map(|chunk| (chunk, head.lost_bytes)));
        }
        // A cursor in the middle of a chunk: the first one that ends after it.
        let view = self.metadata.read(vec![Read::all(chunk_prefix(application))], None).await?;
        for (_, stored) in &view.answers[0] {
            let chunk = decode(stored)?;
            if chunk.last_line > after {
                return Ok(Some((chunk, head.lost_bytes)));
            }
        }
        Ok(None)
    }

    async fn read_chunk(&self, chunk: &LogChunk) -> Result<Vec<StoredLine>, Error> {
        let digest: Digest = chunk.digest.parse()?;
        Ok(ChunkBody::from_stored(&self.blobs.read_whole(digest).await?)?.lines)
    }
}

/// The lines after this one, if the next one is in memory.
fn in_memory(log: &AppLog, after: u64) -> Option<Vec<StoredLine>> {
    let state = log.state();
    let first = state.tail.front()?.1.number;
    if first > after + 1 {
        return None;
    }
    let begin = usize::try_from(after + 1 - first).ok()?;
    let mut bytes = 0;
    let lines = state.tail.iter().skip(begin).map(|(_, line)| line.clone()).take_while(|line| {
        bytes += line.text.len();
        bytes <= 4 * BATCH_BYTES
    });
    Some(lines.collect::<Vec<_>>()).filter(|lines| !lines.is_empty())
}

async fn send(feed: &Feed<Vec<api::LogLine>>, lines: impl Iterator<Item = StoredLine>) {
    let mut batch = Vec::new();
    let mut bytes = 0;
    for line in lines {
        bytes += line.text.len();
        batch.push(shown(line));
        if bytes >= BATCH_BYTES {
            bytes = 0;
            feed.send(std::mem::take(&mut batch)).await;
        }
    }
    if !batch.is_empty() {
        feed.send(batch).await;
    }
}

fn shown(line: StoredLine) -> api::LogLine {
    let (seconds, nanos) =
        (line.unix_nanos.div_euclid(1_000_000_000), line.unix_nanos.rem_euclid(1_000_000_000));
    api::LogLine {
        cursor: cursor(line.number),
        at: Some(prost_types::Timestamp { seconds, nanos: i32::try_from(nanos).unwrap_or(0) }),
        role: line.role,
        number: line.source_number,
        stream: if line.stderr { "stderr" } else { "stdout" }.into(),
        text: line.text,
        partial: line.partial,
        lost_before: line.lost_before,
    }
}
