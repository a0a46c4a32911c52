//! `u/<id>/<generation>`: a generation that is not clean. The mark is written with the submission
//! and removed with clean, so that a caller that asks what there is to do reads these few marks and
//! not every generation that ever was.

use std::time::SystemTime;

use proto::ApplicationRef;

use super::{Kind, listing};
use crate::store::Key;

/// The mark of a generation for which something is left to do.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Unclean {
    /// The generation's place in the list, so that unclean generations can be listed in the same
    /// order.
    #[prost(string, tag = "1")]
    pub place: String,
}

impl Unclean {
    /// The mark of a generation that was submitted at this time.
    pub fn of(application: &ApplicationRef, submitted_at: SystemTime) -> Self {
        Self { place: listing::key(application, submitted_at).to_string() }
    }

    /// The key of the generation's place in the list.
    pub fn place(&self) -> Key {
        Key::from(self.place.clone())
    }
}

impl Kind for Unclean {
    const NAME: &'static str = "unclean generation";
}

/// The key of a generation's mark.
pub fn key(application: &ApplicationRef) -> Key {
    format!("u/{}/{:016x}", application.id, application.generation.get()).into()
}

/// The beginning of the keys of all marks.
pub fn prefix() -> Key {
    Key::from("u/".to_owned())
}
