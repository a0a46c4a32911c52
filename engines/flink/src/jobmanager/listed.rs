//! Jobs as the JobManager lists them.

use serde::Deserialize;

/// The answer to the question for all jobs.
#[derive(Deserialize)]
pub(super) struct JobsOverview {
    pub(super) jobs: Vec<Listed>,
}

/// A job as the JobManager lists it.
#[derive(Debug, Deserialize)]
pub(crate) struct Listed {
    /// The job's id, 32 hex digits.
    pub(crate) jid: String,
    /// Flink's word, such as `RUNNING`.
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) tasks: TaskCounts,
}

/// How many of a job's tasks have come how far.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TaskCounts {
    pub(crate) total: u32,
    pub(crate) created: u32,
    pub(crate) scheduled: u32,
}

impl Listed {
    /// Whether Flink will not change this state any more.
    pub(crate) fn is_terminal(&self) -> bool {
        matches!(self.state.as_str(), "FINISHED" | "FAILED" | "CANCELED")
    }

    pub(crate) fn is_starting(&self) -> bool {
        matches!(self.state.as_str(), "INITIALIZING" | "CREATED")
    }

    /// Whether none of the job's tasks has a slot yet, although Flink may call the job running.
    pub(crate) fn waits_for_slots(&self) -> bool {
        self.tasks.total > 0 && self.tasks.created + self.tasks.scheduled == self.tasks.total
    }
}
