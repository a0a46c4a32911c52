//! Output of main() and of roles: kept in memory at once, for followers, and in chunks soon after. Every line of a generation has a
//! number, in the order in which lines arrive, and a position in its source. The number is for good once the line is durable; see
//! `cursor.rs` for what that means to readers.

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
use chunk::Known;
use lines::SourceLines;

pub use append::Appender;
pub use read::LogFilter;

/// Lines that are durable stay in memory up to so many bytes.
const TAIL_BYTES: usize = 128 * 1024;

/// Output of one generation that is kept, in bytes of chunks; the oldest is dropped beyond that.
const KEPT_BYTES: u64 = 64 * 1024 * 1024;

/// What a line costs beside its text, in bytes.
const LINE_OVERHEAD: usize = 64;

/// The output that is being written or followed; cheap to clone, clones are one.
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

/// The output of one generation.
#[derive(Debug)]
struct AppLog {
    state: Mutex<LogState>,
    /// The number of the last line; what followers wait on.
    last: watch::Sender<u64>,
    /// The number of the last durable line; what acknowledgements wait on.
    durable: watch::Sender<u64>,
    /// One writer of chunks at a time. It knows which there are, once it has looked.
    flushing: tokio::sync::Mutex<Option<Vec<Known>>>,
}

#[derive(Debug, Default)]
struct LogState {
    /// The last number that was given out.
    last_line: u64,
    /// The last number whose line is in a chunk.
    durable_line: u64,
    /// The latest lines, all that are not durable among them.
    tail: VecDeque<(String, StoredLine)>,
    /// Bytes in `tail`.
    tail_bytes: usize,
    /// Bytes of lines that are not durable.
    pending_bytes: usize,
    /// When the first of them came.
    pending_since: Option<Boot>,
    /// By the key of the source.
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

    /// What waits for a chunk waits from now on.
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
    /// Nothing is open; of each generation so many bytes of chunks are kept.
    pub fn keeping(kept_bytes: u64) -> Self {
        Self { open: Arc::default(), kept_bytes }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<ApplicationRef, Arc<AppLog>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log of a generation that was opened before.
    fn get(&self, application: &ApplicationRef) -> Option<Arc<AppLog>> {
        self.all().get(application).cloned()
    }

    /// Drops a generation's log from memory, if nobody writes or follows it. Lines that could not be made durable go as well: they
    /// were not acknowledged, so their shipper brings them again.
    fn close(&self, application: &ApplicationRef) {
        let mut all = self.all();
        if all.get(application).is_some_and(|log| Arc::strong_count(log) == 1) {
            all.remove(application);
        }
    }
}

#[cfg(test)]
mod tests;
