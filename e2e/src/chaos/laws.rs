//! What has to hold of an application once it is clean, whatever was done to its deployment.

use std::path::Path;
use std::time::Instant;

use serde_json::Value;

use crate::gateway::{PREFIX, number};
use crate::observer::Overlap;

use super::application::{Application, Program};
use super::bed::Bed;
use super::plan::Plan;
use super::table::{self, Table, Verdict};

/// What is known of an application that is clean.
pub(super) struct Witnessed<'a> {
    pub(super) bed: &'a Bed,
    pub(super) plan: &'a Plan,
    pub(super) application: &'a Application,
    /// The application as the record shows it.
    pub(super) status: Value,
    /// Its events, oldest first.
    pub(super) events: Vec<Value>,
    /// When two main()s may have run at one instant.
    pub(super) excused: Vec<[Instant; 2]>,
}

impl Witnessed<'_> {
    /// All that is wrong.
    pub(super) fn objections(&self) -> Vec<String> {
        let may_cancel = self.plan.faults.iter().any(|(_, fault)| fault.may_cancel());
        let mut found = ending(&self.status, &self.events, may_cancel);
        found.extend(epochs(&self.events));
        found.extend(self.output());
        let name = self.application.name();
        let overlaps = self.bed.deployment.observer().overlaps().into_iter();
        let own = overlaps.filter(|overlap| overlap.attempts[0].application == name);
        let unexcused = own.filter(|overlap| !is_excused(overlap, &self.excused));
        found.extend(unexcused.map(|both| format!("two main()s ran at one instant: {both:?}")));
        let doubled = self.bed.deployment.observer().doubled().into_iter();
        let own = doubled.filter(|(application, ..)| *application == name);
        found.extend(own.map(|(_, incarnation, hosts)| {
            format!("incarnation {incarnation} lived on the hosts {hosts:?}")
        }));
        found.extend(self.bed.chronicle.violations(self.application.id));
        let missed = self.bed.chronicle.missed();
        if missed > 0 {
            found.push(format!("{missed} writes of fences were compacted before they were read"));
        }
        found
    }

    /// What is wrong with the output, as the record says how the jobs have ended.
    fn output(&self) -> Vec<String> {
        if self.status["outcome"] == "OUTCOME_SUCCEEDED" {
            return self.application.objections();
        }
        if self.application.program == Program::Flink {
            return Vec::new();
        }
        let tables = self.application.program.tables().iter();
        tables.filter_map(|table| self.of_a_cancelled(table)).collect()
    }

    /// A cancelled application has the whole output of a job that was published, and nothing of any
    /// other.
    fn of_a_cancelled(&self, table: &Table) -> Option<String> {
        let jobs = self.status["jobs"].as_array()?;
        let job = jobs.iter().find(|job| job["name"] == table.name);
        let is_published = job.is_some_and(|job| {
            job["published"] == true && job["end"]["outcome"] == "JOB_OUTCOME_SUCCEEDED"
        });
        let directory = self.application.directory(table);
        let verdict = table::judge(&directory, table);
        let parts = table::parts(&directory);
        let is_right = match verdict {
            Verdict::Whole => is_published,
            Verdict::Unmarked => !is_published && parts.is_empty(),
            Verdict::Torn(_) => false,
        };
        (!is_right).then(|| format!("{}: {verdict:?}, {parts:?}, and the job: {job:?}", table.name))
    }
}

/// What is wrong with the end of an application.
fn ending(status: &Value, events: &[Value], may_cancel: bool) -> Vec<String> {
    let mut found = Vec::new();
    let outcome = status["outcome"].as_str().unwrap_or_default();
    let is_allowed =
        outcome == "OUTCOME_SUCCEEDED" || (may_cancel && outcome == "OUTCOME_CANCELLED");
    if !is_allowed {
        found.push(format!("{outcome}: {} {}", status["reason"], status["message"]));
    }
    let leftovers = status["leftovers"].as_array().cloned().unwrap_or_default();
    if !leftovers.is_empty() {
        found.push(format!("left behind for good: {leftovers:?}"));
    }
    for kind in ["ended", "clean"] {
        let count = events.iter().filter(|event| event["kind"] == kind).count();
        if count != 1 {
            found.push(format!("{count} events `{kind}`"));
        }
    }
    for job in status["jobs"].as_array().into_iter().flatten() {
        let is_end = |event: &&Value| {
            event["kind"] == "job"
                && event["attributes"]["state"] == "ended"
                && event["jobId"] == job["jobId"]
        };
        let ends = events.iter().filter(is_end).count();
        // A cancelled application may have jobs that never ran.
        let is_wrong = ends > 1 || (ends == 0 && outcome == "OUTCOME_SUCCEEDED");
        if is_wrong {
            found.push(format!("{ends} ends of the job {}", job["name"]));
        }
    }
    found
}

