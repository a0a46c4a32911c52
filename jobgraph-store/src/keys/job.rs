//! `…/job/<job id>`: a job, its end, and the call that asked for it last. `…/graph/<job id>`: its graph as people see it.

use proto::{ApplicationRef, JobId, api};

use super::Kind;
use crate::store::{Key, Operation};

/// A job of a generation.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StoredJob {
    /// As people see it, its end included.
    #[prost(message, optional, tag = "1")]
    pub job: Option<api::Job>,
    /// The last call that asked for it.
    #[prost(message, optional, tag = "2")]
    pub call: Option<Call>,
    /// Where it may stage output.
    #[prost(string, repeated, tag = "3")]
    pub staging_locations: Vec<String>,
    /// Files that the graph needs; their payloads are kept until clean.
    #[prost(string, repeated, tag = "4")]
    pub payload_digests: Vec<String>,
    /// The graph's operators and edges as a digest, without what varies in their names; empty when
    /// it is not described.
    #[prost(string, tag = "5")]
    pub shape: String,
}

/// One `execute()` of one attempt, and what it was answered: the same again is answered the same.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Call {
    /// The caller's id for it.
    #[prost(string, tag = "1")]
    pub id: String,
    /// The attempt.
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    /// The job was there before.
    #[prost(bool, tag = "3")]
    pub found: bool,
    /// It was, with another graph.
    #[prost(bool, tag = "4")]
    pub diverged: bool,
    /// It was, under another name.
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

/// Where one job is.
pub fn key(application: &ApplicationRef, job: JobId) -> Key {
    super::of_generation(application, &format!("job/{job}"))
}

/// What the keys of a generation's jobs begin with.
pub fn prefix(application: &ApplicationRef) -> Key {
    super::of_generation(application, "job/")
}

impl Kind for api::GraphDescription {
    const NAME: &'static str = "graph description";
}

/// Where the graph's description is.
pub fn graph_key(application: &ApplicationRef, job: JobId) -> Key {
    super::of_generation(application, &format!("graph/{job}"))
}

/// Stores a graph's description.
pub fn put_graph(application: &ApplicationRef, job: JobId, description: &api::GraphDescription) -> Operation {
    Operation::Put(graph_key(application, job), description.to_stored())
}
