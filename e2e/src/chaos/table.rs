//! A table that a job writes, and whether what is there is all of it, once.

use std::collections::BTreeSet;
use std::fs::DirEntry;
use std::path::{Path, PathBuf};

/// How many rows each table has.
pub(super) const ROWS: u64 = 1_000;

/// The first line of a file, where a file has one.
const HEADER: &str = "value,power";

/// What a reader sees of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The mark that says that all is there is not there.
    Unmarked,
    /// The table is marked, and each row is there once.
    Whole,
    /// The table is marked, and is not what it has to be.
    Torn(String),
}

/// A table that a job writes: so many rows of a number and a power of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// The name of the job, and of its directory.
    pub name: &'static str,
    /// The power.
    pub power: u32,
}

impl Table {
    /// The statement of the job that writes it.
    pub(super) fn job(&self) -> String {
        let Self { name, power } = self;
        let value = vec!["n"; *power as usize].join(" * ");
        let rows = ROWS;
        format!(
            "-- job: {name}\n\
             COPY (SELECT n AS value, {value} AS power FROM \
             (SELECT unnest(generate_series(1, {rows})) AS n) AS t) \
             TO '{name}/' STORED AS CSV;\n"
        )
    }
}

/// What a reader sees of the table in a directory.
pub(super) fn judge(directory: &Path, table: &Table) -> Verdict {
    if !directory.join("_SUCCESS").exists() {
        return Verdict::Unmarked;
    }
    let mut rows = Vec::new();
    for part in parts(directory) {
        match std::fs::read_to_string(&part) {
            Ok(text) => rows.extend(text.lines().filter(|l| *l != HEADER).map(str::to_owned)),
            Err(error) => return Verdict::Torn(format!("{}: {error}", part.display())),
        }
    }
    let wanted: BTreeSet<String> =
        (1..=ROWS).map(|value| format!("{value},{}", value.pow(table.power))).collect();
    let found: BTreeSet<String> = rows.iter().cloned().collect();
    let missing = wanted.difference(&found).count();
    let strange = found.difference(&wanted).count();
    let doubled = rows.len() - found.len();
    if (missing, strange, doubled) == (0, 0, 0) {
        return Verdict::Whole;
    }
    Verdict::Torn(format!("{missing} rows missing, {doubled} doubled, {strange} of no sense"))
}

/// The files of a table, as every reader takes them.
pub(super) fn parts(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let is_part = |entry: &DirEntry| {
        let name = entry.file_name();
        !name.to_string_lossy().starts_with(['.', '_'])
    };
    entries.filter(is_part).map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::{ROWS, Table, Verdict, judge};

    const TABLE: Table = Table { name: "squares", power: 2 };

    /// The control: a table that is marked, and lacks a row, has one twice or has a torn one, is
    /// seen.
    #[test]
    fn a_table_that_is_marked_is_whole_or_torn() {
        let directory = tempfile::tempdir().expect("writable");
        let at = directory.path();
        let write = |name: &str, text: &str| std::fs::write(at.join(name), text).expect("writable");
        let rows = |from: u64, to: u64| -> String {
            let rows = (from..=to).map(|value| format!("{value},{}\n", value * value));
            std::iter::once("value,power\n".to_owned()).chain(rows).collect()
        };
        assert_eq!(judge(&at.join("none"), &TABLE), Verdict::Unmarked);
        write("part-0.csv", &rows(1, 10));
        assert_eq!(judge(at, &TABLE), Verdict::Unmarked, "it is not marked yet");
        write("_SUCCESS", "");
        let is_torn = |wanted: &str| {
            let Verdict::Torn(why) = judge(at, &TABLE) else { panic!("it passes") };
            assert!(why.contains(wanted), "{why}");
        };
        is_torn("990 rows missing, 0 doubled, 0 of");
        write("part-1.csv", &rows(11, ROWS));
        assert_eq!(judge(at, &TABLE), Verdict::Whole);
        write("part-2.csv", &rows(7, 7));
        is_torn("0 rows missing, 1 doubled, 0 of");
        write("part-2.csv", "7,4");
        is_torn("0 rows missing, 0 doubled, 1 of");
        std::fs::create_dir(at.join(".mainspring-staging")).expect("writable");
        std::fs::remove_file(at.join("part-2.csv")).expect("it is there");
        assert_eq!(judge(at, &TABLE), Verdict::Whole, "what is staged is not read");
    }
}
