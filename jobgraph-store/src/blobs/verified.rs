//! What the record reads its payloads through: each byte passes the digest on its way out, and the last ones leave only when it is
//! what it has to be. So a damaged payload never ends like a whole one, and nothing is read twice for that.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::{Buf as _, Bytes, BytesMut};
use futures::{StreamExt as _, TryStreamExt as _};
use proto::Digest;
use sha2::{Digest as _, Sha256};

use super::{BlobError, BlobInfo, BlobStream, BlobWriter, Blobs};

/// Payloads of any backend, verified. Cheap to clone; clones are one.
#[derive(Clone)]
pub struct Verified {
    blobs: Arc<dyn Blobs>,
    /// Found damaged by this process: not there for whoever puts or points to them, so that the bytes come again and mend them. In
    /// memory only, since whoever reads one after a restart finds it damaged anew.
    damaged: Damaged,
}

type Damaged = Arc<Mutex<BTreeSet<Digest>>>;

fn lock(damaged: &Damaged) -> MutexGuard<'_, BTreeSet<Digest>> {
    damaged.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Verified {
    /// Over a backend.
    pub fn new(blobs: Arc<dyn Blobs>) -> Self {
        Self { blobs, damaged: Arc::default() }
    }

    /// Begins to write a payload, also in place of a damaged one.
    pub async fn writer(&self, digest: Digest) -> Result<Box<dyn BlobWriter>, BlobError> {
        let writer = self.blobs.writer(digest).await?;
        Ok(Box::new(Mending { writer, digest, damaged: self.damaged.clone() }))
    }

    /// Size of a payload in bytes; `None` if it is not there or is known to be damaged.
    pub async fn stat(&self, digest: Digest) -> Result<Option<u64>, BlobError> {
        if lock(&self.damaged).contains(&digest) {
            return Ok(None);
        }
        self.blobs.stat(digest).await
    }

    /// The bytes from `offset` on, in parts. A damaged payload ends in [`BlobError::Damaged`], and one of a single part, which most are,
    /// is refused before any of it is given out. Held in memory at any time: two parts.
    pub async fn read(&self, digest: Digest, offset: u64) -> Result<BlobStream, BlobError> {
        let reading = Reading {
            parts: self.blobs.read(digest, 0).await?,
            hasher: Sha256::new(),
            held: None,
            skip: offset,
            ended: false,
        };
        let verified = self.clone();
        let mut parts = futures::stream::try_unfold(reading, move |mut reading| {
            let verified = verified.clone();
            async move { Ok(reading.next(&verified, digest).await?.map(|part| (part, reading))) }
        })
        .boxed();
        let first = parts.try_next().await?;
        Ok(futures::stream::iter(first.map(Ok)).chain(parts).boxed())
    }

    /// All bytes of a payload that is known to be small.
    pub async fn read_whole(&self, digest: Digest) -> Result<Bytes, BlobError> {
        let gather = |mut bytes: BytesMut, part: Bytes| async move {
            bytes.extend_from_slice(&part);
            Ok(bytes)
        };
        Ok(self.read(digest, 0).await?.try_fold(BytesMut::new(), gather).await?.freeze())
    }

    /// Removes a payload.
    pub async fn remove(&self, digest: Digest) -> Result<(), BlobError> {
        self.blobs.remove(digest).await?;
        lock(&self.damaged).remove(&digest);
        Ok(())
    }

    /// All payloads, in any order.
    pub async fn list(&self) -> Result<Vec<BlobInfo>, BlobError> {
        self.blobs.list().await
    }

    fn found_damaged(&self, digest: Digest, why: String) -> BlobError {
        let file = self.blobs.place(digest);
        tracing::error!(%digest, file, "a payload is damaged: {why}");
        lock(&self.damaged).insert(digest);
        BlobError::Damaged { digest, file, why }
    }
}

/// One reading, from the payload's beginning.
struct Reading {
    parts: BlobStream,
    hasher: Sha256,
    /// What has passed the digest and waits for what comes behind it.
    held: Option<Bytes>,
    /// Bytes that the reader does not want.
    skip: u64,
    ended: bool,
}

impl Reading {
    async fn next(&mut self, verified: &Verified, digest: Digest) -> Result<Option<Bytes>, BlobError> {
        while !self.ended {
            let ready = match self.parts.try_next().await? {
                Some(part) => {
                    self.hasher.update(&part);
                    self.held.replace(part)
                }
                None => {
                    self.ended = true;
                    let is = Digest::from_bytes(self.hasher.clone().finalize().into());
                    if is != digest {
                        let why = format!("its bytes have the digest {is}, not {digest}");
                        return Err(verified.found_damaged(digest, why));
                    }
                    self.held.take()
                }
            };
            let Some(mut part) = ready else { continue };
            let unwanted = self.skip.min(part.len() as u64);
            self.skip -= unwanted;
            part.advance(usize::try_from(unwanted).unwrap_or(part.len()));
            if !part.is_empty() {
                return Ok(Some(part));
            }
        }
        Ok(None)
    }
}

/// A payload that is whole once this has finished.
struct Mending {
    writer: Box<dyn BlobWriter>,
    digest: Digest,
    damaged: Damaged,
}

#[async_trait]
impl BlobWriter for Mending {
    async fn write(&mut self, bytes: Bytes) -> Result<(), BlobError> {
        self.writer.write(bytes).await
    }

    async fn finish(self: Box<Self>) -> Result<(), BlobError> {
        self.writer.finish().await?;
        lock(&self.damaged).remove(&self.digest);
        Ok(())
    }

    async fn abort(self: Box<Self>) {
        self.writer.abort().await;
    }
}

#[cfg(test)]
mod tests;
