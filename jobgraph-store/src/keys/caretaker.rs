//! `caretaker`: the store that does the chores of the record was at work. Its revision alone
//! matters; `service/caretaker.rs` says how.

use super::Kind;
use crate::store::Key;

/// A turn of the chores.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Caretaker {
    /// Where the store runs, for people.
    #[prost(string, tag = "1")]
    pub host: String,
}

impl Kind for Caretaker {
    const NAME: &'static str = "caretaker";
}

/// The key of the latest turn.
pub fn key() -> Key {
    Key::from("caretaker".to_owned())
}
