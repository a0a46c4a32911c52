//! What happens to an attempt, and what is known afterwards.

use std::collections::BTreeSet;

use ::record::MainExit;
use proto::{Incarnation, JobId, Reason, TriggerId};

use super::decision::Leave;
use super::exit;
use super::facts::{Cluster, Facts, Main, Step, deadline_passed};
use super::failure::Failure;
use super::recorded::{ClusterState, MainState, Outcome, Recorded, RecordedJob, RecordedJobEnd};

/// How often main() is executed again in a generation because it was killed from outside. A main()
/// that is killed once more has a cause that another execution does not take away, such as memory
/// that it does not get.
pub(super) const MAX_KILLS: u32 = 3;

/// How many calls of `Adopt` in a row an incarnation may leave unanswered while its processes live.
pub(super) const MOST_DOUBTS: u32 = 4;

/// One thing that was seen, or that came back from a port. Steps and watchers tell facts to the
/// driver, which applies them one by one.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// A view of the record came.
    Record(Box<Recorded>),
    /// The lease's deadline passed (`true`), or the same epoch was confirmed again (`false`).
    Suspended(bool),
    /// The application's deadline passed.
    DeadlinePassed,
    /// The attempt is over.
    Leave(Leave),
    /// Something that the application cannot do without was refused, so that the application fails.
    Refused(Failure),
    /// The artifacts lie in the working directory.
    Fetched,
    /// The digests of the artifacts are in the record.
    Pinned,
    /// The `describe` process answers.
    Describing,
    /// The plan of the cluster and the launch of main() are known.
    Described,
    /// No process tree of an earlier attempt lives on this host.
    PreviousEnded {
        /// The earlier main() had ended by itself, with exit code 0. Of a main() on another host
        /// that is never known.
        finished: bool,
    },
    /// A process tree of an earlier attempt could not be ended. The step is tried again.
    PreviousLives {
        /// What lives, for people.
        message: String,
    },
    /// A new incarnation stands in the record.
    ClusterBegun(Incarnation),
    /// The processes of an incarnation are ready.
    ClusterReady {
        /// The incarnation whose processes are ready.
        incarnation: Incarnation,
        /// Where the incarnation serves jobs.
        endpoint: String,
    },
    /// An incarnation takes this leader's calls.
    Adopted {
        /// The incarnation that was adopted.
        incarnation: Incarnation,
        /// Where the incarnation serves jobs.
        endpoint: String,
        /// The jobs that the incarnation knows.
        jobs: BTreeSet<JobId>,
    },
    /// The cluster does not know a job any more that it had.
    JobDenied {
        /// The job that the cluster has lost.
        job: JobId,
        /// The incarnation that answered so.
        incarnation: Incarnation,
    },
    /// An incarnation did not answer the `Adopt` in time. The silence alone proves nothing.
    NotAdopted(Incarnation),
    /// An incarnation wants to be adopted again, because its jobs process restarted within the
    /// incarnation.
    AdoptAgain(Incarnation),
    /// An incarnation cannot go on.
    ClusterDied {
        /// The incarnation that has died.
        incarnation: Incarnation,
        /// Why the incarnation cannot go on, for people.
        message: String,
    },
    /// The record says that the incarnation is ready.
    ReadyRecorded(Incarnation),
    /// The record says that the incarnation is gone.
    GoneRecorded(Incarnation),
    /// A graph is in the record, by an `execute()` of this attempt's main().
    JobStored {
        /// The job of the graph.
        job: JobId,
        /// The job as the record holds it.
        stored: Box<RecordedJob>,
    },
    /// The cluster has a job.
    Submitted {
        /// The job that was submitted.
        job: JobId,
        /// The incarnation that took the job.
        incarnation: Incarnation,
    },
    /// main() asks a job to end.
    CancelWanted {
        /// The job that is to end.
        job: JobId,
        /// Why the job is to end, for people.
        reason: String,
    },
    /// The cluster was asked to end a job.
    CancelSent(JobId),
    /// The record holds the result of a savepoint.
    SavepointSettled {
        /// The job of the savepoint.
        job: JobId,
        /// The id that the engine takes the savepoint under.
        trigger: TriggerId,
    },
    /// Cancelled jobs had their time to record their ends.
    CancelBoundPassed,
    /// The record holds the end of a job.
    JobEnded {
        /// The job that has ended.
        job: JobId,
        /// The end that stands in the record.
        end: RecordedJobEnd,
    },
    /// The end of a job was handed to main().
    JobAnswered(JobId),
    /// The outputs of a job stand at their final names.
    Published(JobId),
    /// main() runs.
    MainStarted,
    /// main() could not be started.
    MainNotStarted(Failure),
    /// main() has ended.
    MainExited {
        /// How main() ended.
        exit: MainExit,
        /// Whether the tether saw the end while this runner owned main(). Otherwise only exit code
        /// 0 is main()'s own.
        seen: bool,
        /// The last lines of main()'s stderr, for people.
        stderr_tail: String,
    },
    /// The end of main() is in the record.
    MainEndRecorded,
    /// The record says that main() was killed from outside.
    MainKillRecorded,
    /// main()'s output is in the store, or was given up.
    OutputShipped,
    /// The application's end is in the record.
    EndRecorded(Outcome),
    /// A teardown is over.
    TornDown {
        /// What of the cluster still lives, one line each; empty when nothing does.
        leftovers: Vec<String>,
    },
    /// Staging is swept.
    Swept {
        /// What could not be swept, one line each.
        leftovers: Vec<String>,
    },
    /// The `describe` process has ended.
    DescribeEnded,
    /// The fetcher was told that the artifacts are not needed any more, or could not be told.
    Released,
    /// The working directories are removed.
    WorkRemoved {
        /// What could not be removed, one line each.
        leftovers: Vec<String>,
    },
    /// The application is clean.
    Clean,
}

