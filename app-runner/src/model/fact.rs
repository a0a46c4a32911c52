//! What happens to an attempt, and what is known afterwards.

use std::collections::BTreeSet;

use ::record::MainExit;
use proto::{Incarnation, JobId, Reason, TriggerId};

use super::decision::Leave;
use super::exit;
use super::facts::{Cluster, Facts, Main, Step, deadline_passed};
use super::failure::Failure;
use super::record::{ClusterState, MainState, Outcome, Record, RecordedJob, RecordedJobEnd};

/// How often main() is executed again in a generation because somebody else has killed it. What is killed once more is killed for a reason
/// that another execution does not take away, such as memory that it does not get.
pub(super) const MAX_KILLS: u32 = 3;

/// One thing that was seen, or came back from a port.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// A view of the record.
    Record(Box<Record>),
    /// The lease's deadline passed (`true`), or the same epoch was confirmed again.
    Suspended(bool),
    /// The application's deadline passed.
    DeadlinePassed,
    /// The attempt is over.
    Leave(Leave),
    /// Something that this application cannot live without was refused.
    Refused(Failure),
    /// Artifacts lie in the working directory.
    Fetched,
    /// Digests are in the record.
    Pinned,
    /// `describe` answers.
    Describing,
    /// Plan and launch are known.
    Described,
    /// No tree of an earlier attempt lives.
    PreviousEnded {
        /// The earlier main() had ended by itself, with exit code 0.
        finished: bool,
    },
    /// A tree of an earlier attempt cannot be ended. It is tried again.
    PreviousLives {
        /// What lives, for people.
        message: String,
    },
    /// A new incarnation stands in the record.
    ClusterBegun(Incarnation),
    /// Its processes are ready.
    ClusterReady {
        /// Which.
        incarnation: Incarnation,
        /// Where it serves jobs.
        endpoint: String,
    },
    /// It takes this leader's calls and knows these jobs.
    Adopted {
        /// Which.
        incarnation: Incarnation,
        /// Where it serves jobs.
        endpoint: String,
        /// What it knows.
        jobs: BTreeSet<JobId>,
    },
    /// It does not know a job any more that it had.
    JobDenied {
        /// Which.
        job: JobId,
        /// Where.
        incarnation: Incarnation,
    },
    /// It did not answer the `Adopt` in time. That alone proves nothing.
    NotAdopted(Incarnation),
    /// It wants to be adopted again: its jobs process restarted within the incarnation.
    AdoptAgain(Incarnation),
    /// It cannot go on.
    ClusterDied {
        /// Which.
        incarnation: Incarnation,
        /// Why.
        message: String,
    },
    /// The record knows that it is ready.
    ReadyRecorded(Incarnation),
    /// The record knows that it is gone.
    GoneRecorded(Incarnation),
    /// A graph is in the record, by an `execute()` of this attempt's main().
    JobStored {
        /// Which.
        job: JobId,
        /// As the record holds it.
        stored: Box<RecordedJob>,
    },
    /// The cluster has it.
    Submitted {
        /// Which.
        job: JobId,
        /// Where.
        incarnation: Incarnation,
    },
    /// main() asks a job to end.
    CancelWanted {
        /// Which.
        job: JobId,
        /// Why.
        reason: String,
    },
    /// The cluster was asked to end it.
    CancelSent(JobId),
    /// The record holds what became of a savepoint.
    SavepointSettled {
        /// Of this job.
        job: JobId,
        /// Which.
        trigger: TriggerId,
    },
    /// Cancelled jobs had their time.
    CancelBoundPassed,
    /// The record holds this end.
    JobEnded {
        /// Which.
        job: JobId,
        /// The end that stands.
        end: RecordedJobEnd,
    },
    /// Its end was handed to main().
    JobAnswered(JobId),
    /// Its outputs stand at their final names.
    Published(JobId),
    /// main() runs.
    MainStarted,
    /// It could not be started.
    MainNotStarted(Failure),
    /// It has ended.
    MainExited {
        /// How.
        exit: MainExit,
        /// The tether saw it while this runner owned it; otherwise only exit code 0 is main()'s own.
        seen: bool,
        /// Last lines of its stderr, for people.
        stderr_tail: String,
    },
    /// Its end is in the record.
    MainEndRecorded,
    /// That somebody has killed it is in the record.
    MainKillRecorded,
    /// Its output is in the store, or given up.
    OutputShipped,
    /// The application's end is in the record.
    EndRecorded(Outcome),
    /// Nothing of the cluster lives but this.
    TornDown {
        /// One line each.
        leftovers: Vec<String>,
    },
    /// Staging is swept.
    Swept {
        /// What could not be, one line each.
        leftovers: Vec<String>,
    },
    /// `describe` has ended.
    DescribeEnded,
    /// The fetcher knows.
    Released,
    /// Directories are gone.
    WorkRemoved {
        /// What could not be removed, one line each.
        leftovers: Vec<String>,
    },
    /// The application is clean.
    Clean,
}

