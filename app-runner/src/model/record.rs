//! The record of one generation, as far as decisions need it.

use std::collections::{BTreeMap, BTreeSet};

use ::record::MainExit;
use proto::{Digest, Epoch, Incarnation, JobId, TriggerId};

/// How an application ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// main() exited 0 and no job failed behind its back.
    Succeeded,
    /// See the reason.
    Failed,
    /// A cancel was acknowledged before the end was recorded.
    Cancelled,
    /// The deadline passed first.
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
    /// Its output is committed.
    Succeeded,
    /// The engine gave it up.
    Failed,
    /// Somebody asked for it, or the application ended without it.
    Cancelled,
    /// main() left without it.
    Abandoned,
    /// A ready cluster denied it and it may not be run again.
    Lost,
}

/// What the record says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Record {
    /// Revision that this shows; 0 before the first read.
    pub revision: u64,
    /// The outcome is recorded.
    pub terminal: bool,
    /// Nothing is left to do.
    pub clean: bool,
    /// Set once `terminal`.
    pub outcome: Option<Outcome>,
    /// What users ask for.
    pub desired: Desired,
    /// Every artifact of the spec has its digest in the record.
    pub pinned: bool,
    /// A main() that was cut off must not be executed again.
    pub not_repeatable: bool,
    /// A job that its cluster has lost is not run again.
    pub lost_is_final: bool,
    /// The current incarnation.
    pub cluster: RecordedCluster,
    /// The last main().
    pub main: RecordedMain,
    /// All jobs by id.
    pub jobs: BTreeMap<JobId, RecordedJob>,
}

/// What users ask for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Desired {
    /// End as CANCELLED.
    pub cancel: bool,
    /// End what cannot finish and say what was left.
    pub abandon: bool,
    /// The reason that was given.
    pub reason: String,
    /// user@host.
    pub requested_by: String,
    /// Compared with the record's when the end is written.
    pub revision: u64,
    /// Savepoints of jobs, whether they have a result or not.
    pub savepoints: Vec<Wish>,
}

/// A savepoint of one job that somebody asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Of this job.
    pub job: JobId,
    /// What the engine takes it under: derived from the wish, so that whoever acts on it asks for the same one.
    pub trigger: TriggerId,
    /// Where to; empty: where the engine's settings say.
    pub directory: String,
    /// The job is to be stopped with it.
    pub stop: bool,
    /// Its input is said to be over first.
    pub drain: bool,
    /// The engine's word for a format; empty: its default.
    pub format: String,
}

/// State of the current incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClusterState {
    /// There never was one.
    #[default]
    None,
    /// Begun, not known to be ready.
    Starting,
    /// It was ready.
    Ready,
    /// It is known to be gone.
    Gone,
}

/// The cluster in the record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecordedCluster {
    /// 0 before the first one.
    pub incarnation: Incarnation,
    /// Of that incarnation.
    pub state: ClusterState,
    /// Where its jobs are served; empty before it is ready.
    pub jobs_endpoint: String,
}

/// State of the last main().
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MainState {
    /// None was started in this generation.
    #[default]
    Never,
    /// It may run.
    Begun,
    /// Its end is recorded.
    Ended,
}

/// main() in the record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecordedMain {
    /// Of the last one.
    pub state: MainState,
    /// The attempt that started it.
    pub epoch: Epoch,
    /// Once it has ended.
    pub exit: Option<MainExit>,
    /// It ended after the application's deadline.
    pub ended_after_deadline: bool,
    /// How often somebody else has killed it in this generation, and it was executed again for that.
    pub kills: u32,
}

/// One job in the record.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedJob {
    /// The job's identity within its application.
    pub name: String,
    /// The stored graph.
    pub graph: Digest,
    /// Its size.
    pub graph_bytes: u64,
    /// The incarnation that it was last submitted to; 0 for none.
    pub incarnation: Incarnation,
    /// How often it was submitted.
    pub submissions: u32,
    /// Once it has ended.
    pub end: Option<RecordedJobEnd>,
    /// Its outputs stand at their final names.
    pub published: bool,
    /// It ended before main() did, so that main() could know.
    pub ended_before_main: bool,
    /// Where its committed output waits for its final names, for people; empty where there is none.
    pub staged: String,
    /// Savepoints that have a result.
    pub settled: BTreeSet<TriggerId>,
}

/// A job's end, as far as decisions need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedJobEnd {
    /// How.
    pub outcome: JobOutcome,
    /// The engine's root cause, for people.
    pub message: String,
    /// The engine may not have come to remove the job's checkpoints.
    pub leaves_checkpoints: bool,
}

impl RecordedJob {
    /// Its output is committed and not yet at its final names.
    pub fn is_to_be_published(&self) -> bool {
        !self.published && self.end.as_ref().is_some_and(|end| end.outcome == JobOutcome::Succeeded)
    }
}

impl Record {
    /// Takes a newer view of the record. What this process wrote itself may not be in it yet: whatever never changes
    /// once it is so (ends, publications, jobs) stays.
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

    /// Jobs without an end.
    pub fn open_jobs(&self) -> impl Iterator<Item = (JobId, &RecordedJob)> {
        self.jobs.iter().filter(|(_, job)| job.end.is_none()).map(|(id, job)| (*id, job))
    }

    /// Savepoints that somebody asked for and that have no result.
    pub fn pending_savepoints(&self) -> impl Iterator<Item = &Wish> {
        let settled =
            |wish: &&Wish| self.jobs.get(&wish.job).is_none_or(|job| job.settled.contains(&wish.trigger));
        self.desired.savepoints.iter().filter(move |wish| !settled(wish))
    }

    /// Committed outputs that are not at their final names.
    pub fn unpublished_jobs(&self) -> impl Iterator<Item = JobId> {
        self.jobs.iter().filter(|(_, job)| job.is_to_be_published()).map(|(id, _)| *id)
    }
}
