//! A reader of the applications' output, who reads what is there, again and again, while hosts die.

use std::collections::BTreeSet;
use std::fs::DirEntry;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::application::{Application, Table};

/// How often the reader reads.
const LOOK: Duration = Duration::from_millis(50);

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

/// Reads the tables of one application on a thread of its own, until it is asked what it saw.
pub(super) struct Reader {
    seen: Arc<Mutex<BTreeSet<String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// A reader of the tables of an application.
    pub(super) fn start(application: &Application) -> Self {
        let seen = Arc::<Mutex<BTreeSet<String>>>::default();
        let stop = Arc::<AtomicBool>::default();
        let thread = std::thread::spawn({
            let (seen, stop, application) = (seen.clone(), stop.clone(), application.clone());
            move || {
                let mut whole = BTreeSet::new();
                while !stop.load(Ordering::Relaxed) {
                    for table in application.program.tables() {
                        let verdict = judge(&application.directory(table), table);
                        let objection = match verdict {
                            Verdict::Whole => {
                                whole.insert(table.name);
                                continue;
                            }
                            Verdict::Unmarked if whole.contains(table.name) => "its mark is gone",
                            Verdict::Unmarked => continue,
                            Verdict::Torn(ref why) => why.as_str(),
                        };
                        let told = format!("a reader of {}: {objection}", table.name);
                        seen.lock().unwrap_or_else(PoisonError::into_inner).insert(told);
                    }
                    std::thread::sleep(LOOK);
                }
            }
        });
        Self { seen, stop, thread: Some(thread) }
    }

    /// What the reader has seen so far that must not be.
    pub(super) fn objections(&self) -> Vec<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
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
