//! From chunks of bytes to lines, and how far a source's output is safe. Pure.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use proto::jobgraph::OutputChunk;

use crate::keys::log::{SourceState, StoredLine};

/// A longer line is cut here, in bytes.
pub(super) const MAX_LINE_BYTES: usize = 64 * 1024;

/// Boundaries that are remembered; what comes in between is sent again after a crash, and left out.
const MAX_BOUNDARIES: usize = 4096;

/// The lines of one source.
#[derive(Debug)]
pub(super) struct SourceLines {
    role: String,
    number: u64,
    /// stdout and stderr.
    open: [OpenLine; 2],
    /// Lines so far, counted from the last durable boundary at the time of opening.
    emitted: u64,
    /// Of these, in a chunk.
    durable: u64,
    /// The offset up to which everything is durable, and the lines until there.
    safe: (u64, u64),
    /// Later offsets at which no line was open, and the lines until there.
    boundaries: VecDeque<(u64, u64)>,
    /// The offset of the last chunk that was taken.
    seen: u64,
    /// Lines that were taken before and come again.
    skip: u64,
    complete: bool,
    /// What is stored.
    written: SourceState,
    /// The stream that may write.
    pub(super) writer: u64,
}

#[derive(Debug, Default)]
struct OpenLine {
    bytes: BytesMut,
    lost: u64,
}

impl SourceLines {
    pub(super) fn new(role: &str, number: u64, state: &SourceState) -> Self {
        Self {
            role: role.into(),
            number,
            open: Default::default(),
            emitted: state.lines_after,
            durable: state.lines_after,
            safe: (state.acknowledged_offset, 0),
            boundaries: VecDeque::new(),
            seen: state.acknowledged_offset,
            skip: state.lines_after,
            complete: state.complete,
            written: state.clone(),
            writer: 0,
        }
    }

    /// A new stream takes over: it goes on from the safe offset, and lines beyond that are left out. The offset.
    pub(super) fn attach(&mut self, writer: u64) -> u64 {
        self.writer = writer;
        self.open = Default::default();
        self.skip = self.emitted - self.safe.1;
        self.seen = self.safe.0;
        // Boundaries beyond are found again, at the same lines.
        self.boundaries.clear();
        self.safe.0
    }

    /// How far everything is durable.
    pub(super) fn acknowledged(&self) -> u64 {
        self.safe.0
    }

    /// What is to be stored about the source once so many more of its lines are durable.
    pub(super) fn state_after(&self, lines: u64) -> SourceState {
        let durable = (self.durable + lines).min(self.emitted);
        let safe =
            self.boundaries.iter().take_while(|(_, until)| *until <= durable).last().unwrap_or(&self.safe);
        SourceState {
            acknowledged_offset: safe.0,
            complete: self.complete && durable == self.emitted,
            lines_after: durable - safe.1,
        }
    }

    /// There is more to store than is stored.
    pub(super) fn is_dirty(&self) -> bool {
        let now = self.state_after(0);
        // Offsets alone wait for the next lines: nothing is lost when they come again.
        now.complete != self.written.complete
    }

    /// Takes a chunk; its whole lines go to `lines`, without numbers.
    pub(super) fn take(&mut self, chunk: &OutputChunk, lines: &mut Vec<StoredLine>) {
        if chunk.next_offset <= self.seen || self.complete {
            return;
        }
        self.seen = chunk.next_offset;
        let stderr = usize::from(chunk.stream == "stderr");
        self.open[stderr].lost += chunk.lost_before;
        let mut rest = chunk.data.clone();
        while !rest.is_empty() {
            let open = &mut self.open[stderr];
            let room = MAX_LINE_BYTES - open.bytes.len();
            let end = rest.iter().take(room + 1).position(|byte| *byte == b'\n');
            match end {
                Some(end) => {
                    open.bytes.extend_from_slice(&rest.split_to(end));
                    let _ = rest.split_to(1);
                    self.emit(stderr, false, chunk.unix_nanos, lines);
                }
                None if rest.len() >= room => {
                    open.bytes.extend_from_slice(&rest.split_to(room));
                    self.emit(stderr, true, chunk.unix_nanos, lines);
                }
                None => open.bytes.extend_from_slice(&std::mem::take(&mut rest)),
            }
        }
        if self.open.iter().all(|open| open.bytes.is_empty()) {
            self.boundary();
        }
    }

    /// Nothing more will come: what is open is a line without its end.
    pub(super) fn complete(&mut self, unix_nanos: i64, lines: &mut Vec<StoredLine>) {
        if self.complete {
            return;
        }
        for stderr in [0, 1] {
            if !self.open[stderr].bytes.is_empty() {
                self.emit(stderr, true, unix_nanos, lines);
            }
        }
        self.complete = true;
        self.boundary();
    }

    /// Lines up to this one of the source are in a chunk.
    pub(super) fn stored(&mut self, lines: u64, written: &SourceState) {
        self.durable = (self.durable + lines).min(self.emitted);
        self.written = written.clone();
        self.advance();
    }

    /// Moves the safe offset as far as lines are durable.
    pub(super) fn advance(&mut self) {
        while let Some(boundary) = self.boundaries.pop_front_if(|(_, lines)| *lines <= self.durable) {
            self.safe = boundary;
        }
    }

