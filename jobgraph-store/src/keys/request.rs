//! `r/<SHA-256 of the request id>`: what a `Submit` was answered with. `…/request/<the same>`: the
//! same request, named beside the generation that it was answered with, so that the two are
//! forgotten together.

use proto::{ApplicationRef, Digest, Generation, InvalidId};

use super::Kind;
use crate::store::Key;

/// A request that was accepted.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct AcceptedRequest {
    /// The digest of the request's content; the same request id with other content is refused.
    #[prost(bytes = "vec", tag = "1")]
    pub content: Vec<u8>,
    /// The application that the request was answered with.
    #[prost(string, tag = "2")]
    pub application_id: String,
    /// The generation that the request was answered with.
    #[prost(uint64, tag = "3")]
    pub generation: u64,
    /// Whether that generation was there before the request.
    #[prost(bool, tag = "4")]
    pub existing: bool,
}

impl AcceptedRequest {
    /// The generation that the request was answered with.
    pub fn answered_with(&self) -> Result<ApplicationRef, InvalidId> {
        Ok(ApplicationRef {
            id: self.application_id.parse()?,
            generation: Generation(self.generation),
        })
    }
}

impl Kind for AcceptedRequest {
    const NAME: &'static str = "accepted request";
}

/// The beginning of the keys of all requests.
pub fn prefix() -> Key {
    Key::from("r/".to_owned())
}

/// The key of a request.
pub fn key(request_id: &str) -> Key {
    format!("r/{}", Digest::of(request_id.as_bytes()).to_hex()).into()
}

/// A request was answered with this generation; the key says which request.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct AnsweredWith {}

impl Kind for AnsweredWith {
    const NAME: &'static str = "request of a generation";
}

/// The beginning of the keys of a generation's requests.
pub fn of_generation_prefix(application: &ApplicationRef) -> Key {
    super::of_generation(application, "request/")
}

/// The key beside the generation that names the request at `request`.
pub fn of_generation_key(application: &ApplicationRef, request: &Key) -> Key {
    let name = String::from_utf8_lossy(request.as_bytes());
    super::of_generation(application, &format!("request/{}", name.trim_start_matches("r/")))
}

/// The key of the request that a key beside the generation names.
pub fn named_by(application: &ApplicationRef, key: &Key) -> Option<Key> {
    let name = std::str::from_utf8(key.strip(&of_generation_prefix(application))?).ok()?;
    Some(format!("r/{name}").into())
}
