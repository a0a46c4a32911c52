//! The story of a run as people read it: one line for each transition, made from the events of the
//! record alone.

mod job;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use prost_types::Timestamp;
use proto::api::{Application, Event, Outcome};

use self::job::UntoldJobs;
use crate::table::{ordinal, plural, size};
use crate::words;
use crate::{duration, ending};

/// A line of the story: how long after the submit, which subject, what happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// The time since the submit.
    pub(crate) elapsed: Duration,
    /// The subject: `artifact`, `leader`, `cluster`, `main()`, `job`, …
    pub(crate) label: &'static str,
    /// What happened.
    pub(crate) text: String,
}

impl Line {
    /// The line as it is printed, such as ` 0.61s job       by_carrier  SUCCEEDED`; `paint` colours
    /// the label.
    pub(crate) fn render(&self, paint: impl Fn(&str) -> String) -> String {
        format!("{} {} {}", clock(self.elapsed), paint(&format!("{:<9}", self.label)), self.text)
    }
}

/// The time column, which has six characters up to an hour and a half.
fn clock(elapsed: Duration) -> String {
    if elapsed < Duration::from_secs(100) {
        return format!("{:5.2}s", elapsed.as_secs_f64());
    }
    format!("{:>6}", duration::short(elapsed))
}

/// What the next event needs to know of the events that were told.
#[derive(Debug)]
pub(crate) struct Story {
    began: Option<Timestamp>,
    standbys: u32,
    main_started: Option<Timestamp>,
    main_exit: Option<String>,
    jobs: UntoldJobs,
    ended: Option<Outcome>,
}

impl Story {
    /// A story that begins with the submit; locations below `directory` are shown relative to it.
    pub(crate) fn new(application: &Application, directory: PathBuf) -> Self {
        let contenders = application.spec.as_ref().map_or(1, |spec| spec.contenders);
        let logs = ending::logs(application);
        Self {
            began: application.submitted_at,
            standbys: contenders.saturating_sub(1),
            main_started: None,
            main_exit: None,
            jobs: UntoldJobs::new(directory, logs),
            ended: None,
        }
    }

    /// The lines that an event adds to the story: mostly one, often none.
    pub(crate) fn tell(&mut self, event: &Event) -> Vec<Line> {
        let attributes = Attributes(event);
        let elapsed = words::between(self.began.as_ref(), event.at.as_ref()).unwrap_or_default();
        let line = |label, text| vec![Line { elapsed, label, text }];
        match event.kind.as_str() {
            "artifact" => line("artifact", artifact(&attributes)),
            "leader" => line("leader", self.leader(&attributes, event.epoch)),
            "cluster" => cluster(&attributes).map(|text| line("cluster", text)).unwrap_or_default(),
            "main" => {
                self.main(&attributes, event).map(|text| line("main()", text)).unwrap_or_default()
            }
            "job" => self
                .jobs
                .event(elapsed, &attributes, event)
                .map(|text| line("job", text))
                .unwrap_or_default(),
            "published" => {
                self.jobs.published(&attributes).map(|text| line("job", text)).unwrap_or_default()
            }
            "cancel" => line("cancel", cancel(&attributes)),
            "ended" => {
                self.ended = Outcome::from_str_name(&format!(
                    "OUTCOME_{}",
                    words::bare(attributes.get("outcome"))
                ));
                self.jobs
                    .unpublished()
                    .into_iter()
                    .map(|text| Line { elapsed, label: "job", text })
                    .collect()
            }
            "savepoint" => line("savepoint", said(event)),
            "restart" => line("restart", said(event)),
            "stale" => line("STALE", event.message.clone()),
            "leftover" => line("left over", said(event)),
            "warning" => line("warning", said(event)),
            _ => Vec::new(),
        }
    }

    /// Lines for jobs that have run for a while and had no line yet.
    pub(crate) fn still_running(&mut self, elapsed: Duration) -> Vec<Line> {
        self.jobs
            .still_running(elapsed)
            .into_iter()
            .map(|text| Line { elapsed, label: "job", text })
            .collect()
    }

    /// The last line: outcome, how main() ended, how many jobs, and what is left over (not known
    /// until the application is clean).
    pub(crate) fn end(&self, application: &Application) -> Line {
        let elapsed =
            words::between(self.began.as_ref(), application.ended_at.as_ref()).unwrap_or_default();
        let mut parts = Vec::new();
        parts.extend(self.main_exit.as_ref().map(|exit| format!("main() {exit}")));
        parts.push(plural(application.jobs.len() as u64, "job"));
        if application.clean {
            parts.push(left_over(&application.leftovers));
        }
        let outcome = words::outcome(application.outcome());
        Line { elapsed, label: "ended", text: format!("{outcome}  {}", parts.join(", ")) }
    }

