//! `f/<id>/<generation>`: a generation that is being forgotten. The mark is removed with the last
//! of what the generation had, so that a successor of a store that died in between goes on with the
//! forgetting.

use proto::{ApplicationRef, Generation};

use super::Kind;
use crate::store::Key;

/// The mark of such a generation: parts of the generation may still be there, and none of them is
/// shown.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Forgetting {
    /// When the forgetting began.
    #[prost(message, optional, tag = "1")]
    pub since: Option<prost_types::Timestamp>,
}

impl Kind for Forgetting {
    const NAME: &'static str = "generation that is being forgotten";
}

/// The key of a generation's mark.
pub fn key(application: &ApplicationRef) -> Key {
    format!("f/{}/{:016x}", application.id, application.generation.get()).into()
}

/// The beginning of the keys of all marks.
pub fn prefix() -> Key {
    Key::from("f/".to_owned())
}

/// The generation that a mark's key names.
pub fn generation(key: &Key) -> Option<ApplicationRef> {
    let text = std::str::from_utf8(key.as_bytes()).ok()?;
    let (id, generation) = text.strip_prefix("f/")?.split_once('/')?;
    let generation = Generation(u64::from_str_radix(generation, 16).ok()?);
    Some(ApplicationRef { id: id.parse().ok()?, generation })
}
