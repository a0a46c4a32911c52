//! From chunks of bytes to lines, and how far a source's output is safe. Pure: no I/O and no clock.
//!
//! A line is known by its *position*, the tether's offset behind its last byte. The same line has
//! the same position whichever process brings the output again, however the output is cut into
//! chunks, and also when a part of it was lost in between.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use proto::jobgraph::{LogSource, OutputChunk};

use crate::keys::log::{SourceState, StoredLine};

/// A line that is longer than so many bytes is cut.
pub(super) const MAX_LINE_BYTES: usize = 64 * 1024;

/// How many boundaries are remembered. Output between two of them is sent again after a crash, and
/// its known lines are left out.
const MAX_BOUNDARIES: usize = 4096;

/// The lines of one source.
///
/// Each stream of the source brings bytes from a safe offset on; this type puts them together to
/// lines and leaves out the lines that an earlier stream has brought. The offset that is
/// acknowledged is always one at which no line was open, so that a successor which starts there
/// sees whole lines.
#[derive(Debug)]
pub(super) struct SourceLines {
    source: LogSource,
    /// The open line of stdout and that of stderr.
    open: [OpenLine; 2],
    /// The position of the last line that was given out.
    emitted: u64,
    /// The position of the last line that is in a chunk.
    durable: u64,
    /// The offset up to which all output is durable.
    safe: u64,
    /// Later offsets at which no line was open, each with the position of the last line before it.
    boundaries: VecDeque<(u64, u64)>,
    /// The offset behind the last chunk that was taken.
    seen: u64,
    /// The position of the last line in what the present stream has brought.
    last: u64,
    /// How many lines that an earlier build has kept are to come again: that build did not write
    /// their positions.
    skip: u64,
    complete: bool,
    /// The state of the source as it is stored.
    written: SourceState,
    /// The number of the stream that may write.
    pub(super) writer: u64,
}

#[derive(Debug, Default)]
struct OpenLine {
    bytes: BytesMut,
    lost: u64,
}

impl SourceLines {
    pub(super) fn new(source: &LogSource, state: &SourceState) -> Self {
        Self {
            source: source.clone(),
            open: Default::default(),
            emitted: state.last_position,
            durable: state.last_position,
            safe: state.acknowledged_offset,
            boundaries: VecDeque::new(),
            seen: state.acknowledged_offset,
            last: state.acknowledged_offset,
            skip: state.lines_after,
            complete: state.complete,
            written: state.clone(),
            writer: 0,
        }
    }

    /// Lets a new stream take over. The stream goes on from the offset that the record has, which
    /// is the answer; lines beyond the offset that are known already are left out.
    pub(super) fn attach(&mut self, writer: u64) -> u64 {
        self.writer = writer;
        self.open = Default::default();
        self.safe = self.written.acknowledged_offset;
        self.seen = self.safe;
        self.last = self.safe;
        // The boundaries beyond the safe offset are found again, at the same lines.
        self.boundaries.clear();
        self.safe
    }

    /// The offset up to which the record says that all output is durable. What is acknowledged may
    /// be removed where it came from, and the next stream, at this store or another, begins where
    /// the record says.
    pub(super) fn acknowledged(&self) -> u64 {
        self.written.acknowledged_offset
    }

    /// The state to store for the source once its lines up to this position are durable.
    pub(super) fn state_after(&self, position: u64) -> SourceState {
        let durable = self.durable.max(position).min(self.emitted);
        let safe = self.boundaries.iter().take_while(|(_, last)| *last <= durable).last();
        SourceState {
            acknowledged_offset: safe.map_or(self.safe, |(offset, _)| self.safe.max(*offset)),
            complete: self.complete && durable == self.emitted,
            last_position: durable,
            lines_after: self.skip,
        }
    }

    /// Whether the line with this position is known to be in a chunk.
    pub(super) fn has_durable(&self, position: u64) -> bool {
        position <= self.durable
    }

    /// Takes note of what the record says of the source. Another store may have written it: then
    /// lines up to the recorded position are durable, whether this store has seen them or not, and
    /// are not given out any more.
    pub(super) fn learn(&mut self, stored: &SourceState) {
        if *stored == self.written {
            return;
        }
        self.emitted = self.emitted.max(stored.last_position);
        self.skip = self.skip.min(stored.lines_after);
        // The record's word that the source is complete holds unless more has come here.
        self.complete |= stored.complete && stored.acknowledged_offset >= self.seen;
        self.safe = self.safe.max(stored.acknowledged_offset);
        self.stored(stored.last_position, stored);
    }

