//! `a/<id>/head`: which generation is the latest; `a/<id>/events`: the number of the next event.

use proto::{ApplicationId, Generation};

use super::Kind;
use crate::store::Key;

/// The latest life of an application id.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Head {
    /// 0 before the first.
    #[prost(uint64, tag = "1")]
    pub latest_generation: u64,
}

impl Head {
    /// The latest generation.
    pub fn latest(&self) -> Generation {
        Generation(self.latest_generation)
    }
}

impl Kind for Head {
    const NAME: &'static str = "head of an application";
}

/// Where the head is.
pub fn key(id: &ApplicationId) -> Key {
    super::of_application(id, "head")
}

/// The number of the next event: compared and moved by every commit that writes events, so that their order is the order of commits.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct EventSequence {
    /// Events so far; the next one's id is one higher.
    #[prost(uint64, tag = "1")]
    pub last: u64,
}

impl Kind for EventSequence {
    const NAME: &'static str = "event sequence";
}

/// Where the sequence is.
pub fn sequence_key(id: &ApplicationId) -> Key {
    super::of_application(id, "events")
}
