//! What the state directory holds, by purpose, and how fast it grows.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use client::places::Places;
use serde::{Deserialize, Serialize};

/// The purposes. What has none of the others counts as the last.
const PARTS: [&str; 9] =
    ["record", "payloads", "cache", "work", "outputs", "checkpoints", "outbox", "logs", "other"];

/// The time between two notes.
const NOTED_EVERY: Duration = Duration::from_secs(86_400);

/// How many notes are kept, those of the last days.
const NOTES: usize = 8;

/// The shortest time between a note and now that tells how fast the directory grows.
const LONG_ENOUGH: Duration = Duration::from_secs(3600);

/// Bytes on the disk, by purpose, in the order of [`PARTS`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage([u64; PARTS.len()]);

/// How much the directory held at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    unix_seconds: u64,
    bytes: u64,
}

impl Usage {
    /// What everything below a state directory takes. A file that vanishes in the meantime is not
    /// counted.
    pub(crate) fn of(places: &Places) -> io::Result<Self> {
        let mut usage = Self::default();
        add(places.state(), Path::new(""), &mut usage)?;
        Ok(usage)
    }

    /// The sum of all parts.
    pub(crate) fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The parts that are not empty, with their bytes.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        PARTS.into_iter().zip(self.0).filter(|(_, bytes)| *bytes > 0)
    }
}

fn add(directory: &Path, below: &Path, usage: &mut Usage) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let Ok(metadata) = entry.metadata() else { continue };
        let below = below.join(entry.file_name());
        usage.0[part(&below)] += metadata.blocks() * 512;
        if metadata.is_dir() {
            add(&entry.path(), &below, usage)?;
        }
    }
    Ok(())
}

/// The part that a path below the state directory belongs to, as its place in [`PARTS`].
fn part(below: &Path) -> usize {
    let mut names = below.iter().map(|name| name.to_str().unwrap_or_default());
    let word = match (names.next().unwrap_or_default(), names.next().unwrap_or_default()) {
        (_, "log") | ("up.log", _) => "logs",
        ("jobgraph-store", "payloads") => "payloads",
        ("jobgraph-store" | "leader-elector", _) => "record",
        ("artifact-fetcher", _) => "cache",
        (top @ ("work" | "outputs" | "checkpoints" | "outbox"), _) => top,
        _ => "other",
    };
    PARTS.iter().position(|part| *part == word).unwrap_or(PARTS.len() - 1)
}

fn file(places: &Places) -> PathBuf {
    places.state().join("usage.json")
}

fn notes(places: &Places) -> Vec<Note> {
    let text = fs::read(file(places)).unwrap_or_default();
    // A damaged file counts as no notes, because nothing rests on them.
    serde_json::from_slice(&text).unwrap_or_default()
}

/// Notes how much the directory holds, once a day.
pub(crate) fn note(places: &Places, now: SystemTime) -> io::Result<()> {
    let unix_seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut notes = notes(places);
    if notes.last().is_some_and(|last| last.unix_seconds + NOTED_EVERY.as_secs() > unix_seconds) {
        return Ok(());
    }
    notes.push(Note { unix_seconds, bytes: Usage::of(places)?.total() });
    notes.drain(..notes.len().saturating_sub(NOTES));
    let beside = file(places).with_extension("new");
    fs::write(&beside, serde_json::to_vec(&notes).map_err(io::Error::other)?)?;
    chassis::disk::replace(&beside, &file(places))
}

/// By how many bytes a day the directory has grown since the oldest note, and how old that note is.
pub(crate) fn growth(places: &Places, total: u64, now: SystemTime) -> Option<(i64, Duration)> {
    let oldest = notes(places).into_iter().next()?;
    let since = now.duration_since(UNIX_EPOCH + Duration::from_secs(oldest.unix_seconds)).ok()?;
    if since < LONG_ENOUGH {
        return None;
    }
    let grown = i64::try_from(total).ok()? - i64::try_from(oldest.bytes).ok()?;
    let seconds = i64::try_from(since.as_secs()).ok()?;
    Some((grown.saturating_mul(86_400) / seconds, since))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_file_belongs_to_one_part() {
        for (below, expected) in [
            ("jobgraph-store/record.redb", "record"),
            ("jobgraph-store/payloads/ab/abcd", "payloads"),
            ("jobgraph-store/log", "logs"),
            ("leader-elector/ledger.redb", "record"),
            ("artifact-fetcher/blobs/ab", "cache"),
            ("outputs/a@1/x.csv", "outputs"),
            ("outputs/log", "logs"),
            ("up.log", "logs"),
            ("flink/lib/a.jar", "other"),
            ("deployment.key", "other"),
        ] {
            assert_eq!(PARTS[part(Path::new(below))], expected, "{below}");
        }
    }

    #[test]
    fn what_is_noted_daily_tells_how_fast_it_grows() {
        let state = tempfile::tempdir().unwrap();
        let places = Places::new(state.path());
        fs::create_dir_all(state.path().join("work/a@1")).unwrap();
        let (day, begin) =
            (Duration::from_secs(86_400), UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        let total = || Usage::of(&places).unwrap().total();
        assert_eq!(growth(&places, total(), begin), None);
        note(&places, begin).unwrap();
        let before = total();
        assert_eq!(growth(&places, before, begin + day / 48), None, "half an hour tells nothing");
        fs::write(state.path().join("work/a@1/file"), vec![1; 1_000_000]).unwrap();
        let grown = i64::try_from(total() - notes(&places)[0].bytes).unwrap();
        assert!(grown >= 1_000_000, "{grown}");
        assert_eq!(growth(&places, total(), begin + day * 2), Some((grown / 2, day * 2)));
        let usage: Vec<_> = Usage::of(&places).unwrap().parts().collect();
        assert!(
            usage.iter().any(|(part, bytes)| *part == "work" && *bytes >= 1_000_000),
            "{usage:?}"
        );
        for n in 0..20 {
            note(&places, begin + day * n / 2).unwrap();
        }
        let days: Vec<u64> = notes(&places)
            .iter()
            .map(|note| (note.unix_seconds - 1_700_000_000) / 86_400)
            .collect();
        assert_eq!(days, (2..10).collect::<Vec<_>>(), "one a day, the last ones");
        let (grown, since) = growth(&places, total(), begin + day * 10).unwrap();
        assert_eq!(since, day * 8, "since the oldest of them");
        assert!(
            grown.abs() < 1_000_000,
            "what grew before the oldest of them counts no more: {grown}"
        );
    }

    #[test]
    fn a_hole_in_a_file_takes_no_room() {
        let state = tempfile::tempdir().unwrap();
        fs::create_dir_all(state.path().join("jobgraph-store")).unwrap();
        let file = fs::File::create(state.path().join("jobgraph-store/record.redb")).unwrap();
        file.set_len(100_000_000).unwrap();
        let total = Usage::of(&Places::new(state.path())).unwrap().total();
        assert!(total < 1_000_000, "{total}");
    }

    #[test]
    fn damaged_notes_are_none_and_are_begun_anew() {
        let state = tempfile::tempdir().unwrap();
        let (places, now) =
            (Places::new(state.path()), UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        fs::write(file(&places), "[{").unwrap();
        assert_eq!(growth(&places, 1, now), None);
        note(&places, now).unwrap();
        assert_eq!(notes(&places).len(), 1);
    }
}
