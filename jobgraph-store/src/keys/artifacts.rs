//! `…/artifacts`: the bytes that every attempt runs with.

use proto::{ApplicationRef, api};

use super::Kind;
use crate::store::Key;

/// All pinned artifacts of a generation, in the order of their pinning.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Artifacts {
    /// The pinned artifacts.
    #[prost(message, repeated, tag = "1")]
    pub pinned: Vec<api::PinnedArtifact>,
}

impl Kind for Artifacts {
    const NAME: &'static str = "pinned artifacts";
}

/// The key of a generation's artifacts.
pub fn key(application: &ApplicationRef) -> Key {
    super::of_generation(application, "artifacts")
}
