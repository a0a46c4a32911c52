//! Words for people: what phases, outcomes and jobs are called in tables and lines.

use std::time::{Duration, SystemTime};

use prost_types::Timestamp;
use proto::api::{Application, Condition, ConditionStatus, Job, JobState, LogLine, Outcome, Phase};
use proto::job::JobOutcome;

use crate::duration;
use crate::output::Style;

/// The word for an application's state: its outcome once it is clean, before that its phase, which
/// is CLEANING while something is left to do.
pub(crate) fn state(application: &Application) -> &'static str {
    match application.phase() {
        Phase::Ended => outcome(application.outcome()),
        other => phase(other),
    }
}

/// The word for a phase.
pub(crate) fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Unspecified => "UNKNOWN",
        Phase::Submitted => "SUBMITTED",
        Phase::Queued => "QUEUED",
        Phase::Starting => "STARTING",
        Phase::Running => "RUNNING",
        Phase::Finishing => "FINISHING",
        Phase::Cleaning => "CLEANING",
        Phase::Ended => "ENDED",
    }
}

/// Whether the line holds no text and only tells of bytes that were lost where no more bytes
/// followed.
pub(crate) fn is_gap(line: &LogLine) -> bool {
    line.lost_before > 0 && line.partial && line.text.is_empty()
}

/// The word for how an application ended.
pub(crate) fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Unspecified => "UNKNOWN",
        Outcome::Succeeded => "SUCCEEDED",
        Outcome::Failed => "FAILED",
        Outcome::Cancelled => "CANCELLED",
        Outcome::DeadlineExceeded => "DEADLINE_EXCEEDED",
    }
}

/// The word for a job's state: its outcome once it has ended and its output is in its place or was
/// given up.
pub(crate) fn job_state(job: &Job) -> &'static str {
    match (job.state(), job.end.as_ref()) {
        (JobState::Publishing, Some(_)) if !job.published => "PUBLISHING",
        (_, Some(end)) => job_outcome(end.outcome()),
        (JobState::Stored, None) => "STORED",
        (JobState::Running, None) if job.progress.is_some_and(|progress| progress.waiting) => {
            "WAITING"
        }
        (JobState::Running, None) => "RUNNING",
        (JobState::Publishing, None) => "PUBLISHING",
        (JobState::Ended, None) => "ENDED",
        (JobState::Unspecified, None) => "UNKNOWN",
    }
}

/// The word for how a job ended.
pub(crate) fn job_outcome(outcome: JobOutcome) -> &'static str {
    match outcome {
        JobOutcome::Unspecified => "UNKNOWN",
        JobOutcome::Succeeded => "SUCCEEDED",
        JobOutcome::Failed => "FAILED",
        JobOutcome::Cancelled => "CANCELLED",
        JobOutcome::Abandoned => "ABANDONED",
        JobOutcome::Lost => "LOST",
    }
}

/// A word without the prefix that enum values carry on the wire: `JOB_OUTCOME_FAILED` is `FAILED`.
pub(crate) fn bare(word: &str) -> &str {
    ["JOB_OUTCOME_", "OUTCOME_", "JOB_STATE_", "CLUSTER_STATE_", "PHASE_"]
        .iter()
        .find_map(|prefix| word.strip_prefix(prefix))
        .unwrap_or(word)
}

/// The colour of a state's word.
pub(crate) fn style(word: &str) -> Style {
    match word {
        "SUCCEEDED" => Style::Good,
        "FAILED" | "LOST" | "DEADLINE_EXCEEDED" => Style::Bad,
        "CLEANING" | "STALE" | "CANCELLED" | "ABANDONED" => Style::Warn,
        _ => Style::Bold,
    }
}

/// How long ago an instant was; zero for the future.
pub(crate) fn age(at: Option<&Timestamp>, now: SystemTime) -> Option<Duration> {
    let at = SystemTime::try_from(*at?).ok()?;
    Some(now.duration_since(at).unwrap_or_default())
}

/// An age for a column: `5h`, or `-`.
pub(crate) fn age_or_dash(at: Option<&Timestamp>, now: SystemTime) -> String {
    age(at, now).map_or_else(|| "-".to_owned(), duration::short)
}

