//! `p/<digest>/ref/<who>`: a record points to a payload. `p/<digest>/sweep`: under which name the
//! payload lies, and whether it is being swept. `sweeps`: the number that names of new payloads
//! carry.
//!
//! A pointer is written only with a compare on a sweep mark *that is there*; where there is no
//! mark, the writer makes one first. No revision is used twice, so a pointer that was on its way
//! through a whole sweep never commits, whether the sweep moved the mark or removed it. That is why
//! a mark may be removed with its payload: only a compare on the absence of a mark could be
//! deceived. `service/sweep.rs` has the whole argument.

use proto::{ApplicationRef, Digest};

use super::Kind;
use crate::store::Key;

/// A record points to the payload.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Reference {
    /// The application whose record it is.
    #[prost(string, tag = "1")]
    pub application_id: String,
    /// The generation whose record it is.
    #[prost(uint64, tag = "2")]
    pub generation: u64,
    /// The word of the [`Use`]: `graph`, `result`, `manifest`, `artifact` or `log`.
    #[prost(string, tag = "3")]
    pub kind: String,
}

impl Kind for Reference {
    const NAME: &'static str = "payload reference";
}

/// What a record needs a payload for, which decides how long the payload is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// A job's graph, kept with the generation.
    Graph,
    /// A job's rows, kept with the generation.
    Result,
    /// The list of what a job staged, where that list is long; kept with the generation.
    Manifest,
    /// Bytes that attempts run with, kept until the generation is clean.
    Artifact,
    /// Output, kept until it is dropped for room.
    Log,
}

impl Use {
    /// The word for this use in keys.
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

/// The key of a reference.
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

/// The beginning of the keys of one generation's references to a payload.
pub fn references_of(digest: Digest, application: &ApplicationRef) -> Key {
    let ApplicationRef { id, generation } = application;
    format!("p/{}/ref/{id}/{:016x}/", digest.to_hex(), generation.get()).into()
}

/// The beginning of the keys of all references to a payload.
pub fn reference_prefix(digest: Digest) -> Key {
    format!("p/{}/ref/", digest.to_hex()).into()
}

/// The mark that pointers and sweeps of one payload are compared with.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct SweepMark {
    /// How many sweeps have kept the payload because a record points to it.
    #[prost(uint64, tag = "1")]
    pub kept: u64,
    /// Whether a sweep is under way.
    #[prost(bool, tag = "2")]
    pub sweeping: bool,
    /// The number in the name that the payload lies under. Marks of older builds have none, which
    /// reads as 0, and so do the names of their payloads.
    #[prost(uint64, tag = "3")]
    pub number: u64,
}

impl Kind for SweepMark {
    const NAME: &'static str = "sweep mark";
}

/// The beginning of all keys about payloads.
pub fn prefix() -> Key {
    Key::from("p/".to_owned())
}

/// The payload that a mark's key names; `None` for another key.
pub fn marked(key: &Key) -> Option<Digest> {
    let hex =
        std::str::from_utf8(key.as_bytes()).ok()?.strip_prefix("p/")?.strip_suffix("/sweep")?;
    format!("sha256:{hex}").parse().ok()
}

/// The key of a payload's mark.
pub fn sweep_key(digest: Digest) -> Key {
    format!("p/{}/sweep", digest.to_hex()).into()
}

/// The number that the names of new payloads carry.
///
/// A mark takes the number of the instant at which it is made. A mark is removed only once the
/// number is above the mark's own; so no two marks of a payload ever have the same number, and no
/// two payloads the same name.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Sweeps {
    /// The number, which only grows.
    #[prost(uint64, tag = "1")]
    pub number: u64,
}

impl Kind for Sweeps {
    const NAME: &'static str = "number of new payloads";
}

/// The key of the number.
pub fn sweeps_key() -> Key {
    Key::from("sweeps".to_owned())
}
