//! Where a reader stands. A number alone is not enough: lines that were shown before they were
//! durable get other numbers when another store's lines become durable first, or when the store
//! dies and their output comes again beside the output of other sources. So a cursor holds a number
//! that is durable, and for each source whose lines were shown beyond that number the position of
//! the last line shown.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::keys::log::StoredLine;

/// The process that wrote a line: host, role, epoch or incarnation, replica, start.
type Source = (String, String, u64, u32, u32);

/// A reader's place, and what the reader has been shown beyond it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Lines up to this number have passed.
    line: u64,
    /// For each source, the position up to which its lines have passed, and the number of the line
    /// that showed it, if the line has that number still.
    beyond: BTreeMap<Source, (u64, Option<u64>)>,
}

fn source(line: &StoredLine) -> Source {
    (line.host.clone(), line.role.clone(), line.source_number, line.replica, line.start)
}

impl Cursor {
    /// The number that the reader goes on from.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// Notes that lines up to `passed` have been read, and that lines up to `durable` have their
    /// number for good.
    pub(super) fn settle(&mut self, passed: u64, durable: u64) {
        self.line = self.line.max(passed.min(durable));
        let line = self.line;
        self.beyond.retain(|_, (_, number)| number.is_none_or(|number| number > line));
    }

    /// Notes that lines which are not durable have other numbers from now on. The reader goes on
    /// behind the last durable line, and the positions tell which lines have passed.
    pub(super) fn renumbered(&mut self) {
        for (_, number) in self.beyond.values_mut() {
            *number = None;
        }
    }

    /// Goes on past a line that the reader wants; `false` when the reader has been shown the line
    /// before.
    pub(super) fn pass(&mut self, line: &StoredLine, durable: u64) -> bool {
        let is_durable = line.number <= durable;
        if is_durable && self.beyond.is_empty() {
            self.line = self.line.max(line.number);
            return true;
        }
        let source = source(line);
        let known = self.beyond.get(&source).map(|(position, _)| *position);
        let is_new = line.position == 0 || known.is_none_or(|known| line.position > known);
        let seen = known.unwrap_or(0).max(line.position);
        if is_durable {
            self.line = self.line.max(line.number);
            if known.is_some_and(|known| known <= line.position) {
                self.beyond.remove(&source);
            }
        } else if is_new || known == Some(line.position) {
            self.beyond.insert(source, (seen, Some(line.number)));
        }
        is_new
    }
}

/// The text is no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoCursor;

impl fmt::Display for Cursor {
    /// Writes the number, such as `1f`, and for each source beyond it
    /// `/role/number/replica/start/position`, with `//host` before it where the source names its
    /// host; all numbers are in hex. No role is empty, so an empty part tells that a host follows.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.line)?;
        for ((host, role, number, replica, start), (position, _)) in &self.beyond {
            if !host.is_empty() {
                write!(f, "//{host}")?;
            }
            write!(f, "/{role}/{number:x}/{replica:x}/{start:x}/{position:x}")?;
        }
        Ok(())
    }
}

impl FromStr for Cursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Self, NoCursor> {
        let hex = |text: &str| u64::from_str_radix(text, 16).map_err(|_| NoCursor);
        let small = |text: &str| u32::from_str_radix(text, 16).map_err(|_| NoCursor);
        let mut parts = text.split('/');
        let line = hex(parts.next().ok_or(NoCursor)?)?;
        let mut beyond = BTreeMap::new();
        while let Some(first) = parts.next() {
            let mut next = || parts.next().ok_or(NoCursor);
            let (host, role) = if first.is_empty() { (next()?, next()?) } else { ("", first) };
            let (number, replica, start) = (hex(next()?)?, small(next()?)?, small(next()?)?);
            let source = (host.to_owned(), role.to_owned(), number, replica, start);
            beyond.insert(source, (hex(next()?)?, None));
        }
        Ok(Self { line, beyond })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn line(role: &str, number: u64, position: u64) -> StoredLine {
        StoredLine { number, position, role: role.into(), source_number: 7, ..Default::default() }
    }

