//! `p/<digest>/ref/<who>`: who points to a payload. `p/<digest>/sweep`: whether it is being removed.
//!
//! A pointer is written only with a compare on a mark *that is there*: where there is none, one is made first. No revision is used
//! twice, so a pointer that was on its way through a whole sweep never commits, whether that moved the mark or
//! removed it. That is why a mark may go with its payload: only a compare on its absence could be deceived.

use proto::{ApplicationRef, Digest};

use super::Kind;
use crate::store::Key;

/// Somebody points to the payload.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Reference {
    /// Whose record it is.
    #[prost(string, tag = "1")]
    pub application_id: String,
    /// Which life.
    #[prost(uint64, tag = "2")]
    pub generation: u64,
    /// `graph`, `result`, `manifest`, `artifact`, `log`.
    #[prost(string, tag = "3")]
    pub kind: String,
}

impl Kind for Reference {
    const NAME: &'static str = "payload reference";
}

/// What a record needs a payload for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// A job's graph: kept with the generation.
    Graph,
    /// A job's rows: kept with the generation.
    Result,
    /// What a job staged, where that is much: kept with the generation.
    Manifest,
    /// Bytes that attempts run with: kept until clean.
    Artifact,
    /// Output: kept until it is dropped for room.
    Log,
}

impl Use {
    /// The word in keys.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Graph => "graph",
            Self::Result => "result",
            Self::Manifest => "manifest",
            Self::Artifact => "artifact",
            Self::Log => "log",
        }
    }
}

/// Where a reference is.
pub fn reference_key(digest: Digest, application: &ApplicationRef, used: Use) -> Key {
    let ApplicationRef { id, generation } = application;
    format!("p/{}/ref/{id}/{:016x}/{}", digest.to_hex(), generation.get(), used.as_str()).into()
}

/// The reference itself.
pub fn reference(application: &ApplicationRef, used: Use) -> Reference {
    Reference {
        application_id: application.id.to_string(),
        generation: application.generation.get(),
        kind: used.as_str().into(),
    }
}

/// What the references of one generation to a payload begin with.
pub fn references_of(digest: Digest, application: &ApplicationRef) -> Key {
    let ApplicationRef { id, generation } = application;
    format!("p/{}/ref/{id}/{:016x}/", digest.to_hex(), generation.get()).into()
}

/// What the references to a payload begin with.
pub fn reference_prefix(digest: Digest) -> Key {
    format!("p/{}/ref/", digest.to_hex()).into()
}

/// Whether a payload is being removed.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SweepMark {
    /// Sweeps so far.
    #[prost(uint64, tag = "1")]
    pub number: u64,
    /// One is under way.
    #[prost(bool, tag = "2")]
    pub sweeping: bool,
}

impl Kind for SweepMark {
    const NAME: &'static str = "sweep mark";
}

/// What everything about payloads begins with.
pub fn prefix() -> Key {
    Key::from("p/".to_owned())
}

/// The payload whose mark is there; `None` where something else is.
pub fn marked(key: &Key) -> Option<Digest> {
    let hex = std::str::from_utf8(key.as_bytes()).ok()?.strip_prefix("p/")?.strip_suffix("/sweep")?;
    format!("sha256:{hex}").parse().ok()
}

/// Where a payload's mark is.
pub fn sweep_key(digest: Digest) -> Key {
    format!("p/{}/sweep", digest.to_hex()).into()
}
