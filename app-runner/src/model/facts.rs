//! What is known during one attempt.

use std::collections::{BTreeMap, BTreeSet};

use ::record::MainExit;
use proto::{Epoch, Incarnation, JobId, Reason};

use super::decision::{Decision, Leave};
use super::exit;
use super::failure::Failure;
use super::recorded::{MainState, Outcome, Recorded};

/// Something that is done once in an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Step {
    /// The step is not done yet.
    #[default]
    Pending,
    /// The step is done.
    Done,
}

impl Step {
    /// Whether the step is done.
    pub fn is_done(self) -> bool {
        self == Self::Done
    }
}

/// What this leader knows of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Cluster {
    /// Nothing is known but what the record says.
    #[default]
    Unasked,
    /// The incarnation is begun; its processes are not known to be ready.
    Begun {
        /// The incarnation that was begun.
        incarnation: Incarnation,
        /// How many calls of `Adopt` in a row the incarnation has not answered.
        doubts: u32,
    },
    /// The processes of the incarnation are ready; the incarnation does not know this leader yet.
    Ready {
        /// The incarnation whose processes are ready.
        incarnation: Incarnation,
        /// Where the incarnation serves jobs.
        endpoint: String,
        /// How many calls of `Adopt` in a row the incarnation has not answered.
        doubts: u32,
    },
    /// The incarnation takes this leader's calls.
    Live {
        /// The incarnation that was adopted.
        incarnation: Incarnation,
        /// Where the incarnation serves jobs.
        endpoint: String,
    },
    /// The incarnation cannot go on.
    Dead {
        /// The incarnation that died; 0 when there was none.
        incarnation: Incarnation,
        /// Why the incarnation died, for people.
        message: String,
    },
}

/// What this leader knows of main().
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Main {
    /// This attempt has not started main().
    #[default]
    NotStarted,
    /// The start of main() is under way: from here on main() may run.
    Starting,
    /// main() runs under this attempt's tether.
    Running,
    /// main() has ended; the record does not say so yet.
    Exited(MainExit),
    /// main() has ended, and the record says so.
    Recorded(MainExit),
    /// main() could not be started and is not tried again: the application ends without it.
    Stopped,
}

/// What this leader knows of one job beyond the record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobFacts {
    /// This attempt's main() executed the job.
    pub reached: bool,
    /// The end of the job was handed to this attempt's main().
    pub answered: bool,
    /// The reason with which main() asked to cancel the job, if it did.
    pub cancel: Option<String>,
    /// The cluster was asked to cancel the job.
    pub cancel_sent: bool,
}

/// Everything that decisions rest on: the record, and what this process has seen since. Nothing
/// else may influence a decision, so that two drivers with equal facts decide equally.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// The epoch of this leadership.
    pub epoch: Epoch,
    /// The record, with this process's own writes.
    pub record: Recorded,
    /// The lease's deadline has passed without a confirmation.
    pub suspended: bool,
    /// How the attempt is over, once it is.
    pub leave: Option<Leave>,
    /// The first thing that decided the outcome; a cancel in the record stands above it.
    pub verdict: Option<(Outcome, Failure)>,
    /// Whether the artifacts lie in the working directory.
    pub fetched: Step,
    /// Whether the `describe` process answers.
    pub describing: Step,
    /// Whether the plan and main()'s launch are known.
    pub described: Step,
    /// Whether no process tree of an earlier attempt lives.
    pub previous_ended: Step,
    /// What lives of an earlier attempt, as far as it could not be ended.
    pub previous_left: Option<String>,
    /// What is known of the cluster.
    pub cluster: Cluster,
    /// The jobs that the live cluster knows.
    pub known_jobs: BTreeSet<JobId>,
    /// The jobs that a cluster has had, or may have had, before now: a cluster that denies one of
    /// them has lost it.
    pub begun_jobs: BTreeSet<JobId>,
    /// The incarnation that this attempt has recorded as ready.
    pub ready_recorded: Option<Incarnation>,
    /// The incarnation that this attempt has recorded as gone.
    pub gone_recorded: Option<Incarnation>,
    /// The incarnations that this attempt saw dying.
    pub deaths: u32,
    /// Whether cancelled jobs had their time to record an end.
    pub cancel_bound_passed: bool,
    /// What is known of main().
    pub main: Main,
    /// Set when main() was killed from outside and is to be executed again: how often main() was
    /// killed in this generation.
    pub kill: Option<u32>,
    /// Whether the record knows of the kill.
    pub kill_recorded: Step,
    /// What is known of the jobs beyond the record.
    pub jobs: BTreeMap<JobId, JobFacts>,
    /// Whether main()'s output is in the store, or given up.
    pub output_shipped: Step,
    /// Whether nothing of the cluster lives.
    pub torn_down: Step,
    /// What could not be removed: what the last teardown left, then what other steps of the
    /// cleaning left.
    pub leftovers: Vec<String>,
    /// Whether staging holds nothing that no job will commit.
    pub swept: Step,
    /// Whether the `describe` process has ended, or its start was called off.
    pub describe_ended: Step,
    /// Whether the fetcher was told that the artifacts are not needed any more.
    pub released: Step,
    /// Whether the working directories are gone.
    pub work_removed: Step,
}

