//! The record reads its payloads through this module. Each byte passes the digest on its way out,
//! and the last bytes leave only when the digest is the one asked for. So a damaged payload never
//! ends like a whole one, and no payload is read twice to find that out.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::{Buf as _, Bytes, BytesMut};
use futures::{StreamExt as _, TryStreamExt as _};
use proto::Digest;
use sha2::{Digest as _, Sha256};

use super::{BlobEntries, BlobError, BlobInfo, BlobName, BlobStream, BlobWriter, Blobs};

/// The payloads of any backend, verified.
///
/// The service and the log writer use this type in place of the backend. A payload that was found
/// damaged counts as absent until it is written again, so that the next writer mends it. The value
/// is cheap to clone, and all clones share what was found.
#[derive(Clone)]
pub struct Verified {
    blobs: Arc<dyn Blobs>,
    /// Payloads that this process found damaged. To a caller that puts them or points to them they
    /// are not there, so that the bytes are sent again and mend them. The set is in memory only,
    /// because the first reader after a restart finds the damage anew.
    damaged: Damaged,
}

type Damaged = Arc<Mutex<BTreeSet<BlobName>>>;

fn lock(damaged: &Damaged) -> MutexGuard<'_, BTreeSet<BlobName>> {
    damaged.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Verified {
    /// Verifies the payloads of this backend.
    pub fn new(blobs: Arc<dyn Blobs>) -> Self {
        Self { blobs, damaged: Arc::default() }
    }

    /// Begins to write a payload, also in place of a damaged one.
    pub async fn writer(&self, name: BlobName) -> Result<Box<dyn BlobWriter>, BlobError> {
        let writer = self.blobs.writer(name).await?;
        Ok(Box::new(Mending { writer, name, damaged: self.damaged.clone() }))
    }

    /// The size of a payload in bytes; `None` if the payload is not there or is known to be
    /// damaged.
    pub async fn stat(&self, name: BlobName) -> Result<Option<u64>, BlobError> {
        if lock(&self.damaged).contains(&name) {
            return Ok(None);
        }
        self.blobs.stat(name).await
    }

    /// The bytes from `offset` on, in parts. A damaged payload ends in [`BlobError::Damaged`]. A
    /// payload of a single part, as most are, is refused before any of its bytes are given out. The
    /// reading holds at most two parts in memory.
    pub async fn read(&self, name: BlobName, offset: u64) -> Result<BlobStream, BlobError> {
        let reading = Verifying {
            parts: self.blobs.read(name, 0).await?,
            hasher: Sha256::new(),
            held: None,
            skip: offset,
            ended: false,
        };
        let verified = self.clone();
        let mut parts = futures::stream::try_unfold(reading, move |mut reading| {
            let verified = verified.clone();
            async move { Ok(reading.next(&verified, name).await?.map(|part| (part, reading))) }
        })
        .boxed();
        let first = parts.try_next().await?;
        Ok(futures::stream::iter(first.map(Ok)).chain(parts).boxed())
    }

    /// All bytes of a payload.
    #[cfg(test)]
    pub(crate) async fn read_whole(&self, name: BlobName) -> Result<Bytes, BlobError> {
        whole(self.read(name, 0).await?).await
    }

    /// Removes a payload.
    pub async fn remove(&self, name: BlobName) -> Result<(), BlobError> {
        self.blobs.remove(name).await?;
        lock(&self.damaged).remove(&name);
        Ok(())
    }

    /// All payloads, in any order, as the backend finds them.
    pub fn entries(&self) -> BlobEntries {
        self.blobs.entries()
    }

    /// All payloads at once, in any order.
    pub async fn list(&self) -> Result<Vec<BlobInfo>, BlobError> {
        self.blobs.list().await
    }

    fn found_damaged(&self, name: BlobName, why: String) -> BlobError {
        let (file, digest) = (self.blobs.place(name), name.digest);
        tracing::error!(%digest, file, "a payload is damaged: {why}");
        lock(&self.damaged).insert(name);
        BlobError::Damaged { digest, file, why }
    }
}

/// All bytes of a stream that is known to be short.
pub async fn whole(parts: BlobStream) -> Result<Bytes, BlobError> {
    let gather = |mut bytes: BytesMut, part: Bytes| async move {
        bytes.extend_from_slice(&part);
        Ok(bytes)
    };
    Ok(parts.try_fold(BytesMut::new(), gather).await?.freeze())
}

/// One reading, from the payload's beginning, because the digest needs every byte.
struct Verifying {
    parts: BlobStream,
    hasher: Sha256,
    /// The part that has passed the hasher and waits for the part behind it.
    held: Option<Bytes>,
    /// How many bytes at the beginning the reader does not want.
    skip: u64,
    ended: bool,
}

impl Verifying {
    async fn next(
        &mut self,
        verified: &Verified,
        name: BlobName,
    ) -> Result<Option<Bytes>, BlobError> {
        while !self.ended {
            let ready = match self.parts.try_next().await? {
                Some(part) => {
                    self.hasher.update(&part);
                    self.held.replace(part)
                }
                None => {
                    self.ended = true;
                    let is = Digest::from_bytes(self.hasher.clone().finalize().into());
                    if is != name.digest {
                        let why = format!("its bytes have the digest {is}, not {}", name.digest);
                        return Err(verified.found_damaged(name, why));
                    }
                    // Another store may have mended the payload.
                    lock(&verified.damaged).remove(&name);
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

/// A writer whose payload counts as whole again once the writer has finished.
struct Mending {
    writer: Box<dyn BlobWriter>,
    name: BlobName,
    damaged: Damaged,
}

#[async_trait]
impl BlobWriter for Mending {
    async fn write(&mut self, bytes: Bytes) -> Result<(), BlobError> {
        self.writer.write(bytes).await
    }

    async fn finish(self: Box<Self>) -> Result<(), BlobError> {
        self.writer.finish().await?;
        lock(&self.damaged).remove(&self.name);
        Ok(())
    }

    async fn abort(self: Box<Self>) {
        self.writer.abort().await;
    }
}

#[cfg(test)]
mod tests;
