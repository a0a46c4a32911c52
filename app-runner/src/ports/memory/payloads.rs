//! Bytes by digest, in the real store over memory.

use std::collections::BTreeSet;
use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;
use client::error::CallError;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use jobgraph_store::blobs::Blobs as _;
use jobgraph_store::error::Error;
use proto::{Digest, Reason};
use tonic::Status;

use super::World;
use crate::error::PortError;
use crate::ports::PortResult;
use crate::ports::payloads::Payloads;

/// The error as it comes over the wire.
fn refused(error: Error) -> PortError {
    CallError::from(Status::from(error)).into()
}

impl World {
    /// Puts other bytes of the same size in the place of a payload, or the right ones again.
    pub(super) async fn overwrite(&self, digest: Digest, bytes: Bytes) {
        let name = self.store.name_of(digest).await.expect("memory does not refuse");
        let mut writer = self.blobs.writer(name).await.expect("memory does not refuse");
        writer.write(bytes).await.expect("memory does not refuse");
        writer.finish().await.expect("memory does not refuse");
    }
}

#[async_trait]
impl Payloads for World {
    async fn present(&self, digests: &[Digest]) -> PortResult<BTreeSet<Digest>> {
        Ok(self.store.stat_payloads(digests).await.map_err(refused)?.into_iter().collect())
    }

    async fn put(&self, digest: Digest, bytes: Bytes) -> PortResult<()> {
        let size = bytes.len() as u64;
        self.put_stream(digest, size, futures::stream::iter([bytes]).boxed()).await.map(drop)
    }

    async fn put_file(&self, digest: Digest, path: &Path) -> PortResult<()> {
        let file = {
            let mut state = self.lock();
            state.files_put += 1;
            state.files.get(&digest).cloned()
        };
        let bytes = file.ok_or_else(|| {
            PortError::refused(
                Reason::ArtifactNotReadable,
                format!("there is nothing at {}", path.display()),
            )
        })?;
        self.put(digest, bytes).await
    }

    async fn put_stream(
        &self,
        digest: Digest,
        size_bytes: u64,
        chunks: BoxStream<'static, Bytes>,
    ) -> PortResult<bool> {
        self.store
            .put_payload(digest, size_bytes, chunks.map(Ok::<_, Error>))
            .await
            .map_err(refused)
    }

    async fn get(&self, digest: Digest) -> PortResult<BoxStream<'static, PortResult<Bytes>>> {
        let parts = self.store.get_payload(digest, 0).await.map_err(refused)?;
        Ok(parts.map(|part| part.map_err(|error| refused(error.into()))).boxed())
    }
}