impl Facts {
    /// Takes one fact into what is known.
    pub fn apply(&mut self, fact: Fact) {
        match fact {
            // This attempt asked nothing of an incarnation that another host has.
            Fact::ClusterReady { incarnation, .. }
            | Fact::Adopted { incarnation, .. }
            | Fact::NotAdopted(incarnation)
            | Fact::ClusterDied { incarnation, .. }
                if self.is_elsewhere(incarnation) => {}
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
            // An answer into the socket of a main() that has exited reaches no program.
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
            Fact::EndRecorded(outcome) => {
                (self.record.terminal, self.record.outcome) = (true, Some(outcome))
            }
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

    /// An application whose main() and jobs have ended before the deadline is judged by how they
    /// ended.
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
        let elsewhere = self.record.main.elsewhere.as_ref();
        // How a main() of another host ended cannot be seen from here.
        if finished && elsewhere.is_none() {
            self.main = Main::Exited(exit::exited(0));
        } else if self.record.not_repeatable {
            let host = elsewhere.map(|host| format!(" on host {host}")).unwrap_or_default();
            let message = format!(
                "its leader was lost while main() ran{host}, and on_failover is `fail`: main() is not \
                 executed again"
            );
            self.judge(Outcome::Failed, Failure::new(Reason::MainNotRepeatable, message));
        }
    }

    fn begin_cluster(&mut self, incarnation: Incarnation) {
        self.cluster = Cluster::Begun { incarnation, doubts: 0 };
        self.known_jobs.clear();
        self.record.cluster.incarnation = incarnation;
        self.record.cluster.state = ClusterState::Starting;
        self.record.cluster.jobs_endpoint.clear();
        // A leader begins clusters on its own host.
        self.record.cluster.elsewhere = None;
        for job in self.jobs.values_mut() {
            job.cancel_sent = false;
        }
    }

    fn note_ready(&mut self, incarnation: Incarnation, endpoint: String) {
        let doubts = match self.cluster {
            Cluster::Begun { incarnation: begun, doubts } if begun == incarnation => doubts,
            // An earlier leader began the incarnation and left before it saw the incarnation ready.
            Cluster::Unasked if self.record.cluster.incarnation == incarnation => 0,
            _ => return,
        };
        self.cluster = Cluster::Ready { incarnation, endpoint, doubts };
    }

    /// An unanswered `Adopt` proves nothing, so the substrate is asked about the processes. On a
    /// busy machine a cluster may get no time for many seconds, and to replace it costs all that
    /// its jobs have done since their last checkpoint. So an incarnation whose processes live is
    /// given up only after several calls, each of which has waited longer than the one before.
    fn doubt(&mut self, incarnation: Incarnation) {
        let doubts = match &self.cluster {
            Cluster::Ready { incarnation: ready, .. } if *ready != incarnation => return,
            Cluster::Ready { doubts, .. } => doubts + 1,
            _ => 1,
        };
        if doubts > MOST_DOUBTS {
            self.bury(incarnation, "its processes live and do not answer".to_owned());
        } else {
            self.cluster = Cluster::Begun { incarnation, doubts };
        }
    }

    fn adopt_again(&mut self, incarnation: Incarnation) {
        if let Cluster::Live { incarnation: live, endpoint } = &self.cluster
            && *live == incarnation
        {
            self.cluster = Cluster::Ready { incarnation, endpoint: endpoint.clone(), doubts: 0 };
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

    /// Whether the record has the incarnation on another host.
    fn is_elsewhere(&self, incarnation: Incarnation) -> bool {
        let recorded = &self.record.cluster;
        recorded.incarnation == incarnation && recorded.elsewhere.is_some()
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
        // A main() that is stopped for a cancel or a deadline exits by a signal, but the signal is
        // not what ended the application.
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
            self.record.main.elsewhere = None;
            self.record.main.exit = Some(exit);
        }
    }

    /// A teardown with leftovers is not done: it is tried again until nothing is left or a user
    /// says `abandon`.
    fn note_torn_down(&mut self, leftovers: Vec<String>) {
        if leftovers.is_empty() {
            self.torn_down = Step::Done;
        }
        self.leftovers = leftovers;
    }
}
