//! `r/<SHA-256 of the request id>`: what became of a `Submit`.

use proto::Digest;

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

impl Kind for AcceptedRequest {
    const NAME: &'static str = "accepted request";
}

/// Where a request is.
pub fn key(request_id: &str) -> Key {
    format!("r/{}", Digest::of(request_id.as_bytes()).to_hex()).into()
}
