//! Output of main() and of roles. Lines are kept in memory at once, for followers, and in chunks
//! soon after. Every line of a generation has a number, in the order in which lines arrive, and a
//! position in its source. The number is for good once the line is durable; `cursor.rs` says what
//! that means to readers.

mod append;
mod chunk;
mod cursor;
mod lines;
mod merge;
mod read;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chassis::clock::Boot;
use proto::ApplicationRef;
use tokio::sync::watch;

use crate::keys::log::StoredLine;
use chunk::Chunk;
use lines::SourceLines;

pub use append::Appender;
pub use read::LogFilter;

/// Durable lines stay in memory up to so many bytes.
const TAIL_BYTES: usize = 128 * 1024;

/// How many bytes of chunks are kept of one generation; the oldest chunk is dropped beyond that.
const KEPT_BYTES: u64 = 64 * 1024 * 1024;

/// What a line costs beside its text, in bytes of memory.
const LINE_OVERHEAD: usize = 64;

/// The output that is being written or followed.
///
/// A generation's log is opened by its first writer or reader and closed by its last one. What the
/// log holds beside the record is either lost without harm or shipped again, because only durable
/// lines are acknowledged. The value is cheap to clone, and all clones are one.
#[derive(Debug, Clone)]
pub struct Logs {
    open: Arc<Mutex<HashMap<ApplicationRef, Arc<AppLog>>>>,
    kept_bytes: u64,
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
    /// The lock of the one writer of chunks, and the chunks that there are, once the writer has
    /// looked.
    flushing: tokio::sync::Mutex<Option<Vec<Chunk>>>,
}

#[derive(Debug, Default)]
struct LogState {
    /// The last number that a line was given.
    last_line: u64,
    /// The last number whose line is in a chunk.
    durable_line: u64,
    /// The latest lines, each with its source; all lines that are not durable are among them.
    tail: VecDeque<(String, StoredLine)>,
    /// What the lines in `tail` cost, in bytes.
    tail_bytes: usize,
    /// What the lines that are not durable cost, in bytes.
    pending_bytes: usize,
    /// When the first line that is not durable came.
    pending_since: Option<Boot>,
    /// The state of each source, by the source's key.
    sources: HashMap<String, SourceLines>,
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
}

impl Logs {
    /// An empty value that keeps so many bytes of chunks of each generation.
    pub fn keeping(kept_bytes: u64) -> Self {
        Self { open: Arc::default(), kept_bytes }
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
