//! The record of one generation, as far as decisions need it.

use std::collections::{BTreeMap, BTreeSet};

use ::record::MainExit;
use proto::{Digest, Epoch, Incarnation, JobId, TriggerId};

/// How an application ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// main() exited 0 and no job failed behind its back.
    Succeeded,
    /// The application failed; the reason says of what.
    Failed,
    /// A cancel was acknowledged before the end was recorded.
    Cancelled,
    /// The deadline passed before main() and its jobs had ended.
    DeadlineExceeded,
}

impl Outcome {
    /// The exit code of a contender, and of `mainspring run`.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Succeeded => 0,
            Self::Failed => 1,
            Self::Cancelled => 3,
            Self::DeadlineExceeded => 4,
        }
    }
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobOutcome {
    /// The output of the job is committed.
    Succeeded,
    /// The engine gave the job up.
    Failed,
    /// A user or main() asked for the end, or the application ended without the job.
    Cancelled,
    /// main() ended without executing the job again.
    Abandoned,
    /// A live cluster denied the job, and the job may not be run again.
    Lost,
}

/// What the record says, reduced to what decisions need. A view of the record replaces an older one
/// by [`Recorded::merge`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Recorded {
    /// The revision that this view shows; 0 before the first read.
    pub revision: u64,
    /// Whether the outcome is recorded.
    pub terminal: bool,
    /// Whether nothing is left to do.
    pub clean: bool,
    /// How the application ended, once `terminal`.
    pub outcome: Option<Outcome>,
    /// What users ask for.
    pub desired: Desired,
    /// Whether every artifact of the spec has its digest in the record.
    pub pinned: bool,
    /// Whether a main() that was cut off must not be executed again.
    pub not_repeatable: bool,
    /// Whether a job that its cluster has lost is not run again.
    pub lost_is_final: bool,
    /// The current incarnation.
    pub cluster: RecordedCluster,
    /// The names of the hosts where processes of any incarnation may live that no teardown of this
    /// leader ends: their own lifecycles do.
    pub held_by: Vec<String>,
    /// The last main().
    pub main: RecordedMain,
    /// All jobs by id.
    pub jobs: BTreeMap<JobId, RecordedJob>,
}

/// What users ask for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Desired {
    /// The application is to end as CANCELLED.
    pub cancel: bool,
    /// What cannot finish is to be given up, and what was left is to be named.
    pub abandon: bool,
    /// The reason that the user gave.
    pub reason: String,
    /// Who asked, as user@host.
    pub requested_by: String,
    /// The revision of the desired state, which is compared with the record's when the end is
    /// written.
    pub revision: u64,
    /// The savepoints of jobs that were asked for, whether they have a result or not.
    pub savepoints: Vec<Wish>,
}

/// A savepoint of one job that a user or main() asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The job whose savepoint is wanted.
    pub job: JobId,
    /// The id that the engine takes the savepoint under. It is derived from the wish, so that every
    /// leader that acts on the wish asks for the same savepoint.
    pub trigger: TriggerId,
    /// Where the savepoint goes; empty where the engine's settings decide.
    pub directory: String,
    /// Whether the job is to be stopped with the savepoint.
    pub stop: bool,
    /// Whether the job's input is declared over before a stop.
    pub drain: bool,
    /// The engine's word for a format; empty for its default.
    pub format: String,
}

/// The state of the current incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClusterState {
    /// This generation never had a cluster.
    #[default]
    None,
    /// The incarnation is begun and not known to be ready.
    Starting,
    /// The incarnation was ready when a leader last recorded its state.
    Ready,
    /// The incarnation is known to be gone.
    Gone,
}

/// The cluster in the record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecordedCluster {
    /// The current incarnation; 0 before the first one.
    pub incarnation: Incarnation,
    /// The state of that incarnation.
    pub state: ClusterState,
    /// Where the jobs of the incarnation are served; empty before it is ready.
    pub jobs_endpoint: String,
    /// The name of the host where the incarnation was begun, if that is another host than this
    /// leader's. Only that host's lifecycle starts and ends its processes.
    pub elsewhere: Option<String>,
}

impl RecordedCluster {
    /// Whether a leader that knows the record alone may call the cluster: one that was ready, on
    /// the leader's own host.
    pub fn may_be_adopted(&self) -> bool {
        self.state == ClusterState::Ready && self.elsewhere.is_none()
    }
}

/// The state of the last main().
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MainState {
    /// No main() was started in this generation.
    #[default]
    Never,
    /// main() was started and may run.
    Begun,
    /// The end of main() is recorded.
    Ended,
}