    fn boundary(&mut self) {
        let lines = self.emitted - self.skip;
        if self.boundaries.len() >= MAX_BOUNDARIES {
            self.boundaries.pop_back();
        }
        self.boundaries.push_back((self.seen, lines));
    }

    fn emit(&mut self, stderr: usize, partial: bool, unix_nanos: i64, lines: &mut Vec<StoredLine>) {
        let open = &mut self.open[stderr];
        let mut text: Bytes = open.bytes.split().freeze();
        if !partial && text.last() == Some(&b'\r') {
            text.truncate(text.len() - 1);
        }
        let lost_before = std::mem::take(&mut open.lost);
        if self.skip > 0 {
            self.skip -= 1;
            return;
        }
        self.emitted += 1;
        lines.push(StoredLine {
            number: 0,
            unix_nanos,
            role: self.role.clone(),
            source_number: self.number,
            stderr: stderr == 1,
            text,
            partial,
            lost_before,
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn chunk(next_offset: u64, stream: &str, data: &str) -> OutputChunk {
        OutputChunk {
            next_offset,
            stream: stream.into(),
            data: Bytes::copy_from_slice(data.as_bytes()),
            unix_nanos: 7,
            lost_before: 0,
        }
    }

    fn texts(lines: &[StoredLine]) -> Vec<String> {
        lines.iter().map(|line| String::from_utf8(line.text.to_vec()).unwrap()).collect()
    }

    fn store(source: &mut SourceLines, lines: u64) {
        let state = source.state_after(lines);
        source.stored(lines, &state);
    }

    fn source() -> SourceLines {
        SourceLines::new("main", 1, &SourceState::default())
    }

    #[test]
    fn lines_are_put_together_per_stream_and_an_open_one_waits() {
        let (mut source, mut lines) = (source(), Vec::new());
        source.take(&chunk(3, "stdout", "one\ntw"), &mut lines);
        source.take(&chunk(5, "stderr", "err\r\n"), &mut lines);
        source.take(&chunk(6, "stdout", "o\n\nthree"), &mut lines);
        assert_eq!(texts(&lines), ["one", "err", "two", ""]);
        source.complete(9, &mut lines);
        assert_eq!(texts(&lines)[4], "three");
        assert!(lines[4].partial && !lines[2].partial && lines[1].stderr);
    }

    #[test]
    fn a_line_without_end_is_cut_and_goes_on() {
        let (mut source, mut lines) = (source(), Vec::new());
        source.take(&chunk(1, "stdout", &"x".repeat(MAX_LINE_BYTES + 5)), &mut lines);
        source.take(&chunk(2, "stdout", "\n"), &mut lines);
        assert_eq!(lines.iter().map(|line| line.text.len()).collect::<Vec<_>>(), [MAX_LINE_BYTES, 5]);
        assert!(lines[0].partial && !lines[1].partial);
    }

    #[test]
    fn only_what_is_durable_is_acknowledged_and_never_the_middle_of_a_line() {
        let (mut source, mut lines) = (source(), Vec::new());
        source.take(&chunk(4, "stdout", "one\n"), &mut lines);
        source.take(&chunk(7, "stdout", "two\nth"), &mut lines);
        assert_eq!(source.acknowledged(), 0, "nothing is durable yet");
        store(&mut source, 2);
        assert_eq!(source.acknowledged(), 4, "the last offset at which no line was open");
        assert_eq!(source.state_after(0).lines_after, 1);
        source.take(&chunk(12, "stdout", "ree\n"), &mut lines);
        store(&mut source, 1);
        assert_eq!((source.acknowledged(), source.state_after(0).lines_after), (12, 0));
    }

    #[test]
    fn output_that_comes_again_after_a_crash_is_neither_doubled_nor_lost() {
        let all = "a\nb\nc\nd\ne";
        for durable in 0..=4 {
            let (mut before, mut lines) = (source(), Vec::new());
            before.take(&chunk(3, "stdout", &all[..3]), &mut lines);
            before.take(&chunk(9, "stdout", &all[3..]), &mut lines);
            let kept = &lines[..durable.min(lines.len())];
            store(&mut before, kept.len() as u64);
            let state = before.state_after(0);
            let mut after = SourceLines::new("main", 1, &state);
            let from = after.attach(1);
            let mut again = Vec::new();
            // Cut differently than before.
            for at in from..9 {
                let at = usize::try_from(at).unwrap();
                after.take(&chunk(at as u64 + 1, "stdout", &all[at..=at]), &mut again);
            }
            after.complete(9, &mut again);
            let got: Vec<String> = texts(kept).into_iter().chain(texts(&again)).collect();
            assert_eq!(got, ["a", "b", "c", "d", "e"], "durable {durable}");
        }
    }

    #[test]
    fn a_second_stream_goes_on_where_the_first_was_and_lines_in_memory_are_left_out() {
        let (mut source, mut lines) = (source(), Vec::new());
        source.take(&chunk(4, "stdout", "one\n"), &mut lines);
        source.take(&chunk(7, "stdout", "two"), &mut lines);
        assert_eq!(source.attach(2), 0);
        source.take(&chunk(7, "stdout", "one\ntwo"), &mut lines);
        source.take(&chunk(8, "stdout", "\n"), &mut lines);
        assert_eq!(texts(&lines), ["one", "two"]);
        store(&mut source, 2);
        assert_eq!(source.acknowledged(), 8);
    }
}
