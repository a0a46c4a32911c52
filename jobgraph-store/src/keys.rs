//! What is stored where: one file for each kind of record, with its key and its encoding. A value
//! is one byte of version and a protobuf message, so that fields can be added without a new
//! version. A version that this build does not know is refused, never guessed.
//!
//! All keys of one application begin with `a/<id>/`, all keys of one of its generations with
//! `a/<id>/g/<16 hex>/`.

pub mod artifacts;
pub mod caretaker;
pub mod checkpoint;
pub mod desired;
pub mod event;
pub mod fence;
pub mod forgetting;
pub mod generation;
pub mod head;
pub mod job;
pub mod journal;
pub mod kept;
pub mod listing;
pub mod log;
pub mod payload;
pub mod peer;
pub mod process;
pub mod request;
pub mod secrets;
pub mod unclean;

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message;
use proto::{ApplicationId, ApplicationRef, Generation};

use crate::store::{Key, StoreError};

/// A kind of record: a message with a version.
///
/// Every value in the record is read and written through this trait, so that no value is decoded by
/// a build that does not know its version.
pub trait Kind: Message + Default {
    /// The kind's name, as errors show it.
    const NAME: &'static str;
    /// The version that this build writes, and so far the only one that it reads.
    const VERSION: u8 = 1;

    /// The bytes that are stored.
    fn to_stored(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(1 + self.encoded_len());
        bytes.put_u8(Self::VERSION);
        self.encode(&mut bytes).expect("the buffer grows");
        bytes.freeze()
    }

    /// The message in the stored bytes, or why this build cannot read them.
    fn from_stored(bytes: &[u8]) -> Result<Self, StoreError> {
        let unreadable = |why: String| StoreError::Unreadable(format!("{}: {why}", Self::NAME));
        match bytes.split_first() {
            Some((&version, message)) if version == Self::VERSION => {
                Self::decode(message).map_err(|error| unreadable(error.to_string()))
            }
            Some((&version, _)) if version > Self::VERSION => {
                Err(StoreError::Newer(format!("{}: {}", Self::NAME, newer(version))))
            }
            Some((version, _)) => {
                Err(unreadable(format!("version {version}; this build reads {}", Self::VERSION)))
            }
            None => Err(unreadable("no bytes".into())),
        }
    }
}

/// The newest version of all kinds that this build reads.
const NEWEST_VERSION: u8 = 1;

/// What is wrong with stored bytes of a version that this build does not read, whatever their kind;
/// `None` if nothing is.
pub(crate) fn from_newer_build(stored: &[u8]) -> Option<String> {
    let version = stored.first().copied().filter(|version| *version > NEWEST_VERSION);
    version.map(newer)
}

fn newer(version: u8) -> String {
    format!(
        "a newer build has written it in format {version}, and this one reads {NEWEST_VERSION}: \
         run that build, or a later one"
    )
}

/// The beginning of all keys of all applications.
pub(crate) fn of_all_applications() -> Key {
    Key::from("a/".to_owned())
}

/// A key below one application.
fn of_application(id: &ApplicationId, rest: &str) -> Key {
    format!("a/{id}/{rest}").into()
}

/// A key below one generation.
fn of_generation(application: &ApplicationRef, rest: &str) -> Key {
    format!("a/{}/g/{:016x}/{rest}", application.id, application.generation.get()).into()
}

/// The beginning of all keys of one generation.
pub fn generation_prefix(application: &ApplicationRef) -> Key {
    of_generation(application, "")
}

/// The generation whose watchers a change of this key concerns; `None` for keys that people are not
/// shown.
pub fn generation_of(key: &Key) -> Option<ApplicationRef> {
    let text = std::str::from_utf8(key.as_bytes()).ok()?;
    let (id, rest) = text.strip_prefix("a/")?.split_once("/g/")?;
    let (generation, rest) = rest.split_once('/')?;
    let shown =
        matches!(rest, "spec" | "state" | "desired" | "artifacts") || rest.starts_with("job/");
    let generation = Generation(u64::from_str_radix(generation, 16).ok()?);
    shown.then_some(ApplicationRef { id: id.parse().ok()?, generation })
}

#[cfg(test)]
pub(crate) mod tests;
