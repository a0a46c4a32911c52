//! Taking output: lines go to memory at once, and to a chunk when there are enough of them or they
//! are old enough.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use chassis::tasks::{OwnedTask, owned};
use proto::{ApplicationRef, Place, jobgraph};
use tokio::sync::watch;

use super::lines::SourceLines;
use super::part::CHUNK_BYTES;
use super::{AppLog, LogState};
use crate::error::Error;
use crate::keys::log::{LogHead, head_key, source_key};
use crate::model::Refusal;
use crate::service::{Service, one};
use crate::store::Read;

/// How many bytes of lines wait in memory at most, when they cannot be made durable.
const MAX_PENDING_BYTES: usize = 8 * CHUNK_BYTES;

/// Numbers the streams, so that the latest stream of a source is the one that writes.
static WRITERS: AtomicU64 = AtomicU64::new(1);

/// One stream of output of one source.
///
/// The wire makes one for each call and finishes it however the call ends. Of several streams of
/// one source only the latest writes, so a shipper that reconnects need not wait until its old
/// stream has broken. Two stores may each have such a stream for a while; the record takes each
/// line from the one that is first.
pub struct Appender {
    service: Service,
    application: ApplicationRef,
    log: Arc<AppLog>,
    source: String,
    writer: u64,
    durable: watch::Receiver<u64>,
    /// The writing of chunks that has begun because lines were old enough.
    flushing: Option<OwnedTask<Result<(), Error>>>,
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
        if source.host.contains('/') || source.host.len() > Place::MAX_NAME_BYTES {
            return Err(
                Refusal::RequestInvalid(format!("{:?} is no name of a host", source.host)).into()
            );
        }
        let log = self.log_of(application).await?;
        let name = source_key(application, source).to_string();
        let writer = WRITERS.fetch_add(1, Ordering::Relaxed);
        let durable = log.durable.subscribe();
        let offset = {
            // The source may have gone on at another store, so the record is asked each time. The
            // log learns of the lines that are there by then, because the lines that the stream
            // brings come after them.
            let _alone = log.flushing.lock().await;
            let recorded = self.recorded(application, &log, Some(&name), 0).await?;
            log.learn(&recorded);
            let mut state = log.state();
            let lines = state.sources.entry(name.clone());
            let begun = || SourceLines::new(source, &recorded.source(&name));
            lines.or_insert_with(begun).attach(writer)
        };
        let appender = Appender {
            service: self.clone(),
            application: application.clone(),
            log,
            source: name,
            writer,
            durable,
            flushing: None,
        };
        Ok((appender, offset))
    }

    /// The log of a generation, which is opened if it is not open.
    pub(super) async fn log_of(&self, application: &ApplicationRef) -> Result<Arc<AppLog>, Error> {
        if let Some(log) = self.logs.get(application) {
            return Ok(log);
        }
        let view = self.metadata.read(vec![Read::Key(head_key(application))], None).await?;
        let head: LogHead = one(&view, 0)?.unwrap_or_default();
        let new = Arc::new(AppLog::new(head.last_line));
        Ok(self.logs.all().entry(application.clone()).or_insert(new).clone())
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

    /// The offset up to which the record has all output of the source.
    pub fn acknowledged(&self) -> u64 {
        self.log.state().sources.get(&self.source).map_or(0, SourceLines::acknowledged)
    }

    /// Waits until lines became durable, through this stream or another, and makes lines durable
    /// when they are old enough.
    pub async fn durable(&mut self) -> Result<(), Error> {
        let Self { service, application, log, durable, flushing, .. } = self;
        let old_enough = async {
            let task = match flushing {
                Some(task) => task,
                None => {
                    let since = log.state().pending_since;
                    let Some(since) = since else { return std::future::pending().await };
                    let due = since + service.logs.chunk_after;
                    // A sleep gives the thread back even if its instant is past, and then the
                    // caller's next message may come first each time.
                    if service.clock.boot() < due {
                        service.clock.sleep_until(due).await;
                    }
                    // What has begun goes on when the caller turns to its next message. Messages
                    // that come faster than the record takes a chunk would cut it each time.
                    let (service, application, log) =
                        (service.clone(), application.clone(), log.clone());
                    flushing.insert(owned("flush of output", async move {
                        service.flush_due(&application, &log).await
                    }))
                }
            };
            let flushed = task.await.map_err(Error::from).flatten();
            *flushing = None;
            flushed
        };
        tokio::select! {
            changed = durable.changed() => changed.map_err(|_| Error::Unavailable("the log is closed".into())),
            flushed = old_enough => flushed,
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
        let Self { service, application, log, source, writer, durable, flushing } = self;
        if let Some(flushing) = flushing {
            // The task has the log open. Its lines are written by now, or will not be.
            let _ = flushing.await;
        }
        if flushed.is_ok() {
            log.state().sources.retain(|name, lines| *name != source || lines.writer != writer);
        }
        drop((log, durable));
        service.logs.close(&application);
        flushed
    }
}
