//! The counting program of this repository: how it is run, and what it has to have written in the
//! end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::programs::programs;
use crate::process::eventually_within;
use crate::{Finished, Host, Running};
use std::time::Duration;

/// The number of keys, as in `ExactlyOnce.java`.
const KEYS: u64 = 50;

/// One run of the program, under the application id `counted`.
pub struct ExactlyOnce {
    run: Running,
    numbers: u64,
    output: PathBuf,
}

/// What its committed files hold.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Numbers that are in no file.
    pub missing: u64,
    /// Numbers that are there more than once.
    pub doubled: u64,
    /// Keys whose counts are not 1, 2, 3, …, each once.
    pub miscounted: u64,
}

impl ExactlyOnce {
    /// The id of the application.
    pub const ID: &str = "counted";

    /// Starts the program with so many numbers, about 1,600 of which are counted in a second;
    /// `options` are those of `run`.
    #[track_caller]
    pub fn start(host: &Host, numbers: u64, options: &[&str]) -> Self {
        let output = host.scratch().join("counted");
        let (jar, count) = (programs(), numbers.to_string());
        let mut arguments = vec!["run", "--application-id", Self::ID, "-c", "ExactlyOnce"];
        arguments.extend(options);
        arguments.extend([
            jar.as_str(),
            count.as_str(),
            output.to_str().expect("temporary paths are UTF-8"),
        ]);
        Self { run: host.start(&arguments), numbers, output }
    }

    /// Waits until so many files are committed, because by then there are checkpoints to come back
    /// to.
    #[track_caller]
    pub fn until_committed(&self, files: usize) {
        eventually_within(Duration::from_secs(120), &format!("{files} committed files"), || {
            committed(&self.output).len() >= files
        });
    }

    /// Waits until so much of all that is to be counted is committed, in percent.
    #[track_caller]
    pub fn until_percent_committed(&self, percent: u64) {
        let enough = self.numbers * percent / 100;
        eventually_within(Duration::from_secs(120), &format!("{percent} % are committed"), || {
            let lines = |file: &PathBuf| {
                std::fs::read_to_string(file).unwrap_or_default().lines().count() as u64
            };
            committed(&self.output).iter().map(lines).sum::<u64>() >= enough
        });
    }

    /// Waits until the application is clean. The attached command may be gone by then, with the
    /// host; its outcome comes back too.
    #[track_caller]
    pub fn finish(self, host: &Host) -> (Finished, Tally) {
        let run = self.run.finish_within(Duration::from_secs(170));
        host.start(&["wait", Self::ID]).finish_within(Duration::from_secs(120));
        (run, tally(&self.output, self.numbers))
    }
}

/// The files that a reader would see; the name of a file that is still being written begins with a
/// dot.
fn committed(directory: &Path) -> Vec<PathBuf> {
    let hours = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let files =
        hours.flat_map(|hour| std::fs::read_dir(hour.path()).into_iter().flatten().flatten());
    let visible = files.filter(|file| !file.file_name().to_string_lossy().starts_with('.'));
    visible.map(|file| file.path()).collect()
}

/// Counts what the committed files in a directory hold of so many numbers.
pub fn tally(directory: &Path, numbers: u64) -> Tally {
    let mut times = BTreeMap::<u64, u64>::new();
    let mut counts = BTreeMap::<u64, Vec<u64>>::new();
    for file in committed(directory) {
        for line in std::fs::read_to_string(file).expect("it is text").lines() {
            let fields: Vec<u64> =
                line.split(',').map(|field| field.parse().expect("a number")).collect();
            *times.entry(fields[0]).or_default() += 1;
            counts.entry(fields[1]).or_default().push(fields[2]);
        }
    }
    let expected = |key: u64| (numbers + KEYS - 1 - key) / KEYS;
    let right = |key: u64| {
        let mut seen = counts.get(&key).cloned().unwrap_or_default();
        seen.sort_unstable();
        seen.into_iter().eq(1..=expected(key))
    };
    Tally {
        missing: (0..numbers).filter(|number| !times.contains_key(number)).count() as u64,
        doubled: times.values().filter(|times| **times > 1).count() as u64
            + times.keys().filter(|number| **number >= numbers).count() as u64,
        miscounted: (0..KEYS).filter(|key| !right(*key)).count() as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::{Tally, tally};

    #[test]
    fn a_lost_and_a_doubled_record_are_seen() {
        let directory = tempfile::tempdir().expect("writable");
        let hour = directory.path().join("hour");
        std::fs::create_dir(&hour).expect("writable");
        let line = |number: u64| format!("{number},{},{}\n", number % 50, number / 50 + 1);
        let write =
            |name: &str, text: String| std::fs::write(hour.join(name), text).expect("writable");
        write("part-0", (0..100).map(line).collect());
        write(".part-1.inprogress", line(7));
        assert_eq!(tally(directory.path(), 100), Tally::default());
        write("part-1", line(7));
        assert_eq!(tally(directory.path(), 100), Tally { doubled: 1, miscounted: 1, missing: 0 });
        std::fs::remove_file(hour.join("part-1")).expect("it is there");
        write("part-0", (0..99).map(line).collect());
        assert_eq!(tally(directory.path(), 100), Tally { doubled: 0, miscounted: 1, missing: 1 });
    }
}