    fn leader(&self, attributes: &Attributes<'_>, epoch: u64) -> String {
        let mut text = attributes.get("holder").to_owned();
        if let Some(pid) = attributes.some("pid") {
            text.push_str(&format!(" (pid {pid})"));
        }
        text.push_str(&format!("  epoch {epoch}"));
        let nth: u32 = attributes.number("ordinal");
        if nth > 1 {
            text.push_str(&format!(" ({} leader)", ordinal(nth)));
            text.push_str(
                &attributes
                    .some("cause")
                    .map(|cause| format!("; cause: {cause}"))
                    .unwrap_or_default(),
            );
            return text;
        }
        // Of several hosts, which are in the names of their contenders, another one keeps a standby
        // too, if it is there.
        let is_of_several = attributes.get("holder").contains('/');
        text.push_str(&match self.standbys {
            0 if is_of_several => String::new(),
            0 => ", no standby".to_owned(),
            count => format!(", {}", plural(u64::from(count), "warm standby")),
        });
        text
    }

    fn main(&mut self, attributes: &Attributes<'_>, event: &Event) -> Option<String> {
        if attributes.get("state") == "started" {
            self.main_started = event.at;
            let again = if attributes.number::<u32>("execution") > 1 {
                "executed again"
            } else {
                "started"
            };
            let pid = attributes.some("pid").map(|pid| format!(" (pid {pid})")).unwrap_or_default();
            return Some(format!("{again}{pid}"));
        }
        if attributes.get("state") == "killed" {
            return Some(format!("{}, is executed again", killed(attributes)));
        }
        if attributes.get("state") != "ended" {
            return None;
        }
        let exit = match (attributes.some("exit_code"), attributes.some("signal")) {
            (Some(code), _) => format!("exit {code}"),
            (None, Some(_)) => killed(attributes),
            (None, None) => "ended".to_owned(),
        };
        self.main_exit = Some(exit.clone());
        // A main() that ended well needs no line of its own, because the last line says so.
        if exit == "exit 0" {
            return None;
        }
        let ran = words::between(self.main_started.as_ref(), event.at.as_ref());
        Some(format!(
            "{exit}{}",
            ran.map(|ran| format!(" after {}", duration::show(ran))).unwrap_or_default()
        ))
    }
}

/// Who killed main(), such as `killed by signal 9 (the kernel's OOM killer)`.
fn killed(attributes: &Attributes<'_>) -> String {
    let signal = attributes.get("signal");
    let sender =
        attributes.some("signal_sender").map(|sender| format!(" ({sender})")).unwrap_or_default();
    format!("killed by signal {signal}{sender}")
}

/// What is left over, in words.
pub(crate) fn left_over(leftovers: &[String]) -> String {
    if leftovers.is_empty() {
        "nothing left over".to_owned()
    } else {
        format!("left over: {}", leftovers.join(", "))
    }
}

fn artifact(attributes: &Attributes<'_>) -> String {
    let digest = attributes.get("digest");
    let short = match digest.strip_prefix("sha256:") {
        Some(hex) if hex.len() == 64 => format!("sha256:{}…{}", &hex[..4], &hex[62..]),
        _ => digest.to_owned(),
    };
    format!("{} {}  {short}  pinned", attributes.get("name"), size(attributes.number("size_bytes")))
}

fn cluster(attributes: &Attributes<'_>) -> Option<String> {
    let incarnation = attributes.get("incarnation");
    match attributes.get("state") {
        "ready" => {
            let roles =
                attributes.get("roles").split([',', ' ']).filter_map(|role| role.split_once('='));
            let roles: Vec<_> =
                roles.map(|(role, n)| plural(n.parse().unwrap_or(0), role)).collect();
            Some(format!("incarnation {incarnation}, {} ready", roles.join(", ")))
        }
        // The start of the first incarnation and the end of each are part of every run.
        "gone" => None,
        _ if incarnation == "1" => None,
        _ => {
            let cause = attributes.some("cause").and_then(|cause| cause.lines().next());
            let cause = cause.map(|cause| format!("; cause: {cause}")).unwrap_or_default();
            Some(format!("incarnation {incarnation} starting{cause}"))
        }
    }
}

fn cancel(attributes: &Attributes<'_>) -> String {
    let by = attributes.some("requested_by").map(|by| format!(" by {by}")).unwrap_or_default();
    let why = attributes.some("reason").map(|why| format!(": {why}")).unwrap_or_default();
    format!("requested{by}{why}")
}

fn said(event: &Event) -> String {
    if event.message.is_empty() { event.reason.clone() } else { event.message.clone() }
}

/// The attributes of an event; an absent one is empty.
pub(super) struct Attributes<'a>(&'a Event);

impl Attributes<'_> {
    fn get(&self, name: &str) -> &str {
        self.0.attributes.get(name).map_or("", String::as_str)
    }

    fn some(&self, name: &str) -> Option<&str> {
        Some(self.get(name)).filter(|value| !value.is_empty())
    }

    fn number<N: std::str::FromStr + Default>(&self, name: &str) -> N {
        self.get(name).parse().unwrap_or_default()
    }
}

/// Values by the names of jobs.
pub(super) type ByName<T> = BTreeMap<String, T>;
