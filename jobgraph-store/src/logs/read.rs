//! Reading output: from chunks and from memory, in the order of line numbers, and on as lines come.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use chassis::tasks::{Feed, fed};
use futures::Stream;
use proto::{ApplicationId, ApplicationRef, Digest, api};

use super::AppLog;
use super::cursor::Cursor;
use crate::error::Error;
use crate::keys::Kind as _;
use crate::keys::generation::{GenerationState, state_key};
use crate::keys::log::{
    ChunkBody, LogChunk, LogHead, StoredLine, chunk_key, chunk_prefix, head_key,
};
use crate::model::Refusal;
use crate::service::Service;
use crate::store::Read;

/// How many bytes of lines travel together.
const BATCH_BYTES: usize = 256 * 1024;

/// How many batches are on their way to a reader.
const ROOM: usize = 4;

/// How often a chunk is looked up anew that was merged after its pointer was read and before its
/// lines were.
const LOOKED_UP: usize = 4;

/// Which lines the reader wants.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogFilter {
    /// The roles whose lines are wanted; empty: all roles.
    pub roles: Vec<String>,
    /// The execution of main() whose lines alone are wanted; 0: all lines.
    pub attempt: u64,
    /// Lines that were seen at this time or later.
    pub since: Option<SystemTime>,
    /// Lines that were seen before this time.
    pub until: Option<SystemTime>,
    /// How many of the last lines are wanted; 0: all lines.
    pub tail: usize,
    /// Whether to go on as lines come, until the application is clean.
    pub follow: bool,
}

impl LogFilter {
    /// Whether the line is of a source that the reader wants.
    fn is_wanted(&self, line: &StoredLine) -> bool {
        (self.roles.is_empty() || self.roles.contains(&line.role))
            && (self.attempt == 0 || (line.role == "main" && line.source_number == self.attempt))
    }

    /// Whether the line was seen in the time that the reader wants.
    fn is_in_time(&self, line: &StoredLine) -> bool {
        let nanos = |time: SystemTime| {
            let since = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
            i64::try_from(since).unwrap_or(i64::MAX)
        };
        self.since.is_none_or(|since| line.unix_nanos >= nanos(since))
            && self.until.is_none_or(|until| line.unix_nanos < nanos(until))
    }
}

