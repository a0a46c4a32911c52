//! `a/<id>/attempt` and `a/<id>/cluster`: the two fences. Every fenced write compares one of them
//! inside its commit. Only `BeginAttempt` and `BeginCluster` write them.

use proto::{ApplicationId, Epoch, Generation, Incarnation, fences};

use super::Kind;
use crate::store::Key;

/// The leader's fence: which attempt may write what a leader decides.
///
/// The fence belongs to the application id, not to a generation, so that epochs go on growing
/// across generations and after a generation was forgotten.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct AttemptFence {
    /// The highest epoch that has begun; 0 before the first.
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
    /// The generation that this epoch began for.
    #[prost(uint64, tag = "2")]
    pub generation: u64,
    /// The contender's name.
    #[prost(string, tag = "3")]
    pub holder: String,
    /// The process id of that contender.
    #[prost(uint32, tag = "4")]
    pub holder_pid: u32,
    /// Where that contender runs; absent in what an older build has written.
    #[prost(message, optional, tag = "5")]
    pub place: Option<fences::Place>,
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

/// The key of the leader's fence.
pub fn attempt_key(id: &ApplicationId) -> Key {
    super::of_application(id, "attempt")
}

/// The cluster's fence: which incarnation may write what a cluster reports.
///
/// The fence belongs to the application id too, so that a number of an incarnation is never used
/// again.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ClusterFence {
    /// The current incarnation; 0 before the first.
    #[prost(uint64, tag = "1")]
    pub incarnation: u64,
    /// The generation that this incarnation began for.
    #[prost(uint64, tag = "2")]
    pub generation: u64,
    /// The request that began this incarnation; the same request again is answered the same.
    #[prost(string, tag = "3")]
    pub request_id: String,
    /// Where the processes of this incarnation run; absent in what an older build has written.
    #[prost(message, optional, tag = "4")]
    pub place: Option<fences::Place>,
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

/// The key of the cluster's fence.
pub fn cluster_key(id: &ApplicationId) -> Key {
    super::of_application(id, "cluster")
}
