//! `a/<id>/attempt` and `a/<id>/cluster`: the two fences. They are compared inside every fenced write; nothing else
//! writes them than `BeginAttempt` and `BeginCluster`.

use proto::{ApplicationId, Epoch, Generation, Incarnation};

use super::Kind;
use crate::store::Key;

/// Who may write what a leader decides.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct AttemptFence {
    /// The highest epoch that has begun; 0 before the first.
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
    /// The generation that it began for.
    #[prost(uint64, tag = "2")]
    pub generation: u64,
    /// The contender's name.
    #[prost(string, tag = "3")]
    pub holder: String,
    /// Its process.
    #[prost(uint32, tag = "4")]
    pub holder_pid: u32,
}

impl AttemptFence {
    /// Whether a write with this epoch, for this generation, may happen.
    pub fn admits(&self, generation: Generation, epoch: Epoch) -> bool {
        self.epoch == epoch.get() && self.generation == generation.get()
    }
}

impl Kind for AttemptFence {
    const NAME: &'static str = "attempt fence";
}

/// Where the attempt's fence is.
pub fn attempt_key(id: &ApplicationId) -> Key {
    super::of_application(id, "attempt")
}

/// Who may write what a cluster reports.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ClusterFence {
    /// The current incarnation; 0 before the first.
    #[prost(uint64, tag = "1")]
    pub incarnation: u64,
    /// The generation that it began for.
    #[prost(uint64, tag = "2")]
    pub generation: u64,
    /// The wish that it came from.
    #[prost(string, tag = "3")]
    pub request_id: String,
}

impl ClusterFence {
    /// Whether a write of this incarnation, for this generation, may happen.
    pub fn admits(&self, generation: Generation, incarnation: Incarnation) -> bool {
        self.incarnation == incarnation.get() && self.generation == generation.get()
    }
}

impl Kind for ClusterFence {
    const NAME: &'static str = "incarnation fence";
}

/// Where the incarnation's fence is.
pub fn cluster_key(id: &ApplicationId) -> Key {
    super::of_application(id, "cluster")
}