/// The time between two instants; zero if the second is before the first.
pub(crate) fn between(from: Option<&Timestamp>, to: Option<&Timestamp>) -> Option<Duration> {
    let (from, to) = (SystemTime::try_from(*from?).ok()?, SystemTime::try_from(*to?).ok()?);
    Some(to.duration_since(from).unwrap_or_default())
}

/// The time of day (UTC) to a tenth of a second: `12:03:07.1`.
pub(crate) fn time_of_day(at: &Timestamp) -> String {
    let seconds = at.seconds.rem_euclid(86_400);
    let tenths = at.nanos.clamp(0, 999_999_999) / 100_000_000;
    format!("{:02}:{:02}:{:02}.{tenths}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// Why an application is as it is, in one line: the sentence of its reason, how main() exited, what
/// is left over.
pub(crate) fn why(application: &Application) -> String {
    let mut parts = Vec::new();
    if !application.leftovers.is_empty() {
        parts.push(format!("left over: {}", application.leftovers.join(", ")));
    }
    let succeeded = application.outcome() == Outcome::Succeeded;
    if !application.message.is_empty() {
        parts.push(way_out(&application.message).0.lines().next().unwrap_or_default().to_owned());
    } else if !application.reason.is_empty() && !succeeded {
        parts.push(application.reason.clone());
    } else if succeeded && !application.clean {
        parts.push("succeeded".to_owned());
    }
    let desired = application.desired.clone().unwrap_or_default();
    if !application.terminal && desired.cancel {
        parts.push("cancel requested".to_owned());
    }
    if !application.clean && desired.abandon {
        parts.push("abandon requested".to_owned());
    }
    parts.extend(troubles(application).map(|trouble| way_out(&trouble.message).0.to_owned()));
    parts.join("; ")
}

/// What cannot be done now, is tried again, and may need the operator's help.
pub(crate) fn troubles(application: &Application) -> impl Iterator<Item = &Condition> {
    let told = |condition: &&Condition| {
        condition.status() == ConditionStatus::False
            && !condition.reason.is_empty()
            && !application.clean
    };
    application.conditions.iter().filter(told)
}

/// The condition that tells of a process of the present incarnation that died and was started
/// again, and of the cause.
pub(crate) fn died(application: &Application) -> Option<&Condition> {
    let told = |condition: &&Condition| {
        condition.r#type == "ProcessesLive" && condition.status() == ConditionStatus::False
    };
    application.conditions.iter().find(told)
}

/// Whether the deployment has several hosts. Contenders are called `<host>/runner-<n>` there, and
/// `runner-<n>` where there is one host.
pub(crate) fn has_several_hosts(application: &Application) -> bool {
    application.leadership.as_ref().is_some_and(|leadership| leadership.leader.contains('/'))
}

/// Splits a message of the record into the message and its last part, the way out, which `; help: `
/// introduces.
pub(crate) fn way_out(message: &str) -> (&str, Option<&str>) {
    match message.split_once("; help: ") {
        Some((message, way_out)) => (message, Some(way_out.trim())),
        None => (message, None),
    }
}

/// A name in one line, because programs give jobs names of several lines.
pub(crate) fn one_line(name: &str) -> String {
    let words =
        name.split(|char: char| char.is_control() || char == ' ').filter(|word| !word.is_empty());
    if name.contains(char::is_control) {
        words.collect::<Vec<_>>().join(" ")
    } else {
        name.to_owned()
    }
}

/// The text, with `…` for the end of one that is longer than the columns.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(columns.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_tells_of_lost_bytes_and_holds_none_is_no_line() {
        let line = |lost_before, partial, text: &'static str| LogLine {
            lost_before,
            partial,
            text: text.as_bytes().to_vec().into(),
            ..LogLine::default()
        };
        assert!(is_gap(&line(3, true, "")));
        for shown in
            [line(3, true, "rest"), line(3, false, ""), line(0, false, ""), line(0, true, "")]
        {
            assert!(!is_gap(&shown), "{shown:?}");
        }
    }
}
