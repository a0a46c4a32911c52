//! `l/<inverted time>/<id>/<generation>`: every generation, the newest first.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proto::{ApplicationRef, Generation};

use super::Kind;
use crate::store::Key;

/// A place in the list; the key says which generation stands there.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Listed {
    /// Whether the indexes that later builds keep beside the list (`u/`, `…/request/`) know this
    /// generation.
    #[prost(bool, tag = "1")]
    pub indexed: bool,
}

impl Kind for Listed {
    const NAME: &'static str = "place in the list";
}

/// The key of a generation's place: newer generations come first.
pub fn key(application: &ApplicationRef, submitted_at: SystemTime) -> Key {
    let since = submitted_at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let inverted = u64::MAX - u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
    format!("l/{inverted:016x}/{}/{:016x}", application.id, application.generation.get()).into()
}

/// The beginning of the keys of all places.
pub fn prefix() -> Key {
    Key::from("l/".to_owned())
}

/// The generation that stands at a place.
pub fn generation(key: &Key) -> Option<ApplicationRef> {
    let text = std::str::from_utf8(key.as_bytes()).ok()?;
    let mut parts = text.split('/').skip(2);
    let id = parts.next()?.parse().ok()?;
    let generation = Generation(u64::from_str_radix(parts.next()?, 16).ok()?);
    parts.next().is_none().then_some(ApplicationRef { id, generation })
}
