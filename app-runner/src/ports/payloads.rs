//! Bytes by digest in the record, by `mainspring.jobgraph.v1`.

use std::collections::BTreeSet;
use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;
use client::boxed::Boxed;
use client::payloads::Payloads as PayloadClient;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use proto::Digest;

use super::PortResult;
use crate::error::PortError;

/// Bytes by digest in the record.
#[async_trait]
pub trait Payloads: Send + Sync {
    /// Which of these are there.
    async fn present(&self, digests: &[Digest]) -> PortResult<BTreeSet<Digest>>;
    /// Puts bytes.
    async fn put(&self, digest: Digest, bytes: Bytes) -> PortResult<()>;
    /// Puts a file.
    async fn put_file(&self, digest: Digest, path: &Path) -> PortResult<()>;
    /// Puts a stream of chunks whose size is known.
    async fn put_stream(
        &self,
        digest: Digest,
        size_bytes: u64,
        chunks: BoxStream<'static, Bytes>,
    ) -> PortResult<bool>;
    /// Reads them in chunks.
    async fn get(&self, digest: Digest) -> PortResult<BoxStream<'static, PortResult<Bytes>>>;
}

/// Payloads in jobgraph-store.
#[derive(Debug, Clone)]
pub struct StoredPayloads(PayloadClient);

impl StoredPayloads {
    /// Over a client that carries the contender's credential.
    pub fn new(payloads: PayloadClient) -> Self {
        Self(payloads)
    }
}

#[async_trait]
impl Payloads for StoredPayloads {
    async fn present(&self, digests: &[Digest]) -> PortResult<BTreeSet<Digest>> {
        Ok(self.0.present(digests).await?.into_iter().collect())
    }

    async fn put(&self, digest: Digest, bytes: Bytes) -> PortResult<()> {
        self.0.put_bytes(digest, bytes).await?;
        Ok(())
    }

    async fn put_file(&self, digest: Digest, path: &Path) -> PortResult<()> {
        self.0.put_file(digest, path).await?;
        Ok(())
    }

    async fn put_stream(
        &self,
        digest: Digest,
        size_bytes: u64,
        chunks: BoxStream<'static, Bytes>,
    ) -> PortResult<bool> {
        Ok(self.0.put_stream(digest, size_bytes, Boxed(chunks)).await?)
    }

    async fn get(&self, digest: Digest) -> PortResult<BoxStream<'static, PortResult<Bytes>>> {
        let chunks = self.0.get(digest, 0).await?;
        Ok(chunks.map(|chunk| chunk.map_err(PortError::from)).boxed())
    }
}
