//! Payloads in memory: for tests and simulations.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;

use super::{BlobEntries, BlobError, BlobInfo, BlobName, BlobStream, BlobWriter, Blobs};

/// Payloads that live as long as this value and its clones.
#[derive(Debug, Clone, Default)]
pub struct MemoryBlobs(Arc<Mutex<BTreeMap<BlobName, Bytes>>>);

impl MemoryBlobs {
    fn blobs(&self) -> MutexGuard<'_, BTreeMap<BlobName, Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Blobs for MemoryBlobs {
    async fn writer(&self, name: BlobName) -> Result<Box<dyn BlobWriter>, BlobError> {
        Ok(Box::new(MemoryWriter { blobs: self.clone(), name, bytes: BytesMut::new() }))
    }

    async fn stat(&self, name: BlobName) -> Result<Option<u64>, BlobError> {
        Ok(self.blobs().get(&name).map(|bytes| bytes.len() as u64))
    }

    async fn read(&self, name: BlobName, offset: u64) -> Result<BlobStream, BlobError> {
        let bytes = self.blobs().get(&name).cloned().ok_or(BlobError::Missing(name.digest))?;
        let begin = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        Ok(futures::stream::iter([Ok(bytes.slice(begin..))]).boxed())
    }

    fn place(&self, name: BlobName) -> String {
        format!("memory:{name}")
    }

    async fn remove(&self, name: BlobName) -> Result<(), BlobError> {
        self.blobs().remove(&name);
        Ok(())
    }

    fn entries(&self) -> BlobEntries {
        let names: Vec<BlobName> = self.blobs().keys().copied().collect();
        let found = names.into_iter().map(|name| Ok(BlobInfo { name, modified: None }));
        futures::stream::iter(found).boxed()
    }
}

struct MemoryWriter {
    blobs: MemoryBlobs,
    name: BlobName,
    bytes: BytesMut,
}

#[async_trait]
impl BlobWriter for MemoryWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), BlobError> {
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<(), BlobError> {
        self.blobs.blobs().insert(self.name, self.bytes.freeze());
        Ok(())
    }

    async fn abort(self: Box<Self>) {}
}