/// One reading of a generation's log. However the reading ends, the log that it opened is closed.
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
    /// Lines after a cursor, in batches; an empty cursor reads from the beginning.
    pub async fn read_logs(
        &self,
        id: &ApplicationId,
        generation: u64,
        after: &str,
        filter: LogFilter,
    ) -> Result<impl Stream<Item = Result<Vec<api::LogLine>, Error>> + Send + 'static + use<>, Error>
    {
        let application = self.resolve(id, generation).await?;
        self.load(&application, None).await?;
        let malformed = || {
            Refusal::RequestInvalid(format!("{after:?} is not a cursor that this service gave out"))
        };
        let at = if after.is_empty() {
            Cursor::default()
        } else {
            after.parse().map_err(|_| malformed())?
        };
        let reading = Reading { service: self.clone(), application };
        Ok(fed("log", ROOM, move |feed| async move {
            let Reading { service, application } = &reading;
            let log = service.log_of(application).await?;
            service.feed_logs(application, &log, at, &filter, &feed).await
        }))
    }

    async fn feed_logs(
        &self,
        application: &ApplicationRef,
        log: &Arc<AppLog>,
        mut at: Cursor,
        filter: &LogFilter,
        feed: &Feed<Vec<api::LogLine>>,
    ) -> Result<(), Error> {
        let mut after = at.line();
        let mut last = log.last.subscribe();
        let mut revisions = self.metadata.revisions();
        let mut tail = (filter.tail > 0).then(VecDeque::new);
        let (mut clean, mut asked_at) = (false, None);
        loop {
            last.borrow_and_update();
            let revision = *revisions.borrow_and_update();
            // The question is asked before lines are read, so that the lines that were written
            // before clean are read below. The answer changes with the record, not with each line.
            if asked_at.replace(revision) != Some(revision) {
                clean = self.is_clean_now(application).await?;
            }
            while let Some(lines) = self.lines_after(application, log, after).await? {
                let durable = *log.durable.borrow();
                at.settle(after, durable);
                after = lines.last().map_or(after, |line| line.number);
                let wanted = lines.into_iter().filter(|line| filter.is_wanted(line));
                let new = wanted.filter_map(|line| {
                    let is_new = at.pass(&line, durable) && filter.is_in_time(&line);
                    is_new.then(|| shown(line, at.to_string()))
                });
                match &mut tail {
                    Some(kept) => {
                        kept.extend(new);
                        kept.drain(..kept.len().saturating_sub(filter.tail));
                    }
                    None => send(feed, new).await,
                }
            }
            if let Some(kept) = tail.take() {
                send(feed, kept).await;
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
        Ok(crate::service::one::<GenerationState>(&view, 0)?
            .is_none_or(|state| state.application().clean))
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
        let mut looked_up = 0;
        let (chunk, lost_bytes, mut lines) = loop {
            let Some((chunk, lost_bytes)) = self.chunk_after(application, after).await? else {
                // The line became durable and left memory in between, or there is no such line.
                return Ok(in_memory(log, after));
            };
            match self.read_chunk(&chunk).await {
                Ok(lines) => break (chunk, lost_bytes, lines),
                // The chunk was merged with others meanwhile, or dropped.
                Err(Error::Refused(Refusal::PayloadMissing(_))) if looked_up < LOOKED_UP => {
                    looked_up += 1
                }
                Err(error) => return Err(error),
            }
        };
        lines.retain(|line| line.number > after);
        if chunk.first_line > after + 1
            && let Some(first) = lines.first_mut()
        {
            first.lost_before += lost_bytes;
        }
        Ok(if lines.is_empty() { None } else { Some(lines) })
    }

    /// The chunk with the first kept line after this one, and how many bytes of output were dropped
    /// for room.
    async fn chunk_after(
        &self,
        application: &ApplicationRef,
        after: u64,
    ) -> Result<Option<(LogChunk, u64)>, Error> {
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
                return Ok(Some((chunk, head.lost_bytes)));
            }
        }
        Ok(None)
    }

    /// The lines of a chunk.
    pub(super) async fn read_chunk(&self, chunk: &LogChunk) -> Result<Vec<StoredLine>, Error> {
        if chunk.digest.is_empty() {
            return Ok(ChunkBody::from_stored(&chunk.body)?.lines);
        }
        let digest: Digest = chunk.digest.parse()?;
        Ok(ChunkBody::from_stored(&self.read_payload(digest).await?)?.lines)
    }
}

/// The lines after this one, if the next line is in memory.
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

async fn send(feed: &Feed<Vec<api::LogLine>>, lines: impl IntoIterator<Item = api::LogLine>) {
    let mut batch = Vec::new();
    let mut bytes = 0;
    for line in lines {
        bytes += line.text.len();
        batch.push(line);
        if bytes >= BATCH_BYTES {
            bytes = 0;
            feed.send(std::mem::take(&mut batch)).await;
        }
    }
    if !batch.is_empty() {
        feed.send(batch).await;
    }
}

fn shown(line: StoredLine, cursor: String) -> api::LogLine {
    let (seconds, nanos) =
        (line.unix_nanos.div_euclid(1_000_000_000), line.unix_nanos.rem_euclid(1_000_000_000));
    api::LogLine {
        cursor,
        at: Some(prost_types::Timestamp { seconds, nanos: i32::try_from(nanos).unwrap_or(0) }),
        role: line.role,
        number: line.source_number,
        stream: if line.stderr { "stderr" } else { "stdout" }.into(),
        text: line.text,
        partial: line.partial,
        lost_before: line.lost_before,
    }
}