    /// Whether there is more to store than is stored.
    pub(super) fn is_dirty(&self) -> bool {
        // New offsets alone wait for the next lines, because nothing is lost when that output comes
        // again; but no line comes after the last one.
        let now = self.state_after(0);
        now.complete != self.written.complete
            || (now.complete && now.acknowledged_offset > self.written.acknowledged_offset)
    }

    /// Takes a chunk; its whole lines go to `lines`, without numbers.
    pub(super) fn take(&mut self, chunk: &OutputChunk, lines: &mut Vec<StoredLine>) {
        if chunk.next_offset <= self.seen {
            return;
        }
        // The process that called the source complete had not seen all of it.
        self.complete = false;
        self.seen = chunk.next_offset;
        let stderr = usize::from(chunk.stream == "stderr");
        self.open[stderr].lost += chunk.lost_before;
        let mut rest = chunk.data.clone();
        let behind = |rest: &Bytes| chunk.next_offset.saturating_sub(rest.len() as u64);
        while !rest.is_empty() {
            let open = &mut self.open[stderr];
            let room = MAX_LINE_BYTES - open.bytes.len();
            let end = rest.iter().take(room + 1).position(|byte| *byte == b'\n');
            match end {
                Some(end) => {
                    open.bytes.extend_from_slice(&rest.split_to(end));
                    let _ = rest.split_to(1);
                    self.emit(stderr, false, behind(&rest), chunk.unix_nanos, lines);
                }
                None if rest.len() >= room => {
                    open.bytes.extend_from_slice(&rest.split_to(room));
                    self.emit(stderr, true, behind(&rest), chunk.unix_nanos, lines);
                }
                None => open.bytes.extend_from_slice(&std::mem::take(&mut rest)),
            }
        }
        if self.open.iter().all(|open| open.bytes.is_empty() && open.lost == 0) {
            self.boundary();
        }
    }

    /// Takes note that no more output comes. An open line is given out without its end, and an
    /// empty line tells what was lost at the end.
    pub(super) fn complete(&mut self, unix_nanos: i64, lines: &mut Vec<StoredLine>) {
        if self.complete {
            return;
        }
        for stderr in [0, 1] {
            let open = &self.open[stderr];
            if !open.bytes.is_empty() || open.lost > 0 {
                // The position is behind all output that ever came, as no other position will be.
                let position = self.seen + 1 + stderr as u64;
                self.emit(stderr, true, position, unix_nanos, lines);
            }
        }
        self.complete = true;
        self.boundary();
    }

    /// Takes note that lines up to this position are in a chunk.
    pub(super) fn stored(&mut self, position: u64, written: &SourceState) {
        self.durable = self.durable.max(position).min(self.emitted);
        self.written = written.clone();
        self.advance();
    }

    /// Moves the safe offset as far as lines are durable.
    pub(super) fn advance(&mut self) {
        while let Some((offset, _)) =
            self.boundaries.pop_front_if(|(_, last)| *last <= self.durable)
        {
            self.safe = self.safe.max(offset);
        }
    }

    fn boundary(&mut self) {
        if self.boundaries.len() >= MAX_BOUNDARIES {
            self.boundaries.pop_back();
        }
        self.boundaries.push_back((self.seen, self.last));
    }