    #[test]
    fn among_durable_lines_a_cursor_is_a_number() {
        let mut cursor = Cursor::default();
        assert!(cursor.pass(&line("main", 31, 4), 40));
        assert_eq!(cursor.to_string(), "1f");
        assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
    }

    #[test]
    fn lines_that_get_other_numbers_in_another_life_are_known_by_their_positions() {
        let mut before = Cursor::default();
        for (number, position) in [(1, 10), (2, 20), (4, 30)] {
            assert!(before.pass(&line("main", number, position), 1));
        }
        // The store dies. Line 1 was durable; a worker's lines come first now, and main()'s third
        // line is the sixth of all.
        let mut after: Cursor = before.to_string().parse().unwrap();
        assert_eq!(after.line(), 1);
        let again =
            [("worker", 2, 5), ("main", 3, 20), ("worker", 4, 9), ("main", 5, 30), ("main", 6, 40)];
        let shown: Vec<u64> = again
            .iter()
            .filter(|(role, number, position)| after.pass(&line(role, *number, *position), 0))
            .map(|(_, number, _)| *number)
            .collect();
        assert_eq!(shown, [2, 4, 6]);
        // The store dies again before any of these lines is durable.
        let mut third: Cursor = after.to_string().parse().unwrap();
        assert!(!third.pass(&line("main", 2, 40), 9) && third.pass(&line("main", 3, 50), 9));
    }

    #[test]
    fn what_became_durable_is_a_number_again() {
        let mut cursor = Cursor::default();
        cursor.pass(&line("main", 1, 10), 0);
        cursor.pass(&line("worker", 2, 10), 0);
        assert!(cursor.to_string().contains("worker"));
        cursor.settle(2, 1);
        assert_eq!(cursor.to_string(), "1/worker/7/0/0/a");
        cursor.settle(2, 2);
        assert_eq!(cursor.to_string(), "2");
    }

    #[test]
    fn lines_that_another_store_comes_before_are_known_by_their_positions() {
        let mut cursor = Cursor::default();
        cursor.pass(&line("main", 1, 10), 1);
        cursor.pass(&line("main", 2, 20), 1);
        // Another store's lines 2 and 3 are durable first, so line 2 is line 4 now.
        cursor.renumbered();
        cursor.settle(1, 3);
        assert!(cursor.pass(&line("worker", 2, 5), 3) && cursor.pass(&line("worker", 3, 9), 3));
        cursor.settle(3, 3);
        assert!(!cursor.pass(&line("main", 4, 20), 3), "the line was shown as line 2");
        assert!(cursor.pass(&line("main", 5, 30), 3));
    }

    #[test]
    fn processes_of_two_hosts_with_one_number_are_two_sources() {
        let of = |host: &str, number, position| StoredLine {
            host: host.into(),
            ..line("contender", number, position)
        };
        let mut cursor = Cursor::default();
        assert!(cursor.pass(&of("a-1", 1, 30), 0) && cursor.pass(&of("b.2", 2, 10), 0));
        assert!(cursor.pass(&of("", 3, 20), 0), "an older lifecycle names no host");
        let text = cursor.to_string();
        assert_eq!(text, "0/contender/7/0/0/14//a-1/contender/7/0/0/1e//b.2/contender/7/0/0/a");
        let mut again: Cursor = text.parse().unwrap();
        assert_eq!(again.to_string(), text);
        assert!(!again.pass(&of("b.2", 1, 10), 0) && again.pass(&of("b.2", 2, 20), 0));
        assert!(!again.pass(&of("a-1", 3, 30), 0), "the line was shown before");
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        for text in
            ["", "no cursor", "1/main", "1/main/1/0/0/x", "1/main/1/0/0/3/extra", "1//", "1//a/b/1"]
        {
            assert_eq!(text.parse::<Cursor>(), Err(NoCursor), "{text:?}");
        }
    }
}
