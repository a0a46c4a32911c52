//! Bytes by digest in the record, by `mainspring.jobgraph.v1`.

use std::collections::BTreeSet;
use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;
use client::boxed::Boxed;
use client::payloads::Payloads as Client;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use proto::Digest;

use super::PortResult;
use crate::error::PortError;

/// The bytes that the record keeps by digest, such as graphs and the application's files. Putting
/// the same bytes again is harmless.
#[async_trait]
pub trait Payloads: Send + Sync {
    /// The digests among `digests` whose bytes the record has.
    async fn present(&self, digests: &[Digest]) -> PortResult<BTreeSet<Digest>>;
    /// Puts bytes that are in memory.
    async fn put(&self, digest: Digest, bytes: Bytes) -> PortResult<()>;
    /// Puts the bytes of a file.
    async fn put_file(&self, digest: Digest, path: &Path) -> PortResult<()>;
    /// Puts a stream of chunks whose size is known. The answer is `true` if the record had the
    /// bytes before.
    async fn put_stream(
        &self,
        digest: Digest,
        size_bytes: u64,
        chunks: BoxStream<'static, Bytes>,
    ) -> PortResult<bool>;
    /// Reads bytes in chunks.
    async fn get(&self, digest: Digest) -> PortResult<BoxStream<'static, PortResult<Bytes>>>;
}

/// The payloads of jobgraph-store, over a client that carries the contender's credential.
#[async_trait]
impl Payloads for Client {
    async fn present(&self, digests: &[Digest]) -> PortResult<BTreeSet<Digest>> {
        Ok(Client::present(self, digests).await?.into_iter().collect())
    }

    async fn put(&self, digest: Digest, bytes: Bytes) -> PortResult<()> {
        self.put_bytes(digest, bytes).await?;
        Ok(())
    }

    async fn put_file(&self, digest: Digest, path: &Path) -> PortResult<()> {
        Client::put_file(self, digest, path).await?;
        Ok(())
    }

    async fn put_stream(
        &self,
        digest: Digest,
        size_bytes: u64,
        chunks: BoxStream<'static, Bytes>,
    ) -> PortResult<bool> {
        Ok(Client::put_stream(self, digest, size_bytes, Boxed(chunks)).await?)
    }

    async fn get(&self, digest: Digest) -> PortResult<BoxStream<'static, PortResult<Bytes>>> {
        let chunks = Client::get(self, digest, 0).await?;
        Ok(chunks.map(|chunk| chunk.map_err(PortError::from)).boxed())
    }
}
