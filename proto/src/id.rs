//! Identities. Each is a newtype that cannot hold a malformed value, so that the code behind a
//! service's door checks none of them again.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A value that is not an identity: the kind, the given value, and the rule for values of that
/// kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {value:?} is malformed: {rule}")]
pub struct InvalidId {
    /// The kind of identity, such as `application id`.
    pub kind: &'static str,
    /// The value that was given.
    pub value: String,
    /// The rule that a value has to keep.
    pub rule: &'static str,
}

/// An application's id: 1 to 63 characters of `a-z`, `0-9` and `-`, beginning and ending with a
/// letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ApplicationId(String);

impl ApplicationId {
    /// The longest id, in bytes: what a DNS label holds, so that an id can name a pod.
    pub const MAX_BYTES: usize = 63;

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ApplicationId {
    type Err = InvalidId;

    fn from_str(value: &str) -> Result<Self, InvalidId> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = value.as_bytes();
        let ends_plain =
            bytes.first().is_some_and(|&b| plain(b)) && bytes.last().is_some_and(|&b| plain(b));
        if ends_plain
            && bytes.len() <= Self::MAX_BYTES
            && bytes.iter().all(|&b| plain(b) || b == b'-')
        {
            return Ok(Self(value.to_owned()));
        }
        Err(InvalidId {
            kind: "application id",
            value: value.chars().take(80).collect(),
            rule: "1 to 63 characters of a-z, 0-9 and -, beginning and ending with a letter or digit",
        })
    }
}

impl TryFrom<String> for ApplicationId {
    type Error = InvalidId;

    fn try_from(value: String) -> Result<Self, InvalidId> {
        value.parse()
    }
}

impl From<ApplicationId> for String {
    fn from(id: ApplicationId) -> Self {
        id.0
    }
}

impl fmt::Display for ApplicationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Declares a number of which only the order means something. 0 means "none yet" and is never
/// granted.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The number itself.
            pub fn get(self) -> u64 {
                self.0
            }

            /// The number after this one.
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// One life of an application id, from 1; made only by `Submit`.
    Generation
}
number! {
    /// One leadership: grows per application, across generations. Opaque but for its order.
    Epoch
}
number! {
    /// One life of an application's cluster: grows per application, across generations.
    Incarnation
}

/// The SHA-256 of some bytes; as text `sha256:<64 hex digits>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest that a hasher came to.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hex digits without the algorithm's name: for file names and keys.
    pub fn to_hex(&self) -> String {
        hex::encode(self.0)
    }
}

impl FromStr for Digest {
    type Err = InvalidId;

    fn from_str(value: &str) -> Result<Self, InvalidId> {
        let malformed = || InvalidId {
            kind: "digest",
            value: value.chars().take(100).collect(),
            rule: "sha256: and 64 hex digits",
        };
        let digits = value.strip_prefix("sha256:").ok_or_else(malformed)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| malformed())?;
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Digest {
    type Error = InvalidId;

    fn try_from(value: String) -> Result<Self, InvalidId> {
        value.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One life of one application id; as text `id@generation`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ApplicationRef {
    /// The id that the life belongs to.
    pub id: ApplicationId,
    /// The number of the life.
    pub generation: Generation,
}

impl fmt::Display for ApplicationRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.id, self.generation)
    }
}

/// A job's static id: the same in every attempt, another in every generation; as text 32 hex
/// digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId([u8; 16]);

impl JobId {
    /// The id of the job called `name` in one generation of an application. `uid` tells that
    /// generation from equally named ones of other records (empty where a record has none), and
    /// `occurrence` is 0 unless the engine allows equal names. Each part is length-prefixed or of
    /// fixed width, so no two tuples share an encoding.
    pub fn derive(application: &ApplicationRef, uid: &str, name: &str, occurrence: u32) -> Self {
        let mut hasher = Sha256::new();
        for text in ["mainspring.job/1", application.id.as_str(), name] {
            hasher.update((text.len() as u64).to_be_bytes());
            hasher.update(text.as_bytes());
        }
        hasher.update(application.generation.0.to_be_bytes());
        hasher.update(occurrence.to_be_bytes());
        hasher.update(uid.as_bytes());
        let digest: [u8; 32] = hasher.finalize().into();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Self(id)
    }

    /// The 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl FromStr for JobId {
    type Err = InvalidId;

    fn from_str(value: &str) -> Result<Self, InvalidId> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(value, &mut bytes).map_err(|_| InvalidId {
            kind: "job id",
            value: value.chars().take(80).collect(),
            rule: "32 hex digits",
        })?;
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for JobId {
    type Error = InvalidId;

    fn try_from(value: String) -> Result<Self, InvalidId> {
        value.parse()
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The id under which an engine takes one savepoint; as text 32 hex digits. Every leader that acts
/// on the same wish derives the same id, so that the engine takes one savepoint and not two.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TriggerId([u8; 16]);

impl TriggerId {
    /// The id for the wish `request_id` and one job. The id is unique to a generation, because job
    /// ids are.
    pub fn derive(request_id: &str, job: JobId) -> Self {
        let mut hasher = Sha256::new();
        for text in ["mainspring.savepoint/1", request_id] {
            hasher.update((text.len() as u64).to_be_bytes());
            hasher.update(text.as_bytes());
        }
        hasher.update(job.as_bytes());
        let digest: [u8; 32] = hasher.finalize().into();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Self(id)
    }
}

impl FromStr for TriggerId {
    type Err = InvalidId;

    fn from_str(value: &str) -> Result<Self, InvalidId> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(value, &mut bytes).map_err(|_| InvalidId {
            kind: "trigger id",
            value: value.chars().take(80).collect(),
            rule: "32 hex digits",
        })?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for TriggerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for TriggerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
