//! What is known during one attempt.

use std::collections::{BTreeMap, BTreeSet};

use ::record::MainExit;
use proto::{Epoch, Incarnation, JobId, Reason};

use super::decision::{Decision, Leave};
use super::exit;
use super::failure::Failure;
use super::record::{MainState, Outcome, Record};

/// Something that is done once in an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Step {
    /// Not yet.
    #[default]
    Pending,
    /// Done.
    Done,
}

impl Step {
    /// Done.
    pub fn is_done(self) -> bool {
        self == Self::Done
    }
}

/// What this leader knows of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Cluster {
    /// Only what the record says.
    #[default]
    Unasked,
    /// Its incarnation is begun; its processes are not known to be ready.
    Begun {
        /// Which.
        incarnation: Incarnation,
        /// It did not answer an `Adopt` before.
        doubted: bool,
    },
    /// Its processes are ready; it does not know this leader yet.
    Ready {
        /// Which.
        incarnation: Incarnation,
        /// Where it serves jobs.
        endpoint: String,
        /// It did not answer an `Adopt` before.
        doubted: bool,
    },
    /// It takes this leader's calls.
    Live {
        /// Which.
        incarnation: Incarnation,
        /// Where it serves jobs.
        endpoint: String,
    },
    /// It cannot go on.
    Dead {
        /// Which; 0 when there was none.
        incarnation: Incarnation,
        /// Why.
        message: String,
    },
}

/// What this leader knows of main().
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Main {
    /// This attempt has not started it.
    #[default]
    NotStarted,
    /// Its start is under way: from here on it may run.
    Starting,
    /// It runs under this attempt's tether.
    Running,
    /// It has ended; the record does not know yet.
    Exited(MainExit),
    /// Its end is in the record.
    Recorded(MainExit),
    /// It never ran in this attempt and will not: the application ends without it.
    Stopped,
}

/// What this leader knows of one job beyond the record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobFacts {
    /// This attempt's main() executed it.
    pub reached: bool,
    /// Its end was handed to this attempt's main().
    pub answered: bool,
    /// main() asked to cancel it, with this reason.
    pub cancel: Option<String>,
    /// The cluster was asked to cancel it.
    pub cancel_sent: bool,
}

/// Everything that decisions rest on.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// This leadership.
    pub epoch: Epoch,
    /// The record, with this process's own writes.
    pub record: Record,
    /// The lease's deadline has passed without a confirmation.
    pub suspended: bool,
    /// The attempt is over.
    pub leave: Option<Leave>,
    /// The first thing that decided the outcome; a cancel stands above it.
    pub verdict: Option<(Outcome, Failure)>,
    /// Artifacts lie in the working directory.
    pub fetched: Step,
    /// `describe` answers.
    pub describing: Step,
    /// The plan and main()'s launch are known.
    pub described: Step,
    /// No tree of an earlier attempt lives.
    pub previous_ended: Step,
    /// What lives of an earlier attempt, as far as it could not be ended.
    pub previous_left: Option<String>,
    /// The cluster.
    pub cluster: Cluster,
    /// Jobs that the live cluster knows.
    pub known_jobs: BTreeSet<JobId>,
    /// Jobs that a cluster has had, or may have had, before now: what denies one of them has lost it.
    pub begun_jobs: BTreeSet<JobId>,
    /// That the incarnation is ready is in the record.
    pub ready_recorded: Option<Incarnation>,
    /// That the incarnation is gone is in the record.
    pub gone_recorded: Option<Incarnation>,
    /// Incarnations that this attempt saw dying.
    pub deaths: u32,
    /// Cancelled jobs had their time to record an end.
    pub cancel_bound_passed: bool,
    /// main().
    pub main: Main,
    /// main() has exited because somebody else has killed it, and is to be executed again: how often that has happened in this generation.
    pub kill: Option<u32>,
    /// The record knows that.
    pub kill_recorded: Step,
    /// Jobs.
    pub jobs: BTreeMap<JobId, JobFacts>,
    /// main()'s output is in the store, or given up.
    pub output_shipped: Step,
    /// Nothing of the cluster lives.
    pub torn_down: Step,
    /// What the last teardown could not remove.
    pub leftovers: Vec<String>,
    /// Nothing staged is left that nobody will commit.
    pub swept: Step,
    /// `describe` has ended, or its start was called off.
    pub describe_ended: Step,
    /// The fetcher knows that nothing is needed any more.
    pub released: Step,
    /// Working directories are gone.
    pub work_removed: Step,
}

impl Facts {
    /// What a new leader knows: the record.
    pub fn new(epoch: Epoch, record: Record) -> Self {
        // An earlier leader says so before the cluster hears of a job, so it may not have come to that: then it counts as lost all the same.
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

    /// A decision's step begins. What it may bring into being counts as being there until its end says otherwise.
    pub fn begin(&mut self, decision: &Decision) {
        if *decision == Decision::StartMain && self.main == Main::NotStarted {
            self.main = Main::Starting;
        }
    }

    /// A decision's step is over, and what it told has been taken in.
    pub fn finish(&mut self, decision: &Decision) {
        if *decision == Decision::StartMain && self.main == Main::Starting {
            self.main = Main::NotStarted;
        }
    }

    /// This attempt's main() may live.
    pub(super) fn main_may_live(&self) -> bool {
        matches!(self.main, Main::Starting | Main::Running)
    }

    /// main() ran under an earlier leader and its end is not recorded.
    pub fn is_cut_off(&self) -> bool {
        self.main == Main::NotStarted
            && self.record.main.state == MainState::Begun
            && self.record.main.epoch < self.epoch
    }

    /// Nothing lives of an earlier attempt, or what cannot be ended was given up.
    pub fn is_previous_settled(&self) -> bool {
        self.previous_ended.is_done() || (self.record.desired.abandon && self.previous_left.is_some())
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

    /// What main()'s exit means for the application.
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
            (None, None) => Failure::new(Reason::MainKilled, "main() ended and nobody saw how"),
        };
        if !tail.is_empty() {
            why.message.push('\n');
            why.message.push_str(tail);
        }
        self.judge(Outcome::Failed, why);
    }

    /// By which signal, whose it was, and why main() is not executed again.
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

    /// Facts of one job, made when there are none.
    pub(super) fn job(&mut self, job: JobId) -> &mut JobFacts {
        self.jobs.entry(job).or_default()
    }

    /// What is known of one job beyond the record.
    pub fn job_facts(&self, job: JobId) -> JobFacts {
        self.jobs.get(&job).cloned().unwrap_or_default()
    }
}

/// The text of a deadline's end.
pub(super) fn deadline_passed() -> Failure {
    Failure::new(
        Reason::DeadlineExceeded,
        "the application's deadline passed before main() and its jobs had ended; --deadline sets a later one",
    )
}
