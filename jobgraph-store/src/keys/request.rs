//! `r/<SHA-256 of the request id>`: what became of a `Submit`. `…/request/<the same>`: beside the generation that it was answered with,
//! so that the two are forgotten together.

use proto::{ApplicationRef, Digest, Generation, InvalidId};

use super::Kind;
use crate::store::Key;

/// A request that was accepted.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct AcceptedRequest {
    /// Digest of its content: the same id with another one is refused.
    #[prost(bytes = "vec", tag = "1")]
    pub content: Vec<u8>,
    /// What it was answered with.
    #[prost(string, tag = "2")]
    pub application_id: String,
    /// Which generation.
    #[prost(uint64, tag = "3")]
    pub generation: u64,
    /// That generation was there before.
    #[prost(bool, tag = "4")]
    pub existing: bool,
}

impl AcceptedRequest {
    /// The generation that it was answered with.
    pub fn answered_with(&self) -> Result<ApplicationRef, InvalidId> {
        Ok(ApplicationRef { id: self.application_id.parse()?, generation: Generation(self.generation) })
    }
}

impl Kind for AcceptedRequest {
    const NAME: &'static str = "accepted request";
}

/// What all requests begin with.
pub fn prefix() -> Key {
    Key::from("r/".to_owned())
}

/// Where a request is.
pub fn key(request_id: &str) -> Key {
    format!("r/{}", Digest::of(request_id.as_bytes()).to_hex()).into()
}

/// A request was answered with this generation; all that it says is in its key.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct AnsweredWith {}

impl Kind for AnsweredWith {
    const NAME: &'static str = "request of a generation";
}

/// What the keys of a generation's requests begin with.
pub fn of_generation_prefix(application: &ApplicationRef) -> Key {
    super::of_generation(application, "request/")
}

/// Beside the generation: where the request at `request` is named.
pub fn of_generation_key(application: &ApplicationRef, request: &Key) -> Key {
    let name = String::from_utf8_lossy(request.as_bytes());
    super::of_generation(application, &format!("request/{}", name.trim_start_matches("r/")))
}

/// The request that such a key names.
pub fn named_by(application: &ApplicationRef, key: &Key) -> Option<Key> {
    let name = std::str::from_utf8(key.strip(&of_generation_prefix(application))?).ok()?;
    Some(format!("r/{name}").into())
}