/// What is wrong with the epochs of events, which stand in the order of commits: that of an event
/// never falls, and each leader has one of its own.
fn epochs(events: &[Value]) -> Vec<String> {
    let (mut latest, mut leader, mut found) = (0, 0, Vec::new());
    for event in events {
        let epoch = number(&event["epoch"]);
        if epoch == 0 {
            continue;
        }
        if epoch < latest {
            found.push(format!("epoch {epoch} after {latest}: {event}"));
        }
        latest = latest.max(epoch);
        if event["kind"] == "leader" {
            if epoch <= leader {
                found.push(format!("a second leader of epoch {epoch}: {event}"));
            }
            leader = epoch;
        }
    }
    found
}

/// Whether two main()s ran at one instant only when that may be.
fn is_excused(overlap: &Overlap, excused: &[[Instant; 2]]) -> bool {
    excused.iter().any(|[from, to]| *from <= overlap.first && overlap.last <= *to)
}

/// What is left of an application that is clean: processes, intents, directories.
pub(super) fn left(bed: &Bed, application: &Application) -> Vec<String> {
    let mut left = Vec::new();
    for (number, host) in bed.hosts() {
        let owned = host.owned().into_iter();
        left.extend(owned.map(|(pid, line)| format!("process {pid} of host {number}: {line}")));
        left.extend(below(&host.state().join("work")));
    }
    let intents = bed.gateway.list(&format!("{PREFIX}record/d/x/"), 0);
    match intents {
        Some(found) => left.extend(found.entries.into_iter().map(|entry| entry.key)),
        None => left.push("etcd does not answer".to_owned()),
    }
    left.extend(application.staging().map(|staging| staging.display().to_string()));
    left
}

fn below(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path().display().to_string()).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn event(kind: &str, epoch: u64) -> Value {
        json!({ "kind": kind, "epoch": epoch.to_string() })
    }

    fn end_of(job: &str) -> Value {
        json!({ "kind": "job", "epoch": "0", "jobId": job, "attributes": { "state": "ended" } })
    }

    #[test]
    fn one_end_is_right_and_every_other_one_is_seen() {
        let status = |outcome: &str| json!({ "outcome": outcome, "leftovers": [], "jobs": [{ "jobId": "1", "name": "a" }] });
        let succeeded = status("OUTCOME_SUCCEEDED");
        let events = [event("leader", 1), end_of("1"), event("ended", 1), event("clean", 1)];
        assert!(ending(&succeeded, &events, false).is_empty());
        let wrong = |status: &Value, events: &[Value], word: &str| {
            let found = ending(status, events, false);
            assert!(found.len() == 1 && found[0].contains(word), "{found:?}");
        };
        wrong(&status("OUTCOME_FAILED"), &events, "OUTCOME_FAILED");
        wrong(&status("OUTCOME_CANCELLED"), &events, "OUTCOME_CANCELLED");
        assert!(ending(&status("OUTCOME_CANCELLED"), &events, true).is_empty());
        wrong(&succeeded, &events[..3], "0 events `clean`");
        wrong(&succeeded, &[&events[..], &[event("ended", 1)]].concat(), "2 events `ended`");
        wrong(&succeeded, &[&events[..], &[end_of("1")]].concat(), "2 ends of the job");
        let mut given_up = succeeded;
        given_up["leftovers"] = json!(["host a"]);
        wrong(&given_up, &events, "left behind");
    }

    #[test]
    fn an_epoch_that_falls_or_has_two_leaders_is_seen() {
        let right = [event("leader", 1), event("job", 0), event("leader", 3), event("main", 3)];
        assert!(epochs(&right).is_empty());
        for (last, word) in [
            (event("main", 1), "epoch 1 after 3"),
            (event("leader", 3), "a second leader of epoch 3"),
        ] {
            let found = epochs(&[&right[..], &[last]].concat());
            assert!(found.len() == 1 && found[0].contains(word), "{found:?}");
        }
    }

    #[test]
    fn two_mains_are_excused_only_within_one_span() {
        let now = Instant::now();
        let at = |millis| now + Duration::from_millis(millis);
        let spans = [[at(0), at(500)], [at(900), at(1_000)]];
        let mark = crate::observer::Mark {
            host: 0,
            application: "a@1".to_owned(),
            kind: crate::observer::Kind::Attempt,
            number: 1,
        };
        let overlap = |first, last| Overlap {
            attempts: [mark.clone(), mark.clone()],
            shown: [String::new(), String::new()],
            first: at(first),
            last: at(last),
        };
        assert!(is_excused(&overlap(10, 500), &spans));
        assert!(!is_excused(&overlap(10, 950), &spans));
        assert!(!is_excused(&overlap(600, 700), &spans));
        assert!(!is_excused(&overlap(10, 20), &[]));
    }
}
