//! Where processes run, as a value. Fences and intents name a place, so that no second place starts
//! what belongs to the first.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::fences as wire;
use crate::id::InvalidId;

/// What tells two places apart, drawn by chance; as text 16 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PlaceUid([u8; 8]);

impl PlaceUid {
    /// The uid of these bytes.
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }
}

impl FromStr for PlaceUid {
    type Err = InvalidId;

    fn from_str(value: &str) -> Result<Self, InvalidId> {
        let mut bytes = [0; 8];
        hex::decode_to_slice(value, &mut bytes).map_err(|_| InvalidId {
            kind: "uid of a place",
            value: value.chars().take(80).collect(),
            rule: "16 hex digits",
        })?;
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for PlaceUid {
    type Error = InvalidId;

    fn try_from(value: String) -> Result<Self, InvalidId> {
        value.parse()
    }
}

impl From<PlaceUid> for String {
    fn from(uid: PlaceUid) -> Self {
        uid.to_string()
    }
}

impl fmt::Display for PlaceUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for PlaceUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where processes run: a host with one state directory; as text its name.
///
/// Only the uid says whether two places are the same one. A name is for people, who give it to
/// another machine once the first one is gone, and a state directory that was lost does not come
/// back with its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    kind: String,
    name: String,
    uid: PlaceUid,
}

impl Place {
    /// The kind of place that is a host.
    pub const HOST: &'static str = "host";

    /// The longest name, in bytes: what a DNS label holds.
    pub const MAX_NAME_BYTES: usize = 63;

    /// A host of this name.
    pub fn host(name: &str, uid: PlaceUid) -> Result<Self, InvalidId> {
        Self::of_kind(Self::HOST, name, uid)
    }

    /// The place in a message; `None` in a message of a build that knows no places.
    pub fn read(wire: Option<wire::Place>) -> Result<Option<Self>, InvalidId> {
        wire.map(Self::try_from).transpose()
    }

    /// The name, for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What tells this place from all others.
    pub fn uid(&self) -> PlaceUid {
        self.uid
    }

    fn of_kind(kind: &str, name: &str, uid: PlaceUid) -> Result<Self, InvalidId> {
        let is_short = |text: &str| !text.is_empty() && text.len() <= Self::MAX_NAME_BYTES;
        if !is_short(kind) || !kind.bytes().all(|byte| byte.is_ascii_lowercase()) {
            return Err(invalid("kind of a place", kind, "1 to 63 characters of a-z"));
        }
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = name.as_bytes();
        let ends_plain = [bytes.first(), bytes.last()].into_iter().flatten().all(|&b| plain(b));
        if !is_short(name) || !ends_plain || !bytes.iter().all(|&b| plain(b) || b".-".contains(&b))
        {
            return Err(invalid("name of a place", name, NAME_RULE));
        }
        Ok(Self { kind: kind.to_owned(), name: name.to_owned(), uid })
    }
}

/// What a name has to be.
const NAME_RULE: &str =
    "1 to 63 characters of a-z, 0-9, . and -, beginning and ending with a letter or digit";

fn invalid(kind: &'static str, value: &str, rule: &'static str) -> InvalidId {
    InvalidId { kind, value: value.chars().take(80).collect(), rule }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl TryFrom<wire::Place> for Place {
    type Error = InvalidId;

    fn try_from(wire: wire::Place) -> Result<Self, InvalidId> {
        Self::of_kind(&wire.kind, &wire.name, wire.uid.parse()?)
    }
}

impl From<Place> for wire::Place {
    fn from(place: Place) -> Self {
        Self { kind: place.kind, name: place.name, uid: place.uid.to_string() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sent(kind: &str, name: &str, uid: &str) -> wire::Place {
        wire::Place { kind: kind.into(), name: name.into(), uid: uid.into() }
    }

    #[test]
    fn a_place_reads_back_and_a_malformed_one_is_refused() {
        let place = Place::host("a-1.example", PlaceUid::from_bytes([0xa7; 8])).unwrap();
        let expected = sent("host", "a-1.example", "a7a7a7a7a7a7a7a7");
        assert_eq!(wire::Place::from(place.clone()), expected);
        assert_eq!(Place::read(Some(expected)).unwrap(), Some(place));
        assert_eq!(Place::read(None).unwrap(), None, "an older build names none");
        let long = "x".repeat(64);
        for (kind, name, uid) in [
            ("", "a", "a7a7a7a7a7a7a7a7"),
            ("Host", "a", "a7a7a7a7a7a7a7a7"),
            ("host", "", "a7a7a7a7a7a7a7a7"),
            ("host", "a/b", "a7a7a7a7a7a7a7a7"),
            ("host", "a-", "a7a7a7a7a7a7a7a7"),
            ("host", &long, "a7a7a7a7a7a7a7a7"),
            ("host", "a", "a7a7"),
            ("host", "a", "attempt"),
        ] {
            let refused = Place::try_from(sent(kind, name, uid));
            assert!(refused.is_err(), "{kind:?} {name:?} {uid:?}");
        }
    }
}
