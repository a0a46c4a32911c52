//! What goes into the record at once: lines, and how far their sources are then. Pure: no I/O and
//! no clock.

use chassis::clock::Boot;

use super::{AppLog, LogState};
use crate::keys::log::{SourceState, StoredLine};

/// So many bytes of lines become a chunk at once.
pub(super) const CHUNK_BYTES: usize = 1024 * 1024;

/// The states of how many sources are written in one commit.
const SOURCES_AT_ONCE: usize = 48;

/// Lines that become one chunk, and the states that their sources have once the chunk is written.
pub(super) struct Part {
    pub(super) lines: Vec<StoredLine>,
    /// For each source: its key, the position of its last line among these, and its state.
    pub(super) sources: Vec<(String, u64, SourceState)>,
    bytes: usize,
    /// Whether there was more to write than fits in one chunk.
    pub(super) leaves_some: bool,
}

impl Part {
    /// The oldest lines that are not durable; `None` if nothing is to be written.
    pub(super) fn of(state: &mut LogState) -> Option<Self> {
        let mut part =
            Self { lines: Vec::new(), sources: Vec::new(), bytes: 0, leaves_some: false };
        let mut last: Vec<(String, u64)> = Vec::new();
        let durable = state.durable_line;
        for (source, line) in state.tail.iter().filter(|(_, line)| line.number > durable) {
            let sources = last.len();
            let known = last.iter_mut().find(|(known, _)| known == source);
            if part.bytes >= CHUNK_BYTES || (known.is_none() && sources >= SOURCES_AT_ONCE) {
                part.leaves_some = true;
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
                part.leaves_some = true;
                break;
            }
            source.advance();
            if source.is_dirty() && !part.sources.iter().any(|(known, ..)| known == name) {
                part.sources.push((name.clone(), 0, source.state_after(0)));
            }
        }
        (!part.lines.is_empty() || !part.sources.is_empty()).then_some(part)
    }

    /// Takes note that the part is in the record.
    pub(super) fn stored(self, log: &AppLog, now: Boot) {
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
