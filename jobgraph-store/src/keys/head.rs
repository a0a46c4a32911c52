//! `a/<id>/head`: which generation is the latest. `a/<id>/events`: the number of the next event.

use proto::{ApplicationId, Generation};

use super::Kind;
use crate::store::Key;

/// The latest life of an application id.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Head {
    /// The number of the latest generation; 0 before the first.
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

/// The key of an application's head.
pub fn key(id: &ApplicationId) -> Key {
    super::of_application(id, "head")
}

/// The number of the last event. Every commit that writes events compares and moves this number, so
/// that the order of events is the order of commits.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct EventSequence {
    /// The number of events so far; the id of the next event is one higher.
    #[prost(uint64, tag = "1")]
    pub last: u64,
}

impl Kind for EventSequence {
    const NAME: &'static str = "event sequence";
}

/// The key of the sequence.
pub fn sequence_key(id: &ApplicationId) -> Key {
    super::of_application(id, "events")
}
