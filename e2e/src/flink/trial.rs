//! One cell of the kill matrix: which part is killed at which moment, and what has to come of it.

use super::{ExactlyOnce, Moment, Part, Tally};
use crate::{Finished, Host};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// How many numbers are counted, which is about five seconds of work.
const NUMBERS: u64 = 8_000;

/// A part that is killed at a moment.
#[derive(Debug, Clone, Copy)]
pub struct Trial {
    /// The part.
    pub part: Part,
    /// The moment.
    pub moment: Moment,
}

/// What came of a trial.
#[derive(Debug)]
pub struct Verdict {
    /// The command as its user saw it.
    pub run: Finished,
    /// What the committed files hold.
    pub tally: Tally,
    /// `OUTCOME_…` of the application.
    pub outcome: String,
    /// `JOB_OUTCOME_…` of its job, or empty if there is none.
    pub job: String,
    /// How often Flink restarted the job in the last cluster.
    pub restarts: u64,
    /// How many incarnations of the cluster there were.
    pub incarnations: u64,
    /// How often main() was executed.
    pub executions: u64,
    /// How many ends of jobs are in the record's events.
    pub ends: usize,
    /// How often the job was submitted to a cluster.
    pub submissions: u64,
    /// A file of its checkpoints that is still there.
    pub left: Option<PathBuf>,
}

impl Trial {
    /// Whether the process exists at this moment: main() has left before the end is in the record,
    /// and the cluster before its teardown is over.
    pub fn is_possible(self) -> bool {
        match self.part {
            Part::Main => !self.moment.is_after_the_end(),
            Part::JobManager | Part::TaskManager | Part::Jobs => self.moment != Moment::InTeardown,
            _ => true,
        }
    }

    /// Runs the trial on a host of its own. Returning is a part of the proof, because nothing of
    /// the host is left then.
    #[track_caller]
    pub fn run(self) -> Verdict {
        self.run_on(Host::new())
    }

    /// Runs the trial on this host, which was not used before.
    #[track_caller]
    pub fn run_on(self, host: Host) -> Verdict {
        let (host, marker) = self.moment.prepare(host);
        let counted = ExactlyOnce::start(&host, NUMBERS, &["--contenders", "2"]);
        self.moment.wait(&host, &counted, marker.as_deref());
        self.part.kill(&host);
        if let Some(marker) = marker {
            std::fs::write(marker.with_added_extension("go"), "")
                .expect("the host's directory is writable");
        }
        let (run, tally) = counted.finish(&host);
        let status = host.status(ExactlyOnce::ID);
        let events = host.events(ExactlyOnce::ID);
        let job = &status["jobs"][0];
        let ended =
            |event: &&Value| event["kind"] == "job" && event["attributes"]["state"] == "ended";
        let verdict = Verdict {
            run,
            tally,
            outcome: text(&status["outcome"]),
            job: text(&job["end"]["outcome"]),
            restarts: job["end"]["progress"]["restarts"].as_u64().unwrap_or_default(),
            incarnations: text(&status["cluster"]["incarnation"]).parse().unwrap_or_default(),
            executions: status["main"]["executions"].as_u64().unwrap_or_default(),
            ends: events.iter().filter(ended).count(),
            submissions: job["submissions"].as_u64().unwrap_or_default(),
            left: something(&host.state().join("checkpoints")),
        };
        assert_eq!(status["clean"], true, "{status:#}");
        host.down();
        verdict
    }

    /// Whether a job that had ended was run again.
    pub fn has_run_again(self, verdict: &Verdict) -> bool {
        verdict.ends > 1 || (self.moment.is_after_the_end() && verdict.submissions > 1)
    }

    /// What is wrong with a verdict, if anything.
    pub fn objection(self, verdict: &Verdict) -> Option<String> {
        if verdict.outcome != "OUTCOME_SUCCEEDED" {
            return Some(format!("{} instead of OUTCOME_SUCCEEDED", verdict.outcome));
        }
        if self.has_run_again(verdict) {
            return Some(format!(
                "{} ends, {} submissions of one job",
                verdict.ends, verdict.submissions
            ));
        }
        if verdict.tally != Tally::default() {
            return Some(format!("{:?}", verdict.tally));
        }
        if let Some(left) = &verdict.left {
            return Some(format!("an ended job has no use for {}", left.display()));
        }
        self.unexpected_disturbance(verdict)
    }

    /// A disturbance of the job by the death of a process that does not run it.
    fn unexpected_disturbance(self, verdict: &Verdict) -> Option<String> {
        let runs_the_job = matches!(self.part, Part::JobManager | Part::TaskManager | Part::All);
        if !runs_the_job && (verdict.restarts, verdict.incarnations) != (0, 1) {
            return Some(format!(
                "{} restarts, {} incarnations",
                verdict.restarts, verdict.incarnations
            ));
        }
        if self.part == Part::TaskManager && verdict.incarnations != 1 {
            return Some(format!("{} incarnations", verdict.incarnations));
        }
        None
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A file or empty directory in a directory, as deep as it goes.
fn something(directory: &Path) -> Option<PathBuf> {
    let mut entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.next().map(|entry| something(&entry.path()).unwrap_or_else(|| entry.path()))
}
