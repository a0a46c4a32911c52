//! The payload seam: bytes by name. A payload that a record points to is never changed; a payload
//! that no record points to is swept.

pub mod fs;
mod layout;
pub mod location;
#[cfg(any(test, feature = "testing"))]
pub mod memory;
mod name;
pub mod s3;
pub(crate) mod shared;
pub mod verified;

#[cfg(test)]
mod laws;

use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt as _;
use futures::stream::BoxStream;
use proto::Digest;

pub use name::BlobName;

/// Why bytes were not stored or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// The backend has no such bytes.
    #[error("no payload {0}")]
    Missing(Digest),
    /// The bytes on the disk are not those that were put.
    #[error("{file} is damaged: {why}")]
    Damaged {
        /// The damaged payload.
        digest: Digest,
        /// Where the payload lies, in words that a person finds it by.
        file: String,
        /// What the reader saw.
        why: String,
    },
    /// The disk has no room or is read-only. Nothing half-written is visible.
    #[error("the payload disk is full or read-only: {0}")]
    Full(String),
    /// The disk or the service behind the backend failed.
    #[error("payloads cannot be reached: {0}")]
    Failed(String),
}

/// A blob that is there, as a list of blobs shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobInfo {
    /// The blob's name.
    pub name: BlobName,
    /// When the blob was put; `None` where the backend does not know.
    pub modified: Option<SystemTime>,
}

/// Bytes in parts, in order.
pub type BlobStream = BoxStream<'static, Result<Bytes, BlobError>>;

/// Blobs one by one, in any order, as a listing finds them.
pub type BlobEntries = BoxStream<'static, Result<BlobInfo, BlobError>>;

/// A backend of payloads.
///
/// The store reaches every backend through [`verified::Verified`], so a backend only moves bytes:
/// it does not compare them with the digest in their name. The service decides when a payload may
/// be removed; a backend removes what it is told to remove, and nothing of another name, also when
/// only the number differs.
///
/// Laws: a blob is visible whole or not at all, also after a crash. Once `finish` has returned, the
/// blob is durable, and every store that shares the backend reads it, lists it and knows its size.
/// Putting a blob that is there already is harmless and replaces it. Removing a blob that is not
/// there is no error. What one store writes is not disturbed by another that opens the same
/// backend. The writer of a blob has hashed its bytes, and every reader verifies them.
#[async_trait]
pub trait Blobs: Send + Sync + 'static {
    /// Begins to write a blob. A writer that is dropped before `finish` leaves nothing that is
    /// visible.
    async fn writer(&self, name: BlobName) -> Result<Box<dyn BlobWriter>, BlobError>;

    /// The size of a blob in bytes; `None` if there is no such blob.
    async fn stat(&self, name: BlobName) -> Result<Option<u64>, BlobError>;

    /// The bytes of a blob from `offset` on.
    async fn read(&self, name: BlobName, offset: u64) -> Result<BlobStream, BlobError>;

    /// Where a person finds the blob.
    fn place(&self, name: BlobName) -> String;

    /// Removes a blob.
    async fn remove(&self, name: BlobName) -> Result<(), BlobError>;

    /// All blobs, in any order. They come as the backend finds them, page by page, so that no
    /// listing has to be in memory as a whole.
    fn entries(&self) -> BlobEntries;

    /// All blobs at once, in any order.
    async fn list(&self) -> Result<Vec<BlobInfo>, BlobError> {
        self.entries().try_collect().await
    }
}

/// A blob that is being written.
#[async_trait]
pub trait BlobWriter: Send {
    /// Adds bytes.
    async fn write(&mut self, bytes: Bytes) -> Result<(), BlobError>;

    /// Makes the whole blob visible and durable.
    async fn finish(self: Box<Self>) -> Result<(), BlobError>;

    /// Gives the blob up; nothing of it stays visible.
    async fn abort(self: Box<Self>);
}