impl Facts {
    /// What a new leader knows: the record alone.
    pub fn new(epoch: Epoch, record: Recorded) -> Self {
        // An earlier leader recorded a submission before the cluster heard of the job, so the
        // cluster may never have had it. The job counts as lost all the same.
        let begun_jobs =
            record.open_jobs().filter(|(_, job)| job.submissions > 0).map(|(id, _)| id).collect();
        let mut facts = Self {
            epoch,
            record,
            suspended: false,
            leave: None,
            verdict: None,
            fetched: Step::Pending,
            describing: Step::Pending,
            described: Step::Pending,
            previous_ended: Step::Pending,
            previous_left: None,
            cluster: Cluster::Unasked,
            known_jobs: BTreeSet::new(),
            begun_jobs,
            ready_recorded: None,
            gone_recorded: None,
            deaths: 0,
            cancel_bound_passed: false,
            main: Main::NotStarted,
            kill: None,
            kill_recorded: Step::Pending,
            jobs: BTreeMap::new(),
            output_shipped: Step::Done,
            torn_down: Step::Pending,
            leftovers: Vec::new(),
            swept: Step::Pending,
            describe_ended: Step::Pending,
            released: Step::Pending,
            work_removed: Step::Pending,
        };
        if facts.record.main.state == MainState::Ended
            && let Some(exit) = facts.record.main.exit.clone()
        {
            facts.main = Main::Recorded(exit.clone());
            facts.judge_exit(&exit, facts.record.main.ended_after_deadline, "");
        }
        facts
    }

    /// Notes that the step of a decision begins. What the step may bring into being counts as being
    /// there until the step's end says otherwise.
    pub fn begin(&mut self, decision: &Decision) {
        if *decision == Decision::StartMain && self.main == Main::NotStarted {
            self.main = Main::Starting;
        }
    }

    /// Notes that the step of a decision is over, after the facts that it told were applied.
    pub fn finish(&mut self, decision: &Decision) {
        if *decision == Decision::StartMain && self.main == Main::Starting {
            self.main = Main::NotStarted;
        }
    }

    /// Whether this attempt's main() may live.
    pub(super) fn main_may_live(&self) -> bool {
        matches!(self.main, Main::Starting | Main::Running)
    }

    /// Whether main() ran under an earlier leader and its end is not recorded.
    pub fn is_cut_off(&self) -> bool {
        self.main == Main::NotStarted
            && self.record.main.state == MainState::Begun
            && self.record.main.epoch < self.epoch
    }

    /// Whether nothing lives of an earlier attempt, or what cannot be ended was given up.
    pub fn is_previous_settled(&self) -> bool {
        self.previous_ended.is_done()
            || (self.record.desired.abandon && self.previous_left.is_some())
    }

    /// How main() ended, once that is known.
    pub fn main_exit(&self) -> Option<&MainExit> {
        match &self.main {
            Main::Exited(exit) | Main::Recorded(exit) => Some(exit),
            Main::NotStarted | Main::Starting | Main::Running | Main::Stopped => None,
        }
    }

    /// Takes the first verdict; later ones change nothing.
    pub(super) fn judge(&mut self, outcome: Outcome, why: Failure) {
        self.verdict.get_or_insert((outcome, why));
    }

    /// Judges what main()'s exit means for the application.
    pub(super) fn judge_exit(&mut self, exit: &MainExit, after_deadline: bool, tail: &str) {
        if exit::is_success(exit) {
            return;
        }
        if after_deadline {
            return self.judge(Outcome::DeadlineExceeded, deadline_passed());
        }
        let mut why = match (exit.code, exit.signal) {
            (Some(code), _) => Failure::new(Reason::MainExited, format!("main() exited {code}")),
            (None, Some(signal)) => Failure::new(Reason::MainKilled, self.told_kill(exit, signal)),
            (None, None) => Failure::new(Reason::MainKilled, "main() ended and no process saw how"),
        };
        if !tail.is_empty() {
            why.message.push('\n');
            why.message.push_str(tail);
        }
        self.judge(Outcome::Failed, why);
    }

    /// The text of a kill: which signal it was, which process sent it, and why main() is not
    /// executed again.
    fn told_kill(&self, exit: &MainExit, signal: i32) -> String {
        let recorded = &self.record.main;
        let mut text = format!("main() was ended by signal {signal}");
        if !exit.signal_sender.is_empty() {
            text.push_str(&format!(", sent by {}", exit.signal_sender));
        }
        if !exit::is_killed(exit) {
            return text;
        }
        if recorded.kills > 0 {
            let times = recorded.kills + 1;
            text.push_str(&format!(
                "; it was killed {times} times, and executed again {} times",
                recorded.kills
            ));
        } else if self.record.not_repeatable {
            text.push_str("; on_failover is `fail`: it is not executed again");
        }
        text
    }

    /// What is known of one job, with an empty entry made for a job that has none.
    pub(super) fn job(&mut self, job: JobId) -> &mut JobFacts {
        self.jobs.entry(job).or_default()
    }

    /// What is known of one job beyond the record.
    pub fn job_facts(&self, job: JobId) -> JobFacts {
        self.jobs.get(&job).cloned().unwrap_or_default()
    }
}

/// The failure of an application that its deadline ended.
pub(super) fn deadline_passed() -> Failure {
    Failure::new(
        Reason::DeadlineExceeded,
        "the application's deadline passed before main() and its jobs had ended; --deadline sets a later one",
    )
}