impl Facts {
    /// Takes a fact in.
    pub fn apply(&mut self, fact: Fact) {
        match fact {
            Fact::Record(record) => self.record.merge(*record),
            Fact::Suspended(suspended) => self.suspended = suspended,
            Fact::DeadlinePassed => self.pass_deadline(),
            Fact::Leave(leave) => drop(self.leave.get_or_insert(leave)),
            Fact::Refused(why) => self.judge(Outcome::Failed, why),
            Fact::Fetched => self.fetched = Step::Done,
            Fact::Pinned => self.record.pinned = true,
            Fact::Describing => self.describing = Step::Done,
            Fact::Described => self.described = Step::Done,
            Fact::PreviousEnded { finished } => self.end_previous(finished),
            Fact::PreviousLives { message } => self.previous_left = Some(message),
            Fact::ClusterBegun(incarnation) => self.begin_cluster(incarnation),
            Fact::ClusterReady { incarnation, endpoint } => self.note_ready(incarnation, endpoint),
            Fact::Adopted { incarnation, endpoint, jobs } => {
                self.cluster = Cluster::Live { incarnation, endpoint };
                self.begun_jobs.extend(&jobs);
                self.known_jobs = jobs;
            }
            Fact::JobDenied { job, incarnation } => {
                if self.is_live(incarnation) {
                    self.known_jobs.remove(&job);
                }
            }
            Fact::NotAdopted(incarnation) => self.doubt(incarnation),
            Fact::AdoptAgain(incarnation) => self.adopt_again(incarnation),
            Fact::ClusterDied { incarnation, message } => self.bury(incarnation, message),
            Fact::ReadyRecorded(incarnation) => self.ready_recorded = Some(incarnation),
            Fact::GoneRecorded(incarnation) => self.gone_recorded = Some(incarnation),
            Fact::JobStored { job, stored } => {
                self.job(job).reached = true;
                self.record.jobs.entry(job).or_insert(*stored);
            }
            Fact::Submitted { job, incarnation } => self.note_submitted(job, incarnation),
            Fact::CancelWanted { job, reason } => drop(self.job(job).cancel.get_or_insert(reason)),
            Fact::CancelSent(job) => self.job(job).cancel_sent = true,
            Fact::SavepointSettled { job, trigger } => {
                if let Some(recorded) = self.record.jobs.get_mut(&job) {
                    recorded.settled.insert(trigger);
                }
            }
            Fact::CancelBoundPassed => self.cancel_bound_passed = true,
            Fact::JobEnded { job, end } => {
                if let Some(recorded) = self.record.jobs.get_mut(&job) {
                    recorded.end.get_or_insert(end);
                }
            }
            // What reaches the socket of a main() that has exited is heard by nobody.
            Fact::JobAnswered(job) => self.job(job).answered |= self.main == Main::Running,
            Fact::Published(job) => {
                if let Some(recorded) = self.record.jobs.get_mut(&job) {
                    recorded.published = true;
                }
            }
            Fact::MainStarted => (self.main, self.output_shipped) = (Main::Running, Step::Pending),
            Fact::MainNotStarted(why) => {
                self.judge(Outcome::Failed, why);
                self.main = Main::Stopped;
            }
            Fact::MainExited { exit, seen, stderr_tail } => self.end_main(exit, seen, &stderr_tail),
            Fact::MainEndRecorded => self.note_main_recorded(),
            Fact::MainKillRecorded => self.kill_recorded = Step::Done,
            Fact::OutputShipped => self.output_shipped = Step::Done,
            Fact::EndRecorded(outcome) => (self.record.terminal, self.record.outcome) = (true, Some(outcome)),
            Fact::TornDown { leftovers } => self.note_torn_down(leftovers),
            Fact::Swept { leftovers } => {
                self.swept = Step::Done;
                self.leftovers.extend(leftovers);
            }
            Fact::DescribeEnded => self.describe_ended = Step::Done,
            Fact::Released => self.released = Step::Done,
            Fact::WorkRemoved { leftovers } => {
                self.work_removed = Step::Done;
                self.leftovers.extend(leftovers);
            }
            Fact::Clean => self.record.clean = true,
        }
    }

    /// What has come to its end before the deadline is judged by how it ended.
    fn pass_deadline(&mut self) {
        let all_done = self.main_exit().is_some() && self.record.open_jobs().next().is_none();
        if !all_done {
            self.judge(Outcome::DeadlineExceeded, deadline_passed());
        }
    }

