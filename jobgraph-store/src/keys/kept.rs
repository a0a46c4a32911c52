//! Which keys a backup holds: those of applications, in whichever backend and on whichever host the
//! record goes on. Intents of processes are of the host that was lost, and so are the keys that say
//! whose the record is.

use crate::store::Key;

/// The beginnings of the keys, in the order in which a backup holds them. A mark of a payload
/// stands before what points to the payload.
const BEGINNINGS: [&str; 7] = ["sweeps", "p/", "a/", "l/", "u/", "f/", "r/"];

/// The beginnings of all keys that a backup holds.
pub fn beginnings() -> impl Iterator<Item = Key> {
    BEGINNINGS.into_iter().map(|beginning| Key::from(beginning.to_owned()))
}

/// Whether a backup holds this key.
pub fn is_kept(key: &Key) -> bool {
    beginnings().any(|beginning| key.strip(&beginning).is_some())
}

/// The key that stands in a record which is being restored, until all of it is there.
pub fn restoring() -> Key {
    Key::from("restoring".to_owned())
}
