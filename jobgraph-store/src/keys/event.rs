//! `a/<id>/event/<16 hex>`: what happened, in the order of commits, all generations together.

use proto::{ApplicationId, api};

use super::Kind;
use crate::store::Key;

impl Kind for api::Event {
    const NAME: &'static str = "event";
}

/// Where one event is.
pub fn key(id: &ApplicationId, event: u64) -> Key {
    super::of_application(id, &format!("event/{event:016x}"))
}

/// What the keys of an application's events begin with.
pub fn prefix(id: &ApplicationId) -> Key {
    super::of_application(id, "event/")
}
