//! Payloads in memory: for tests and simulations.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use proto::Digest;

use super::{BlobEntries, BlobError, BlobInfo, BlobStream, BlobWriter, Blobs};

/// Payloads that live as long as this value and its clones.
#[derive(Debug, Clone, Default)]
pub struct MemoryBlobs(Arc<Mutex<BTreeMap<Digest, Bytes>>>);

impl MemoryBlobs {
    fn blobs(&self) -> MutexGuard<'_, BTreeMap<Digest, Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Blobs for MemoryBlobs {
    async fn writer(&self, digest: Digest) -> Result<Box<dyn BlobWriter>, BlobError> {
        Ok(Box::new(MemoryWriter { blobs: self.clone(), digest, bytes: BytesMut::new() }))
    }

    async fn stat(&self, digest: Digest) -> Result<Option<u64>, BlobError> {
        Ok(self.blobs().get(&digest).map(|bytes| bytes.len() as u64))
    }

    async fn read(&self, digest: Digest, offset: u64) -> Result<BlobStream, BlobError> {
        let bytes = self.blobs().get(&digest).cloned().ok_or(BlobError::Missing(digest))?;
        let begin = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        Ok(futures::stream::iter([Ok(bytes.slice(begin..))]).boxed())
    }

    fn place(&self, digest: Digest) -> String {
        format!("memory:{digest}")
    }

    async fn remove(&self, digest: Digest) -> Result<(), BlobError> {
        self.blobs().remove(&digest);
        Ok(())
    }

    fn entries(&self) -> BlobEntries {
        let digests: Vec<Digest> = self.blobs().keys().copied().collect();
        let found = digests.into_iter().map(|digest| Ok(BlobInfo { digest, modified: None }));
        futures::stream::iter(found).boxed()
    }
}

struct MemoryWriter {
    blobs: MemoryBlobs,
    digest: Digest,
    bytes: BytesMut,
}

#[async_trait]
impl BlobWriter for MemoryWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), BlobError> {
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<(), BlobError> {
        self.blobs.blobs().insert(self.digest, self.bytes.freeze());
        Ok(())
    }

    async fn abort(self: Box<Self>) {}
}
