//! `h/<uid of the host>`: where the stores of other hosts reach the store of this one. The key
//! stays while the store runs, and where the store was killed until its host is given up.

use proto::{PlaceUid, fences};

use super::Kind;
use crate::store::Key;

/// A store that can be reached.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Peer {
    /// The host.
    #[prost(message, optional, tag = "1")]
    pub place: Option<fences::Place>,
    /// Where the store listens for other hosts.
    #[prost(string, tag = "2")]
    pub endpoint: String,
}

impl Kind for Peer {
    const NAME: &'static str = "store of a host";
}

/// The key of a host's store.
pub fn key(host: PlaceUid) -> Key {
    format!("h/{host}").into()
}

/// The beginning of the keys of all stores.
pub fn prefix() -> Key {
    Key::from("h/".to_owned())
}
