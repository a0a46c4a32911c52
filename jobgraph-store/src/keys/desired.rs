//! `…/desired`: what users ask for, compared by its own revision.

use proto::{ApplicationRef, api};

use super::Kind;
use crate::store::Key;

impl Kind for api::Desired {
    const NAME: &'static str = "desired state";
}

/// The key of a generation's desired state.
pub fn key(application: &ApplicationRef) -> Key {
    super::of_generation(application, "desired")
}