    fn emit(
        &mut self,
        stderr: usize,
        partial: bool,
        position: u64,
        unix_nanos: i64,
        lines: &mut Vec<StoredLine>,
    ) {
        let open = &mut self.open[stderr];
        let mut text: Bytes = open.bytes.split().freeze();
        if !partial && text.last() == Some(&b'\r') {
            text.truncate(text.len() - 1);
        }
        let lost_before = std::mem::take(&mut open.lost);
        self.last = position;
        if position <= self.emitted {
            return;
        }
        self.emitted = position;
        if self.skip > 0 {
            self.skip -= 1;
            self.durable = position;
            return;
        }
        lines.push(StoredLine {
            number: 0,
            unix_nanos,
            role: self.source.role.clone(),
            source_number: self.source.number,
            stderr: stderr == 1,
            text,
            partial,
            lost_before,
            position,
            replica: self.source.replica,
            start: self.source.start,
            host: self.source.host.clone(),
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

    fn main() -> LogSource {
        LogSource { role: "main".into(), number: 1, ..Default::default() }
    }

    /// Makes so many of these lines durable.
    fn store(source: &mut SourceLines, lines: &[StoredLine], count: usize) {
        let position = lines[..count].last().map_or(0, |line| line.position);
        let state = source.state_after(position);
        source.stored(position, &state);
    }

    fn source() -> SourceLines {
        SourceLines::new(&main(), &SourceState::default())
    }

    #[test]
    fn lines_are_put_together_per_stream_and_an_open_one_waits() {
        let (mut source, mut lines) = (source(), Vec::new());
        source.take(&chunk(6, "stdout", "one\ntw"), &mut lines);
        source.take(&chunk(11, "stderr", "err\r\n"), &mut lines);
        source.take(&chunk(19, "stdout", "o\n\nthree"), &mut lines);
        assert_eq!(texts(&lines), ["one", "err", "two", ""]);
        source.complete(9, &mut lines);
        assert_eq!(texts(&lines)[4], "three");
        assert!(lines[4].partial && !lines[2].partial && lines[1].stderr);
    }

    #[test]
    fn a_line_without_end_is_cut_and_goes_on() {
        const LONG: usize = MAX_LINE_BYTES + 5;
        let (mut source, mut lines) = (source(), Vec::new());
        source.take(&chunk(LONG as u64, "stdout", &"x".repeat(LONG)), &mut lines);
        source.take(&chunk(LONG as u64 + 1, "stdout", "\n"), &mut lines);
        assert_eq!(
            lines.iter().map(|line| line.text.len()).collect::<Vec<_>>(),
            [MAX_LINE_BYTES, 5]
        );
        assert!(lines[0].partial && !lines[1].partial);
    }

    #[test]
    fn only_what_is_durable_is_acknowledged_and_never_the_middle_of_a_line() {
        let (mut source, mut lines) = (source(), Vec::new());
        source.take(&chunk(4, "stdout", "one\n"), &mut lines);
        source.take(&chunk(10, "stdout", "two\nth"), &mut lines);
        assert_eq!(source.acknowledged(), 0, "nothing is durable yet");
        // "th" ends at 10, so "two" ends at 8.
        store(&mut source, &lines, 2);
        assert_eq!(source.acknowledged(), 4, "the last offset at which no line was open");
        assert_eq!(source.state_after(0).last_position, 8);
        source.take(&chunk(14, "stdout", "ree\n"), &mut lines);
        store(&mut source, &lines, 3);
        assert_eq!((source.acknowledged(), source.state_after(0).last_position), (14, 14));
    }

    #[test]
    fn output_that_comes_again_after_a_crash_is_neither_doubled_nor_lost() {
        let all = "a\nb\nc\nd\ne";
        for durable in 0..=4 {
            let (mut before, mut lines) = (source(), Vec::new());
            before.take(&chunk(3, "stdout", &all[..3]), &mut lines);
            before.take(&chunk(9, "stdout", &all[3..]), &mut lines);
            let kept = &lines[..durable.min(lines.len())];
            store(&mut before, &lines, kept.len());
            let state = before.state_after(0);
            let mut after = SourceLines::new(&main(), &state);
            let from = after.attach(1);
            let mut again = Vec::new();
            // The output is cut at other places than before.
            for at in from..9 {
                let at = usize::try_from(at).unwrap();
                after.take(&chunk(at as u64 + 1, "stdout", &all[at..=at]), &mut again);
            }
            after.complete(9, &mut again);
            let got: Vec<String> = texts(kept).into_iter().chain(texts(&again)).collect();
            assert_eq!(got, ["a", "b", "c", "d", "e"], "durable {durable}");
            let positions: Vec<u64> = kept.iter().chain(&again).map(|line| line.position).collect();
            assert_eq!(positions, [2, 4, 6, 8, 10], "the same in every life of the store");
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
        store(&mut source, &lines, 2);
        assert_eq!(source.acknowledged(), 8);
    }

    #[test]
    fn what_is_gone_when_it_comes_again_does_not_take_the_place_of_what_follows() {
        let (mut before, mut lines) = (source(), Vec::new());
        before.take(&chunk(8, "stdout", "a\nb\nc\nd\n"), &mut lines);
        store(&mut before, &lines, 3);
        let mut after = SourceLines::new(
            &main(),
            &SourceState { acknowledged_offset: 0, ..before.state_after(0) },
        );
        after.attach(1);
        let mut again = Vec::new();
        // The lines "a" to "c" were rotated away. "d" is not one of them, although it comes first.
        let rest = OutputChunk { lost_before: 6, ..chunk(10, "stdout", "d\ne\n") };
        after.take(&rest, &mut again);
        assert_eq!(texts(&again), ["d", "e"]);
    }

    #[test]
    fn what_an_earlier_build_has_kept_is_left_out_by_its_number() {
        let state = SourceState { acknowledged_offset: 2, lines_after: 1, ..Default::default() };
        let (mut source, mut lines) = (SourceLines::new(&main(), &state), Vec::new());
        assert_eq!(source.attach(1), 2);
        source.take(&chunk(6, "stdout", "b\nc\n"), &mut lines);
        assert_eq!(texts(&lines), ["c"]);
        store(&mut source, &lines, 1);
        assert_eq!((source.acknowledged(), source.state_after(0).lines_after), (6, 0));
    }

    /// What the record says once another store has these lines, and has seen the end of them.
    fn elsewhere(chunks: &[OutputChunk], complete: bool) -> SourceState {
        let (mut source, mut lines) = (source(), Vec::new());
        for chunk in chunks {
            source.take(chunk, &mut lines);
        }
        if complete {
            source.complete(9, &mut lines);
        }
        source.state_after(u64::MAX)
    }

    #[test]
    fn lines_that_another_store_has_kept_are_durable_here_and_do_not_come_again() {
        let (mut source, mut lines) = (source(), Vec::new());
        source.take(&chunk(6, "stdout", "one\ntw"), &mut lines);
        source.learn(&elsewhere(&[chunk(14, "stdout", "one\ntwo\nthree\n")], false));
        assert!(source.has_durable(14) && !source.has_durable(15));
        assert_eq!((source.acknowledged(), source.is_dirty()), (14, false));
        // The stream goes on from where it is, with lines that are known and one that is not.
        source.take(&chunk(19, "stdout", "o\nthree\nfour\n"), &mut lines);
        assert_eq!(texts(&lines), ["one", "four"]);
        store(&mut source, &lines, 2);
        assert_eq!(source.acknowledged(), 19);
    }

    #[test]
    fn what_the_record_says_is_never_taken_back() {
        let (mut source, mut lines) = (source(), Vec::new());
        source.take(&chunk(4, "stdout", "one\n"), &mut lines);
        source.take(&chunk(12, "stdout", "two\nthr"), &mut lines);
        source.learn(&elsewhere(&[chunk(8, "stdout", "one\ntwo\n")], true));
        let state = source.state_after(0);
        assert_eq!((state.acknowledged_offset, state.last_position), (8, 8));
        assert!(!state.complete && source.is_dirty(), "more has come here");
        // A stream that has brought nothing yet does not take the other one's end back.
        let mut behind = SourceLines::new(&main(), &SourceState::default());
        behind.learn(&elsewhere(&[chunk(8, "stdout", "one\ntwo\n")], true));
        assert!(behind.state_after(0).complete && !behind.is_dirty());
    }

    #[test]
    fn only_what_the_record_says_is_acknowledged() {
        let (mut before, mut lines) = (source(), Vec::new());
        before.take(&chunk(2, "stdout", "a\n"), &mut lines);
        before.take(&chunk(5, "stdout", "b\nc"), &mut lines);
        let state = before.state_after(4);
        assert_eq!((state.acknowledged_offset, state.last_position), (2, 4));
        let mut after = SourceLines::new(&main(), &state);
        after.attach(1);
        after.take(&chunk(4, "stdout", "b\n"), &mut lines);
        after.advance();
        assert_eq!(after.acknowledged(), 2, "the record does not know that 4 is an end of a line");
        after.complete(9, &mut lines);
        let state = after.state_after(0);
        assert!(after.is_dirty() && state.complete);
        after.stored(0, &state);
        assert_eq!((after.acknowledged(), after.is_dirty()), (4, false));
        // The same, where the record has the mark of the end already: nothing else would follow.
        let ended = SourceState { acknowledged_offset: 2, ..state };
        let mut again = SourceLines::new(&main(), &ended);
        again.attach(1);
        again.take(&chunk(4, "stdout", "b\n"), &mut lines);
        again.complete(9, &mut lines);
        assert!(again.is_dirty());
    }

    #[test]
    fn what_was_lost_at_the_end_is_told() {
        let (mut source, mut lines) = (source(), Vec::new());
        source.take(&chunk(2, "stdout", "a\n"), &mut lines);
        source.take(&OutputChunk { lost_before: 40, ..chunk(42, "stdout", "") }, &mut lines);
        assert_eq!(lines.len(), 1);
        store(&mut source, &lines, 1);
        assert_eq!(source.acknowledged(), 2, "it was not told yet");
        source.complete(9, &mut lines);
        assert_eq!((lines[1].lost_before, lines[1].text.len(), lines[1].partial), (40, 0, true));
        store(&mut source, &lines, 2);
        assert_eq!(source.acknowledged(), 42);
        assert!(source.state_after(0).complete);
    }
}
