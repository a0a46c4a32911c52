//! `a/<id>/event/<16 hex>`: what happened, in the order of commits, for all generations together.

use proto::{ApplicationId, api};

use super::Kind;
use crate::store::Key;

impl Kind for api::Event {
    const NAME: &'static str = "event";
}

/// The key of one event.
pub fn key(id: &ApplicationId, event: u64) -> Key {
    super::of_application(id, &format!("event/{event:016x}"))
}

/// The beginning of the keys of an application's events.
pub fn prefix(id: &ApplicationId) -> Key {
    super::of_application(id, "event/")
}
