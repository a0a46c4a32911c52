//! Taking output: lines go to memory at once, and to a chunk when there are enough of them or they
//! are old enough.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use chassis::clock::Boot;
use proto::{ApplicationRef, Digest, jobgraph};
use tokio::sync::watch;

use super::chunk::{Body, Chunk};
use super::lines::SourceLines;
use super::{AppLog, LogState};
use crate::error::Error;
use crate::keys::Kind as _;
use crate::keys::generation::spec_key;
use crate::keys::log::{
    ChunkBody, LogChunk, LogHead, SourceState, StoredLine, chunk_key, chunk_prefix, head_key,
    source_key,
};
use crate::keys::payload::{self, Use};
use crate::model::Refusal;
use crate::service::Service;
use crate::store::{Commit, Compare, Key, Operation, Read, Transaction};

/// How long lines wait for a chunk at most.
const CHUNK_AFTER: Duration = Duration::from_secs(5);

/// So many bytes of lines become a chunk at once.
const CHUNK_BYTES: usize = 1024 * 1024;

/// How many bytes of lines wait in memory at most, when they cannot be made durable.
const MAX_PENDING_BYTES: usize = 8 * CHUNK_BYTES;

/// A chunk with fewer bytes is kept in the record itself: a word now and then is not worth a
/// payload.
const INLINE_BYTES: usize = 8 * 1024;

/// How often a chunk is written anew when another writer changed what its commit compares.
const TRIES: usize = 8;

/// How many chunks are dropped in one commit.
const DROPPED_AT_ONCE: usize = 24;

/// The states of how many sources are written in one commit.
const SOURCES_AT_ONCE: usize = 48;

/// Numbers the streams, so that the latest stream of a source is the one that writes.
static WRITERS: AtomicU64 = AtomicU64::new(1);

/// One stream of output of one source.
///
/// The wire makes one for each call and finishes it however the call ends. Of several streams of
/// one source only the latest writes, so a shipper that reconnects need not wait until its old
/// stream has broken.
pub struct Appender {
    service: Service,
    application: ApplicationRef,
    log: Arc<AppLog>,
    source: String,
    writer: u64,
    durable: watch::Receiver<u64>,
}

impl Service {
    /// Begins to take output of a source; answers the offset that the caller goes on from.
    pub async fn append_logs(
        &self,
        application: &ApplicationRef,
        source: &jobgraph::LogSource,
    ) -> Result<(Appender, u64), Error> {
        self.load(application, None).await?;
        if source.role.is_empty() || source.role.contains('/') {
            return Err(
                Refusal::RequestInvalid(format!("{:?} is no name of a role", source.role)).into()
            );
        }
        let log = self.log_of(application).await?;
        let key = source_key(application, source);
        let name = key.to_string();
        if !log.state().sources.contains_key(&name) {
            let view = self.metadata.read(vec![Read::Key(key)], None).await?;
            let state: SourceState = crate::service::one(&view, 0)?.unwrap_or_default();
            let lines = SourceLines::new(source, &state);
            log.state().sources.entry(name.clone()).or_insert(lines);
        }
        let writer = WRITERS.fetch_add(1, Ordering::Relaxed);
        let durable = log.durable.subscribe();
        let offset = {
            let mut state = log.state();
            let lines = state
                .sources
                .get_mut(&name)
                .ok_or_else(|| Error::Internal(format!("{name} vanished")))?;
            lines.attach(writer)
        };
        let appender = Appender {
            service: self.clone(),
            application: application.clone(),
            log,
            source: name,
            writer,
            durable,
        };
        Ok((appender, offset))
    }

    /// The log of a generation, which is opened if it is not open.
    pub(super) async fn log_of(&self, application: &ApplicationRef) -> Result<Arc<AppLog>, Error> {
        if let Some(log) = self.logs.get(application) {
            return Ok(log);
        }
        let view = self.metadata.read(vec![Read::Key(head_key(application))], None).await?;
        let head: LogHead = crate::service::one(&view, 0)?.unwrap_or_default();
        let new = Arc::new(AppLog::new(head.last_line));
        Ok(self.logs.all().entry(application.clone()).or_insert(new).clone())
    }

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

