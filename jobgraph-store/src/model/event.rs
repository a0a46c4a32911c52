//! Events: the past of an application as people ask for it. The kinds and attributes of events are
//! stable, because programs read them.

use std::collections::HashMap;

use proto::{api, job};

use super::{Draft, cut};

/// The longest message of an event, and the longest value of an attribute, in bytes.
const MAX_MESSAGE_BYTES: usize = 4 * 1024;

/// An event that is being described.
#[derive(Debug)]
pub(crate) struct Telling(api::Event);

impl Telling {
    /// An event of this kind, with one line for people.
    pub(crate) fn new(kind: &str, message: impl Into<String>) -> Self {
        Self(api::Event { kind: kind.into(), message: message.into(), ..Default::default() })
    }

    /// An event that the leader tells, with its own kind and details.
    pub(crate) fn of(event: api::Event) -> Self {
        Self(event)
    }

    /// Adds a detail; an empty one is left out.
    pub(crate) fn with(mut self, name: &str, value: impl ToString) -> Self {
        let value = value.to_string();
        if !value.is_empty() {
            self.0.attributes.insert(name.into(), value);
        }
        self
    }

    /// Adds a stable reason.
    pub(crate) fn reason(mut self, reason: impl Into<String>) -> Self {
        self.0.reason = reason.into();
        self
    }

    /// Says which job the event is about.
    pub(crate) fn job(mut self, job_id: &str) -> Self {
        self.0.job_id = job_id.into();
        self
    }

    /// Says which incarnation of the cluster the event is about.
    pub(crate) fn incarnation(mut self, incarnation: u64) -> Self {
        self.0.incarnation = incarnation;
        self
    }
}

impl Draft {
    /// Adds an event of a leader's write, with the leader as its source.
    pub(crate) fn tell(&mut self, telling: Telling) {
        let source = self.dossier.attempt.holder.clone();
        self.tell_from(
            telling,
            if source.is_empty() { "record".into() } else { source },
            self.dossier.attempt.epoch,
        );
    }

    /// Adds an event with its source; epoch 0 when no leader was involved.
    pub(crate) fn tell_from(&mut self, Telling(mut event): Telling, source: String, epoch: u64) {
        event.application_id = self.dossier.application.id.to_string();
        event.generation = self.dossier.application.generation.get();
        event.at = self.at();
        event.source = source;
        event.epoch = epoch;
        event.message = cut(event.message, MAX_MESSAGE_BYTES);
        event
            .attributes
            .values_mut()
            .for_each(|value| *value = cut(std::mem::take(value), MAX_MESSAGE_BYTES));
        self.events.push(event);
    }
}

/// A name as it fits into a sentence: programs give jobs names of several lines.
pub(crate) fn one_line(name: &str) -> String {
    let words =
        name.split(|char: char| char.is_control() || char == ' ').filter(|word| !word.is_empty());
    if name.contains(char::is_control) {
        words.collect::<Vec<_>>().join(" ")
    } else {
        name.to_owned()
    }
}

/// An outcome as people read it.
pub fn outcome_word(outcome: api::Outcome) -> &'static str {
    match outcome {
        api::Outcome::Unspecified => "UNKNOWN",
        api::Outcome::Succeeded => "SUCCEEDED",
        api::Outcome::Failed => "FAILED",
        api::Outcome::Cancelled => "CANCELLED",
        api::Outcome::DeadlineExceeded => "DEADLINE_EXCEEDED",
    }
}

/// A job's outcome as people read it.
pub fn job_outcome_word(outcome: job::JobOutcome) -> &'static str {
    match outcome {
        job::JobOutcome::Unspecified => "UNKNOWN",
        job::JobOutcome::Succeeded => "SUCCEEDED",
        job::JobOutcome::Failed => "FAILED",
        job::JobOutcome::Cancelled => "CANCELLED",
        job::JobOutcome::Abandoned => "ABANDONED",
        job::JobOutcome::Lost => "LOST",
    }
}

/// Counters and places of what a job staged, by their attribute names.
pub(crate) fn output_attributes(end: &job::JobEnd) -> HashMap<&'static str, String> {
    let progress = end.progress.unwrap_or_default();
    let outputs = end.manifest.as_ref().map_or(&[][..], |manifest| &manifest.outputs);
    // Of a large manifest the record has only the counts.
    let listed = outputs.iter().flat_map(|output| &output.files);
    let files =
        listed.clone().count() as u64 + outputs.iter().map(|output| output.file_count).sum::<u64>();
    let staged =
        listed.map(|file| file.size_bytes).chain(outputs.iter().map(|output| output.size_bytes));
    let staged: u64 = staged.sum();
    let mut attributes = HashMap::from([
        ("rows_in", progress.rows_in.to_string()),
        ("rows_out", progress.rows_out.to_string()),
        ("bytes_out", if staged > 0 { staged } else { progress.bytes_out }.to_string()),
    ]);
    if let Some(first) = outputs.first() {
        attributes.insert("files", files.to_string());
        let locations: Vec<&str> = outputs.iter().map(|output| output.location.as_str()).collect();
        attributes.insert("location", locations.join(", "));
        attributes.insert("format", first.format.clone());
    }
    attributes
}