    fn end_previous(&mut self, finished: bool) {
        self.previous_ended = Step::Done;
        self.previous_left = None;
        if !self.is_cut_off() {
            return;
        }
        if finished {
            self.main = Main::Exited(exit::exited(0));
        } else if self.record.not_repeatable {
            self.judge(
                Outcome::Failed,
                Failure::new(
                    Reason::MainNotRepeatable,
                    "its leader was lost while main() ran, and on_failover is `fail`: main() is not executed again",
                ),
            );
        }
    }

    fn begin_cluster(&mut self, incarnation: Incarnation) {
        self.cluster = Cluster::Begun { incarnation, doubted: false };
        self.known_jobs.clear();
        self.record.cluster.incarnation = incarnation;
        self.record.cluster.state = ClusterState::Starting;
        self.record.cluster.jobs_endpoint.clear();
        for job in self.jobs.values_mut() {
            job.cancel_sent = false;
        }
    }

    fn note_ready(&mut self, incarnation: Incarnation, endpoint: String) {
        let doubted = match self.cluster {
            Cluster::Begun { incarnation: begun, doubted } if begun == incarnation => doubted,
            // Begun by an earlier leader, which did not come to see it ready.
            Cluster::Unasked if self.record.cluster.incarnation == incarnation => false,
            _ => return,
        };
        self.cluster = Cluster::Ready { incarnation, endpoint, doubted };
    }

    /// An unanswered `Adopt` proves nothing: ask the substrate. Unanswered again, although the substrate says that its
    /// processes are ready, the incarnation is given up.
    fn doubt(&mut self, incarnation: Incarnation) {
        match &self.cluster {
            Cluster::Ready { incarnation: ready, doubted: true, .. } if *ready == incarnation => {
                self.bury(incarnation, "its processes live and do not answer".to_owned());
            }
            Cluster::Ready { incarnation: ready, .. } if *ready != incarnation => {}
            _ => self.cluster = Cluster::Begun { incarnation, doubted: true },
        }
    }

    fn adopt_again(&mut self, incarnation: Incarnation) {
        if let Cluster::Live { incarnation: live, endpoint } = &self.cluster
            && *live == incarnation
        {
            self.cluster = Cluster::Ready { incarnation, endpoint: endpoint.clone(), doubted: false };
            self.known_jobs.clear();
        }
    }

    fn bury(&mut self, incarnation: Incarnation, message: String) {
        let current = match &self.cluster {
            Cluster::Unasked => self.record.cluster.incarnation,
            Cluster::Begun { incarnation, .. }
            | Cluster::Ready { incarnation, .. }
            | Cluster::Live { incarnation, .. } => *incarnation,
            Cluster::Dead { .. } => return,
        };
        if current == incarnation {
            self.cluster = Cluster::Dead { incarnation, message };
            self.known_jobs.clear();
            self.deaths += 1;
        }
    }

    fn note_submitted(&mut self, job: JobId, incarnation: Incarnation) {
        if self.is_live(incarnation) {
            self.known_jobs.insert(job);
            self.begun_jobs.insert(job);
        }
        if let Some(recorded) = self.record.jobs.get_mut(&job) {
            recorded.incarnation = recorded.incarnation.max(incarnation);
            recorded.submissions += 1;
        }
    }

    fn is_live(&self, incarnation: Incarnation) -> bool {
        matches!(&self.cluster, Cluster::Live { incarnation: live, .. } if *live == incarnation)
    }

    fn end_main(&mut self, exit: MainExit, seen: bool, tail: &str) {
        if matches!(self.main, Main::Exited(_) | Main::Recorded(_)) {
            return;
        }
        let ours_to_judge = exit::is_success(&exit) || seen;
        if !ours_to_judge {
            let message = "main()'s tether was lost; how main() ended was not seen".to_owned();
            self.leave.get_or_insert(Leave::MainLost(message));
            return;
        }
        self.main = Main::Exited(exit.clone());
        // A main() that is stopped for a cancel or a deadline exits by a signal; that is not what ended the application.
        if self.record.desired.cancel || self.verdict.is_some() {
            return;
        }
        let kills = self.record.main.kills;
        if exit::is_killed(&exit) && !self.record.not_repeatable && kills < MAX_KILLS {
            self.kill = Some(kills + 1);
        } else {
            self.judge_exit(&exit, false, tail);
        }
    }

    fn note_main_recorded(&mut self) {
        if let Main::Exited(exit) = &self.main {
            let exit = exit.clone();
            self.main = Main::Recorded(exit.clone());
            self.record.main.state = MainState::Ended;
            self.record.main.epoch = self.epoch;
            self.record.main.exit = Some(exit);
        }
    }

    /// A teardown with leftovers is not done: it is tried again until nothing is left or somebody says `abandon`.
    fn note_torn_down(&mut self, leftovers: Vec<String>) {
        if leftovers.is_empty() {
            self.torn_down = Step::Done;
        }
        self.leftovers = leftovers;
    }
}
