//! Output of main() and of roles. Lines are kept in memory at once, for followers, and in chunks
//! soon after. Every line of a generation has a number, in the order in which lines become durable,
//! and a position in its source.
//!
//! Several stores may write one record, each the output of its own host. The commit of a chunk
//! gives its lines their numbers for good: the head of the log is compared, and whichever store
//! comes second reads the head again, numbers its lines behind those of the first, and commits once
//! more. So all stores and all readers have one order of lines, and the format of the record knows
//! of no store. Until then a line is known by its source and position: `recorded.rs` says how a
//! store learns what other stores have written, `cursor.rs` what that means to readers.

mod append;
mod chunk;
mod cursor;
mod flush;
mod lines;
mod merge;
mod next;
mod part;
mod read;
mod recorded;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chassis::clock::Boot;
use proto::ApplicationRef;
use tokio::sync::watch;

use crate::keys::log::StoredLine;
use chunk::Chunks;
use lines::SourceLines;

pub use append::Appender;
pub use read::LogFilter;

/// Durable lines stay in memory up to so many bytes.
const TAIL_BYTES: usize = 128 * 1024;

/// How many bytes of chunks are kept of one generation; the oldest chunk is dropped beyond that.
const KEPT_BYTES: u64 = 64 * 1024 * 1024;

/// What a line costs beside its text, in bytes of memory.
const LINE_OVERHEAD: usize = 64;

/// How long lines wait for a chunk at most, where all readers read from this store's memory.
const CHUNK_AFTER: Duration = Duration::from_secs(5);

/// How long lines wait for a chunk at most, where another store may have a reader. That reader sees
/// a line only once the line is durable. An application that always prints costs a commit a second
/// for each host that it prints on; one that prints a line now and then costs what it costs anyway.
const SHARED_CHUNK_AFTER: Duration = Duration::from_secs(1);

/// The output that is being written or followed.
///
/// A generation's log is opened by its first writer or reader and closed by its last one. What the
/// log holds beside the record is either lost without harm or shipped again, because only durable
/// lines are acknowledged. The value is cheap to clone, and all clones are one.
#[derive(Debug, Clone)]
pub struct Logs {
    open: Arc<Mutex<HashMap<ApplicationRef, Arc<AppLog>>>>,
    kept_bytes: u64,
    chunk_after: Duration,
}

impl Default for Logs {
    fn default() -> Self {
        Self::keeping(KEPT_BYTES)
    }
}

/// The open log of one generation.
#[derive(Debug)]
struct AppLog {
    state: Mutex<LogState>,
    /// The number of the last line, which followers wait on.
    last: watch::Sender<u64>,
    /// The number of the last durable line, which acknowledgements wait on.
    durable: watch::Sender<u64>,
    /// The lock of the one task that writes chunks, or that brings this log to the state of the
    /// record, and what it knows of the chunks that there are.
    flushing: tokio::sync::Mutex<Chunks>,
}

/// What is in memory of a generation's output.
///
/// The numbers in `tail` have no gap. No line that is not durable here is among the lines of the
/// record up to `durable_line`, and those that the record has of its source before it are. So a
/// reader who has the record up to there, and the lines of `tail` after it, has each line once and
/// in its order.
#[derive(Debug, Default)]
struct LogState {
    /// The last number that a line was given.
    last_line: u64,
    /// The last number whose line is in a chunk, as far as this store knows.
    durable_line: u64,
    /// How often lines that are not durable got other numbers.
    numbering: u64,
    /// The latest lines, each with its source; all lines that are not durable are among them.
    tail: VecDeque<(String, StoredLine)>,
    /// What the lines in `tail` cost, in bytes.
    tail_bytes: usize,
    /// What the lines that are not durable cost, in bytes.
    pending_bytes: usize,
    /// When the first line that is not durable came.
    pending_since: Option<Boot>,
    /// The state of each source that is being shipped, by the source's key.
    sources: BTreeMap<String, SourceLines>,
}

impl AppLog {
    fn new(last_line: u64) -> Self {
        let state = LogState { last_line, durable_line: last_line, ..Default::default() };
        Self {
            state: Mutex::new(state),
            last: watch::Sender::new(last_line),
            durable: watch::Sender::new(last_line),
            flushing: tokio::sync::Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, LogState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogState {
    fn cost(line: &StoredLine) -> usize {
        line.text.len() + LINE_OVERHEAD
    }

    /// Whether something has to be written to the record.
    fn has_work(&self) -> bool {
        self.pending_bytes > 0 || self.sources.values().any(SourceLines::is_dirty)
    }

    /// Lets the lines that wait for a chunk wait from now on.
    fn wait_again(&mut self, now: Boot) {
        self.pending_since = (self.pending_bytes > 0).then_some(now);
    }

    /// Forgets durable lines beyond what is kept for followers.
    fn trim(&mut self) {
        while self.tail_bytes > TAIL_BYTES
            && let Some((_, first)) = self.tail.front()
            && first.number <= self.durable_line
        {
            self.tail_bytes -= Self::cost(first);
            self.tail.pop_front();
        }
    }

    /// Numbers the lines that are not durable behind `last_line`, the last line of the record.
    /// Lines that another store has kept meanwhile are left out, because they are among those of
    /// the record. `false`: the record has no line that this store does not know.
    fn renumber(&mut self, last_line: u64) -> bool {
        if last_line <= self.durable_line {
            return false;
        }
        let Self { tail, sources, durable_line, .. } = self;
        tail.retain(|(source, line)| {
            let kept = sources.get(source).is_some_and(|source| source.has_durable(line.position));
            line.number > *durable_line && !kept
        });
        let mut number = last_line;
        for (_, line) in tail.iter_mut() {
            number += 1;
            line.number = number;
        }
        self.tail_bytes = self.tail.iter().map(|(_, line)| Self::cost(line)).sum();
        self.pending_bytes = self.tail_bytes;
        self.pending_since = self.pending_since.filter(|_| self.pending_bytes > 0);
        (self.durable_line, self.last_line) = (last_line, number);
        self.numbering += 1;
        true
    }
}

impl Logs {
    /// The same output, of a record that other stores may share: it becomes durable sooner, because
    /// a reader at another store waits for that.
    pub(crate) fn shared(self) -> Self {
        Self { chunk_after: SHARED_CHUNK_AFTER, ..self }
    }

    /// An empty value that keeps so many bytes of chunks of each generation.
    pub fn keeping(kept_bytes: u64) -> Self {
        Self { open: Arc::default(), kept_bytes, chunk_after: CHUNK_AFTER }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<ApplicationRef, Arc<AppLog>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log of a generation, if it is open.
    fn get(&self, application: &ApplicationRef) -> Option<Arc<AppLog>> {
        self.all().get(application).cloned()
    }

    /// Drops a generation's log from memory, if no writer and no reader uses it. Lines that could
    /// not be made durable go as well: they were not acknowledged, so their shipper brings them
    /// again.
    fn close(&self, application: &ApplicationRef) {
        let mut all = self.all();
        if all.get(application).is_some_and(|log| Arc::strong_count(log) == 1) {
            all.remove(application);
        }
    }
}

#[cfg(test)]
mod tests;