/// main() in the record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecordedMain {
    /// The state of the last main().
    pub state: MainState,
    /// The attempt that started the last main().
    pub epoch: Epoch,
    /// The name of the host where the last main() was started, if that is another host than this
    /// leader's: neither its processes nor what they left can be seen from here.
    pub elsewhere: Option<String>,
    /// How the last main() exited, once it has ended.
    pub exit: Option<MainExit>,
    /// Whether main() ended after the application's deadline.
    pub ended_after_deadline: bool,
    /// How often main() was killed from outside in this generation and left to another execution.
    pub kills: u32,
}

/// One job in the record.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedJob {
    /// The job's identity within its application.
    pub name: String,
    /// The digest of the stored graph.
    pub graph: Digest,
    /// The size of the graph.
    pub graph_bytes: u64,
    /// The incarnation that the job was last submitted to; 0 for none.
    pub incarnation: Incarnation,
    /// How often the job was submitted.
    pub submissions: u32,
    /// How the job ended, once it has.
    pub end: Option<RecordedJobEnd>,
    /// Whether the outputs of the job stand at their final names.
    pub published: bool,
    /// Whether the job ended before main() did, so that main() could know of the end.
    pub ended_before_main: bool,
    /// Where the job's committed output waits for its final names, for people; empty where there is
    /// none.
    pub staged: String,
    /// The savepoints of the job that have a result.
    pub settled: BTreeSet<TriggerId>,
}

/// A job's end, as far as decisions need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedJobEnd {
    /// How the job ended.
    pub outcome: JobOutcome,
    /// The engine's root cause, for people.
    pub message: String,
    /// Whether the engine may have left the job's checkpoints behind.
    pub leaves_checkpoints: bool,
}

impl RecordedJob {
    /// Whether the job's output is committed and not yet at its final names.
    pub fn is_to_be_published(&self) -> bool {
        !self.published && self.end.as_ref().is_some_and(|end| end.outcome == JobOutcome::Succeeded)
    }
}

impl Recorded {
    /// Takes a newer view of the record. A view may lack what this process wrote itself a moment
    /// ago, so what never changes once it is so (ends, publications, jobs) stays.
    pub fn merge(&mut self, newer: Self) {
        if newer.revision < self.revision {
            return;
        }
        let old = std::mem::replace(self, newer);
        for (id, was) in old.jobs {
            let job = self.jobs.entry(id).or_insert_with(|| was.clone());
            job.published |= was.published;
            job.submissions = job.submissions.max(was.submissions);
            job.incarnation = job.incarnation.max(was.incarnation);
            job.settled.extend(was.settled);
            if job.end.is_none() {
                job.end = was.end;
                job.ended_before_main = was.ended_before_main;
            }
        }
        if old.terminal && !self.terminal {
            self.terminal = true;
            self.outcome = old.outcome;
        }
        self.clean |= old.clean;
        self.pinned |= old.pinned;
        if old.cluster.incarnation > self.cluster.incarnation {
            self.cluster = old.cluster;
        }
        let seen_later = old.main.epoch == self.main.epoch && old.main.state == MainState::Ended;
        if old.main.epoch > self.main.epoch || (seen_later && self.main.state != MainState::Ended) {
            self.main = old.main;
        }
        if old.desired.revision > self.desired.revision {
            self.desired = old.desired;
        }
    }

    /// The name of the other host where the current incarnation was begun, while processes may live
    /// there. Of an incarnation that cannot go on, some processes may live as well.
    pub fn runs_elsewhere(&self) -> Option<&str> {
        let host = self.cluster.elsewhere.as_ref()?;
        self.held_by.contains(host).then_some(host)
    }

    /// The jobs without an end.
    pub fn open_jobs(&self) -> impl Iterator<Item = (JobId, &RecordedJob)> {
        self.jobs.iter().filter(|(_, job)| job.end.is_none()).map(|(id, job)| (*id, job))
    }

    /// The savepoints that were asked for and have no result.
    pub fn pending_savepoints(&self) -> impl Iterator<Item = &Wish> {
        let settled = |wish: &&Wish| {
            self.jobs.get(&wish.job).is_none_or(|job| job.settled.contains(&wish.trigger))
        };
        self.desired.savepoints.iter().filter(move |wish| !settled(wish))
    }

    /// The jobs whose committed outputs are not at their final names.
    pub fn unpublished_jobs(&self) -> impl Iterator<Item = JobId> {
        self.jobs.iter().filter(|(_, job)| job.is_to_be_published()).map(|(id, _)| *id)
    }
}
