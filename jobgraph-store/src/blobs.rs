//! The payload seam: bytes by digest. What a record points to is never changed; what no record points to is swept.

pub mod fs;
pub mod memory;
pub mod verified;

use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use proto::Digest;

/// Why bytes were not stored or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// There are no such bytes.
    #[error("no payload {0}")]
    Missing(Digest),
    /// The bytes that are there are not those that were put.
    #[error("{file} is damaged: {why}")]
    Damaged {
        /// Which payload.
        digest: Digest,
        /// Where it lies.
        file: String,
        /// What was seen.
        why: String,
    },
    /// No room, or read-only. Nothing half-written is visible.
    #[error("the payload disk is full or read-only: {0}")]
    Full(String),
    /// The disk or service behind failed.
    #[error("payloads cannot be reached: {0}")]
    Failed(String),
}

/// A blob that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobInfo {
    /// Its name.
    pub digest: Digest,
    /// When it was put; `None` where that is not known.
    pub modified: Option<SystemTime>,
}

/// Bytes in parts, in order.
pub type BlobStream = BoxStream<'static, Result<Bytes, BlobError>>;

/// A backend of payloads.
///
/// Laws: a blob is visible whole or not at all, also after a crash; once `finish` has returned it is durable; putting what is
/// there already is harmless, and replaces it; `remove` of what is not there is no error. Names are not verified here: who writes hashes, and
/// whoever reads does so through [`verified::Verified`].
#[async_trait]
pub trait Blobs: Send + Sync + 'static {
    /// Begins to write a blob. Dropped before `finish`, it leaves nothing that is visible.
    async fn writer(&self, digest: Digest) -> Result<Box<dyn BlobWriter>, BlobError>;

    /// Size of a blob in bytes; `None` if it is not there.
    async fn stat(&self, digest: Digest) -> Result<Option<u64>, BlobError>;

    /// The bytes from `offset` on.
    async fn read(&self, digest: Digest, offset: u64) -> Result<BlobStream, BlobError>;

    /// Where a person finds it.
    fn place(&self, digest: Digest) -> String;

    /// Removes a blob.
    async fn remove(&self, digest: Digest) -> Result<(), BlobError>;

    /// All blobs, in any order.
    async fn list(&self) -> Result<Vec<BlobInfo>, BlobError>;
}

/// A blob that is being written.
#[async_trait]
pub trait BlobWriter: Send {
    /// Adds bytes.
    async fn write(&mut self, bytes: Bytes) -> Result<(), BlobError>;

    /// Makes the whole visible and durable.
    async fn finish(self: Box<Self>) -> Result<(), BlobError>;

    /// Gives it up.
    async fn abort(self: Box<Self>);
}
