//! What the story says about jobs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use proto::api::Event;

use super::{Attributes, ByName};
use crate::table::{count, plural, size};
use crate::words;

/// A job that runs longer than this is worth a line before its end.
const A_WHILE: Duration = Duration::from_secs(1);

/// The jobs that the story has not told to their end yet.
#[derive(Debug)]
pub(super) struct UntoldJobs {
    directory: PathBuf,
    /// The command that reads what a job's processes print, without the role; `None` where that
    /// output is not kept.
    logs: Option<String>,
    /// The role whose output holds what a job prints.
    prints_in: ByName<String>,
    /// The jobs that were submitted: when, and whether a line said that they run.
    running: ByName<(Duration, bool)>,
    /// The lines of jobs that succeeded and whose output is not published yet; a line is told once
    /// it is.
    publishing: ByName<String>,
}

impl UntoldJobs {
    pub(super) fn new(directory: PathBuf, logs: Option<String>) -> Self {
        Self {
            directory,
            logs,
            prints_in: ByName::new(),
            running: ByName::new(),
            publishing: ByName::new(),
        }
    }

    /// The line for a transition of a job, if the transition is worth one.
    pub(super) fn event(
        &mut self,
        elapsed: Duration,
        attributes: &Attributes<'_>,
        event: &Event,
    ) -> Option<String> {
        let name = attributes.get("name");
        match attributes.get("state") {
            "stored" => {
                let role =
                    attributes.some("prints_in").map(|role| (name.to_owned(), role.to_owned()));
                self.prints_in.extend(role);
                None
            }
            "submitted" => {
                self.running.entry(name.to_owned()).or_insert((elapsed, false));
                None
            }
            "attached" => Some(attached(attributes)),
            "ended" => self.ended(name, attributes, event),
            _ => None,
        }
    }

    fn ended(&mut self, name: &str, attributes: &Attributes<'_>, event: &Event) -> Option<String> {
        self.running.remove(name);
        let outcome = words::bare(attributes.get("outcome"));
        let mut text = format!("{}  {outcome}", words::one_line(name));
        if outcome != "SUCCEEDED" {
            let why = attributes.some("message").unwrap_or(&event.reason);
            // The reason of a cancelled job repeats the outcome.
            if let Some(line) = why.lines().next().filter(|line| *line != outcome) {
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

    /// The line for a job whose output is at its final place.
    pub(super) fn published(&mut self, attributes: &Attributes<'_>) -> Option<String> {
        let name = attributes.get("name");
        let told = self
            .publishing
            .remove(name)
            .unwrap_or_else(|| format!("{}  published", words::one_line(name)));
        let files = attributes.number("files");
        let bytes = attributes.number("bytes_out");
        let place =
            attributes.some("location").map(|location| format!(" -> {}", self.shown(location)));
        Some(format!(
            "{told}{} ({}, {})",
            place.unwrap_or_default(),
            plural(files, "file"),
            size(bytes)
        ))
    }

    /// The lines of jobs whose output was not published before the application ended.
    pub(super) fn unpublished(&mut self) -> Vec<String> {
        std::mem::take(&mut self.publishing)
            .into_values()
            .map(|line| format!("{line}  (not published)"))
            .collect()
    }

    /// The lines of jobs that have run for a while and had no line; each job gets one such line.
    pub(super) fn still_running(&mut self, elapsed: Duration) -> Vec<String> {
        let (logs, prints_in) = (&self.logs, &self.prints_in);
        let untold = self
            .running
            .iter_mut()
            .filter(|(_, (since, told))| !*told && *since + A_WHILE < elapsed);
        untold
            .map(|(name, (_, told))| {
                *told = true;
                let printed = logs.as_ref().zip(prints_in.get(name));
                let printed =
                    printed.map(|(logs, role)| format!("  what it prints: {logs} --role {role}"));
                format!("{}  RUNNING{}", words::one_line(name), printed.unwrap_or_default())
            })
            .collect()
    }

    /// A location as short as the reader can understand it from the current directory; a directory
    /// ends with a slash.
    fn shown(&self, location: &str) -> String {
        let path = Path::new(location.strip_prefix("file://").unwrap_or(location));
        let short = path.strip_prefix(&self.directory).unwrap_or(path).display().to_string();
        if short.is_empty() { "./".to_owned() } else { format!("{}/", short.trim_end_matches('/')) }
    }
}

/// Says that a main() which was executed again came back to a recorded job, found by its name or by
/// its place.
fn attached(attributes: &Attributes<'_>) -> String {
    let name = words::one_line(attributes.get("name"));
    let (asked, which) = match attributes.some("asked") {
        Some(asked) => (words::one_line(asked), format!(" \"{name}\"")),
        None => (name, String::new()),
    };
    match attributes.some("outcome") {
        Some(outcome) => {
            format!(
                "execute(\"{asked}\") answered with the recorded end of the job{which}: {}",
                words::bare(outcome)
            )
        }
        None => format!("execute(\"{asked}\") attached to the running job{which}"),
    }
}

fn rows(number: u64) -> String {
    plural(number, "row")
}
