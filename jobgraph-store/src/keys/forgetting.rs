//! `f/<id>/<generation>`: a generation that is being forgotten. It goes with the last of what the generation had, so that a store which
//! died in between goes on where it was.

use proto::{ApplicationRef, Generation};

use super::Kind;
use crate::store::Key;

/// Part of the generation may still be there, and none of it is shown.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Forgetting {
    /// Since when.
    #[prost(message, optional, tag = "1")]
    pub since: Option<prost_types::Timestamp>,
}

impl Kind for Forgetting {
    const NAME: &'static str = "generation that is being forgotten";
}

/// Where it is.
pub fn key(application: &ApplicationRef) -> Key {
    format!("f/{}/{:016x}", application.id, application.generation.get()).into()
}

/// What all of them begin with.
pub fn prefix() -> Key {
    Key::from("f/".to_owned())
}

/// The generation that is meant.
pub fn generation(key: &Key) -> Option<ApplicationRef> {
    let text = std::str::from_utf8(key.as_bytes()).ok()?;
    let (id, generation) = text.strip_prefix("f/")?.split_once('/')?;
    let generation = Generation(u64::from_str_radix(generation, 16).ok()?);
    Some(ApplicationRef { id: id.parse().ok()?, generation })
}
