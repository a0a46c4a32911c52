//! `…/job/<job id>`: a job, its end, and the call that asked for the job last. `…/graph/<job id>`:
//! the job's graph as people see it.

use proto::{ApplicationRef, JobId, api};

use super::Kind;
use crate::store::{Key, Operation};

/// A job of a generation.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StoredJob {
    /// The job as people see it, its end included.
    #[prost(message, optional, tag = "1")]
    pub job: Option<api::Job>,
    /// The last call that asked for the job.
    #[prost(message, optional, tag = "2")]
    pub call: Option<Call>,
    /// The places where the job may stage output.
    #[prost(string, repeated, tag = "3")]
    pub staging_locations: Vec<String>,
    /// The files that the graph needs; the store keeps their payloads until the generation is
    /// clean.
    #[prost(string, repeated, tag = "4")]
    pub payload_digests: Vec<String>,
    /// A digest of the graph's operators and edges, without what varies in their names; empty when
    /// the graph is not described.
    #[prost(string, tag = "5")]
    pub shape: String,
}

/// One `execute()` of one attempt and its answer. The answer is kept, because a repeat of the same
/// call is answered the same.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Call {
    /// The id that the caller chose for the call.
    #[prost(string, tag = "1")]
    pub id: String,
    /// The epoch of the attempt that called.
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    /// Whether the job was recorded before the call.
    #[prost(bool, tag = "3")]
    pub found: bool,
    /// Whether the recorded job has another graph than the call.
    #[prost(bool, tag = "4")]
    pub diverged: bool,
    /// Whether the recorded job has another name and was found by its position.
    #[prost(bool, tag = "5")]
    pub by_position: bool,
}

impl StoredJob {
    /// The job as people see it.
    pub fn shown(&self) -> &api::Job {
        static NONE: std::sync::LazyLock<api::Job> = std::sync::LazyLock::new(api::Job::default);
        self.job.as_ref().unwrap_or(&NONE)
    }

    /// The job, to change.
    pub fn shown_mut(&mut self) -> &mut api::Job {
        self.job.get_or_insert_default()
    }
}

impl Kind for StoredJob {
    const NAME: &'static str = "job";
}

/// The key of one job.
pub fn key(application: &ApplicationRef, job: JobId) -> Key {
    super::of_generation(application, &format!("job/{job}"))
}

/// The beginning of the keys of a generation's jobs.
pub fn prefix(application: &ApplicationRef) -> Key {
    super::of_generation(application, "job/")
}

impl Kind for api::GraphDescription {
    const NAME: &'static str = "graph description";
}

/// The key of the description of a job's graph.
pub fn graph_key(application: &ApplicationRef, job: JobId) -> Key {
    super::of_generation(application, &format!("graph/{job}"))
}

/// The operation that stores a graph's description.
pub fn put_graph(
    application: &ApplicationRef,
    job: JobId,
    description: &api::GraphDescription,
) -> Operation {
    Operation::Put(graph_key(application, job), description.to_stored())
}
