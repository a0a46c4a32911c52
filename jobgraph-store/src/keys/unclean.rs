//! `u/<id>/<generation>`: a generation that is not clean. Written with its submission and removed with clean, so that whoever asks
//! what there is to do reads these few and not every generation that ever was.

use std::time::SystemTime;

use proto::ApplicationRef;

use super::{Kind, listing};
use crate::store::Key;

/// A generation that something is left to do for.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Unclean {
    /// Its place in the list, so that these can be listed in the same order.
    #[prost(string, tag = "1")]
    pub place: String,
}

impl Unclean {
    /// Of a generation that was submitted then.
    pub fn of(application: &ApplicationRef, submitted_at: SystemTime) -> Self {
        Self { place: listing::key(application, submitted_at).to_string() }
    }

    /// Its place in the list.
    pub fn place(&self) -> Key {
        Key::from(self.place.clone())
    }
}

impl Kind for Unclean {
    const NAME: &'static str = "unclean generation";
}

/// Where it is.
pub fn key(application: &ApplicationRef) -> Key {
    format!("u/{}/{:016x}", application.id, application.generation.get()).into()
}

/// What all of them begin with.
pub fn prefix() -> Key {
    Key::from("u/".to_owned())
}
