//! What the story says about jobs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use proto::api::Event;

use super::{Attributes, ByName};
use crate::table::{count, plural, size};
use crate::words;

/// A job that runs longer than this is worth a line before its end.
const A_WHILE: Duration = Duration::from_secs(1);

/// Jobs that are not told to their end yet.
#[derive(Debug)]
pub(super) struct Jobs {
    directory: PathBuf,
    /// Submitted: when, and whether that was told.
    running: ByName<(Duration, bool)>,
    /// Ended well with output that is not published yet: the line waits for that.
    publishing: ByName<String>,
}

impl Jobs {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory, running: ByName::new(), publishing: ByName::new() }
    }

    /// A transition of a job.
    pub(super) fn event(
        &mut self,
        elapsed: Duration,
        attributes: &Attributes<'_>,
        event: &Event,
    ) -> Option<String> {
        let name = attributes.get("name");
        match attributes.get("state") {
            "submitted" => {
                self.running.entry(name.to_owned()).or_insert((elapsed, false));
                None
            }
            "attached" => Some(format!("execute(\"{name}\") attached to the running job")),
            "ended" => self.ended(name, attributes, event),
            _ => None,
        }
    }

    fn ended(&mut self, name: &str, attributes: &Attributes<'_>, event: &Event) -> Option<String> {
        self.running.remove(name);
        let outcome = words::bare(attributes.get("outcome"));
        let mut text = format!("{name}  {outcome}");
        if outcome != "SUCCEEDED" {
            let why = attributes.some("message").unwrap_or(&event.reason);
            if let Some(line) = why.lines().next() {
                text.push_str(&format!("  {}", words::cut(line, 120)));
            }
            return Some(text);
        }
        let (rows_in, rows_out) = (attributes.number("rows_in"), attributes.number("rows_out"));
        text.push_str(&format!("  {} in, {} out", rows(rows_in), count(rows_out)));
        if attributes.number::<u64>("files") == 0 && attributes.some("location").is_none() {
            return Some(text);
        }
        self.publishing.insert(name.to_owned(), text);
        None
    }

    /// A job's output is at its final place.
    pub(super) fn published(&mut self, attributes: &Attributes<'_>) -> Option<String> {
        let name = attributes.get("name");
        let told = self.publishing.remove(name).unwrap_or_else(|| format!("{name}  published"));
        let files = attributes.number("files");
        let bytes = attributes.number("bytes_out");
        let place = attributes.some("location").map(|location| format!(" -> {}", self.shown(location)));
        Some(format!("{told}{} ({}, {})", place.unwrap_or_default(), plural(files, "file"), size(bytes)))
    }

    /// Lines of jobs whose output was not published before the application ended.
    pub(super) fn unpublished(&mut self) -> Vec<String> {
        std::mem::take(&mut self.publishing)
            .into_values()
            .map(|line| format!("{line}  (not published)"))
            .collect()
    }

    /// Jobs that have run for a while and were not told of; they are now.
    pub(super) fn still_running(&mut self, elapsed: Duration) -> Vec<String> {
        let untold =
            self.running.iter_mut().filter(|(_, (since, told))| !*told && *since + A_WHILE < elapsed);
        untold
            .map(|(name, (_, told))| {
                *told = true;
                format!("{name}  RUNNING")
            })
            .collect()
    }

    /// A location as short as it can be understood from where the reader is; a directory ends with a slash.
    fn shown(&self, location: &str) -> String {
        let path = Path::new(location.strip_prefix("file://").unwrap_or(location));
        let short = path.strip_prefix(&self.directory).unwrap_or(path).display().to_string();
        if short.is_empty() { "./".to_owned() } else { format!("{}/", short.trim_end_matches('/')) }
    }
}

fn rows(number: u64) -> String {
    plural(number, "row")
}