    /// Makes all lines of one generation durable that are not.
    async fn flush(&self, application: &ApplicationRef, log: &AppLog) -> Result<(), Error> {
        let mut chunks = log.flushing.lock().await;
        let mut tries = 0;
        loop {
            match self.flush_some(application, log, &mut chunks).await {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) => {
                    // Another writer has written, or nothing can be written.
                    *chunks = None;
                    tries += 1;
                    if !matches!(error, Error::Contended(_)) || tries >= TRIES {
                        // The lines that wait are tried again after the time that new lines wait.
                        log.state().wait_again(self.clock.boot());
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Writes one chunk. `true`: more lines wait.
    async fn flush_some(
        &self,
        application: &ApplicationRef,
        log: &AppLog,
        chunks: &mut Option<Vec<Chunk>>,
    ) -> Result<bool, Error> {
        let Some(part) = Part::of(&mut log.state()) else { return Ok(false) };
        let known = match chunks {
            Some(known) => known,
            None => chunks.insert(self.known_chunks(application).await?),
        };
        let reads = vec![
            Read::Key(head_key(application)),
            Read::Range { prefix: chunk_prefix(application), after: None, limit: DROPPED_AT_ONCE },
            Read::Key(spec_key(application)),
        ];
        let view = self.metadata.read(reads, None).await?;
        let Some(spec) = crate::service::revision_of(&view, 2) else {
            return Err(Refusal::Forgotten(application.clone()).into());
        };
        let mut head: LogHead = crate::service::one(&view, 0)?.unwrap_or_default();
        let mut transaction = Transaction::default();
        transaction.compares.push(Compare {
            key: head_key(application),
            revision: crate::service::revision_of(&view, 0),
        });
        // The generation may be forgotten meanwhile; then no output of it may be written again.
        transaction.compares.push(Compare { key: spec_key(application), revision: Some(spec) });
        let mut put = |key, value| transaction.operations.push(Operation::Put(key, value));
        let (mut pointers, mut new) = (Vec::new(), None);
        if let (Some(first), Some(last)) = (part.lines.first(), part.lines.last()) {
            let (first_line, last_line) = (first.number, last.number);
            let bytes = part.lines.iter().map(|line| line.text.len() as u64).sum();
            let lost_bytes = part.lines.iter().map(|line| line.lost_before).sum();
            let body =
                ChunkBody { application: application.to_string(), lines: part.lines.clone() };
            let Body { digest, inline, stored_bytes } = self.put_lines(body.to_stored()).await?;
            pointers.extend(digest.map(|digest| (digest, Use::Log)));
            let chunk = LogChunk {
                digest: digest.map(|digest| digest.to_string()).unwrap_or_default(),
                first_line,
                last_line,
                bytes,
                lost_bytes,
                stored_bytes,
                body: inline,
            };
            put(chunk_key(application, first_line), chunk.to_stored());
            head.kept_bytes += stored_bytes;
            head.last_line = last_line;
            new = Some(Chunk { first_line, stored_bytes });
        }
        for (source, _, state) in &part.sources {
            put(Key::from(source.clone()), state.to_stored());
        }
        let (mut dropped, mut dropped_to) = (Vec::new(), 0);
        for (key, stored) in &view.answers[1] {
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
        self.point(application, pointers, &mut transaction).await?;
        match self.commit(transaction).await? {
            Commit::Committed(_) => part.stored(log, self.clock.boot()),
            Commit::Conflict(key) => return Err(Error::Contended(key.to_string())),
        }
        known.retain(|chunk| chunk.first_line > dropped_to);
        known.extend(new);
        for digest in dropped {
            self.sweep(digest).await?;
        }
        if let Err(error) = self.merge_chunks(application, known).await {
            // The chunks stay as they are until the next one comes; the lines that had to be
            // durable are.
            tracing::debug!(%error, %application, "chunks of output are not merged");
            *chunks = None;
        }
        Ok(log.state().pending_bytes > 0)
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

/// Lines that become one chunk, and the states that their sources have once the chunk is written.
struct Part {
    lines: Vec<StoredLine>,
    /// For each source: its key, the position of its last line among these, and its state.
    sources: Vec<(String, u64, SourceState)>,
    bytes: usize,
}

impl Part {
    /// The oldest lines that are not durable; `None` if nothing is to be written.
    fn of(state: &mut LogState) -> Option<Self> {
        let mut part = Self { lines: Vec::new(), sources: Vec::new(), bytes: 0 };
        let mut last: Vec<(String, u64)> = Vec::new();
        let durable = state.durable_line;
        for (source, line) in state.tail.iter().filter(|(_, line)| line.number > durable) {
            let sources = last.len();
            let known = last.iter_mut().find(|(known, _)| known == source);
            if part.bytes >= CHUNK_BYTES || (known.is_none() && sources >= SOURCES_AT_ONCE) {
                break;
            }
            match known {
                Some((_, position)) => *position = line.position,
                None => last.push((source.clone(), line.position)),
            }
            part.bytes += LogState::cost(line);
            part.lines.push(line.clone());
        }
        for (name, position) in last {
            if let Some(source) = state.sources.get_mut(&name) {
                source.advance();
                part.sources.push((name, position, source.state_after(position)));
            }
        }
        // A source may have become complete, or have reached a boundary, without a line.
        for (name, source) in &mut state.sources {
            if part.sources.len() >= SOURCES_AT_ONCE {
                break;
            }
            source.advance();
            if source.is_dirty() && !part.sources.iter().any(|(known, ..)| known == name) {
                part.sources.push((name.clone(), 0, source.state_after(0)));
            }
        }
        (!part.sources.is_empty()).then_some(part)
    }

    fn stored(self, log: &AppLog, now: Boot) {
        let mut state = log.state();
        for (name, position, written) in &self.sources {
            if let Some(source) = state.sources.get_mut(name) {
                source.stored(*position, written);
            }
        }
        if let Some(last) = self.lines.last() {
            state.durable_line = last.number;
        }
        state.pending_bytes -= self.bytes.min(state.pending_bytes);
        // Lines that came meanwhile wait for their own time.
        state.wait_again(now);
        state.trim();
        let durable = state.durable_line;
        drop(state);
        log.durable.send_replace(durable);
    }
}

impl Appender {
    /// Takes chunks; answers whether this stream is still the one that writes its source.
    pub async fn take(
        &self,
        chunks: &[jobgraph::OutputChunk],
        complete: bool,
    ) -> Result<bool, Error> {
        if self.log.state().pending_bytes >= MAX_PENDING_BYTES {
            // The disk has been full for a while: no more is taken before some of the waiting lines
            // are kept.
            self.flush().await?;
        }
        let now =
            self.service.clock.wall().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let full = {
            let mut state = self.log.state();
            let state = &mut *state;
            let Some(source) =
                state.sources.get_mut(&self.source).filter(|source| source.writer == self.writer)
            else {
                return Ok(false);
            };
            let mut lines = Vec::new();
            for chunk in chunks {
                source.take(chunk, &mut lines);
            }
            if complete {
                source.complete(now, &mut lines);
            }
            for mut line in lines {
                state.last_line += 1;
                line.number = state.last_line;
                let cost = LogState::cost(&line);
                state.tail_bytes += cost;
                state.pending_bytes += cost;
                state.pending_since.get_or_insert(self.service.clock.boot());
                state.tail.push_back((self.source.clone(), line));
            }
            self.log.last.send_replace(state.last_line);
            state.pending_bytes >= CHUNK_BYTES
        };
        if full || complete {
            self.flush().await?;
        }
        Ok(true)
    }

    /// The offset up to which all output of the source is durable.
    pub fn acknowledged(&self) -> u64 {
        let mut state = self.log.state();
        state.sources.get_mut(&self.source).map_or(0, |source| source.acknowledged())
    }

    /// Waits until lines became durable, through this stream or another, and makes lines durable
    /// when they are old enough.
    pub async fn durable(&mut self) -> Result<(), Error> {
        let due = self.log.state().pending_since.map(|since| since + CHUNK_AFTER);
        let clock = self.service.clock.clone();
        let flush = async move {
            match due {
                Some(due) => clock.sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = self.durable.changed() => changed.map_err(|_| Error::Unavailable("the log is closed".into())),
            () = flush => self.flush().await,
        }
    }

    /// Makes all lines of the generation durable that are not.
    pub async fn flush(&self) -> Result<(), Error> {
        self.service.flush(&self.application, &self.log).await
    }

    /// Ends the stream. Its lines become durable; if that fails, the log may be dropped from memory
    /// with them, and the shipper brings them again.
    pub async fn finish(self) -> Result<(), Error> {
        let flushed = self.flush().await;
        let Self { service, application, log, durable, .. } = self;
        drop((log, durable));
        service.logs.close(&application);
        flushed
    }
}
