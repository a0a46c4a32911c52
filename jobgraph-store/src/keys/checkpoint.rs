//! `…/checkpoints/<job id>`: what a job resumes from. Checkpoints are stored apart from the job,
//! because a job that checkpoints every 200 ms would otherwise be a change for every watcher as
//! often, and each checkpoint would be compared with what leaders write to the job.

use proto::{ApplicationRef, JobId, job};

use super::Kind;
use crate::store::Key;

/// The kept checkpoints of one job, and the counter of their ids.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Checkpoints {
    /// The kept checkpoints, by ascending id.
    #[prost(message, repeated, tag = "1")]
    pub kept: Vec<job::Checkpoint>,
    /// The id that the next checkpoint may have; 0 while none was ever counted. The counter never
    /// goes down.
    #[prost(uint64, tag = "2")]
    pub next_id: u64,
}

impl Checkpoints {
    /// The kept checkpoint with the highest id.
    pub fn last(&self) -> Option<&job::Checkpoint> {
        self.kept.last()
    }
}

impl Kind for Checkpoints {
    const NAME: &'static str = "checkpoints";
}

/// The key of one job's checkpoints.
pub fn key(application: &ApplicationRef, job: JobId) -> Key {
    super::of_generation(application, &format!("checkpoints/{job}"))
}

/// The beginning of the keys of all jobs' checkpoints.
pub fn prefix(application: &ApplicationRef) -> Key {
    super::of_generation(application, "checkpoints/")
}
