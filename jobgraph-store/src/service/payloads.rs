//! Payloads: verified while they are written, named by the digest of their bytes.

use std::path::Path;
use std::time::Duration;

use ::record::limits::CHUNK_BYTES;
use bytes::Bytes;
use chassis::clock::timeout;
use chassis::failpoint;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use proto::{ApplicationRef, Digest, Generation};
use sha2::{Digest as _, Sha256};
use tokio_util::io::ReaderStream;

use super::Service;
use crate::blobs::{BlobError, BlobStream, verified};
use crate::error::Error;
use crate::keys::payload;
use crate::model::Refusal;
use crate::store::Read;

/// A sender that is silent for longer than this has gone.
const CHUNK_WITHIN: Duration = Duration::from_secs(60);

/// Bytes of a payload, in order.
pub type PayloadStream = BlobStream;

impl Service {
    /// Stores the bytes under their digest, also in place of a payload that was found damaged.
    /// `true`: the bytes were there before, and the sender's are not read to their end.
    pub async fn put_payload<S, E>(
        &self,
        digest: Digest,
        size: u64,
        mut chunks: S,
    ) -> Result<bool, E>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
        E: From<Error>,
    {
        let error = |error| E::from(Error::from(error));
        // The mark comes before the bytes, because it says under which name they are looked for.
        let name = self.name_to_put(digest).await?;
        if self.blobs.stat(name).await.map_err(error)? == Some(size) {
            return Ok(true);
        }
        let mut writer = self.blobs.writer(name).await.map_err(error)?;
        let mut hasher = Sha256::new();
        let mut written: u64 = 0;
        loop {
            let chunk = match timeout(&self.clock, CHUNK_WITHIN, chunks.next()).await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(_) => Err(Error::from(Refusal::RequestInvalid(format!(
                    "no chunk came for {CHUNK_WITHIN:?}"
                )))
                .into()),
            };
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(error) => {
                    writer.abort().await;
                    return Err(error);
                }
            };
            written += chunk.len() as u64;
            if written > size {
                break;
            }
            hasher.update(&chunk);
            if let Err(failed) = writer.write(chunk).await {
                writer.abort().await;
                return Err(error(failed));
            }
        }
        let is = Digest::from_bytes(hasher.finalize().into());
        if written != size || is != digest {
            writer.abort().await;
            let is = if written == size {
                is.to_string()
            } else {
                format!("{written} bytes or more, of {size}")
            };
            return Err(Error::from(Refusal::PayloadDigestMismatch {
                said: digest.to_string(),
                is,
            })
            .into());
        }
        failpoint::around("store.put-payload", writer.finish()).await.map_err(error)?;
        Ok(false)
    }

    /// Stores the bytes of a file on this host. `true`: the bytes were there before.
    ///
    /// The file is read, digested and written, and not linked, because a hard link is the same file
    /// under another name. The fetcher places its cached files as links in working directories, so
    /// main() has a name for that file too. A process that may write to the file (root always, its
    /// owner after `chmod`) would change, under its digest, what every application that pinned it
    /// falls back on. A file of the store's own is changed by no other process, and the digest is
    /// of the very bytes that were written, so neither the caller nor the file has to be trusted.
    /// The price is one pass of SHA-256 and one pass of the disk, side by side.
    pub async fn take_payload(&self, digest: Digest, path: &Path) -> Result<bool, Error> {
        let unreadable = |error: std::io::Error| {
            let (path, why) = (path.display().to_string(), error.to_string());
            Error::from(Refusal::FileNotReadable { path, why })
        };
        if !path.is_absolute() {
            return Err(unreadable(std::io::Error::other("it is not an absolute path")));
        }
        // The store looks at the path before it opens it: opening a pipe waits until a process
        // writes into it.
        let metadata = tokio::fs::metadata(path).await.map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(unreadable(std::io::Error::other("it is no regular file")));
        }
        let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
        let size = file.metadata().await.map_err(unreadable)?.len();
        // The buffer is only as large as a small file, because an allocator keeps for good what
        // large buffers took.
        let at_once = usize::try_from(size).unwrap_or(CHUNK_BYTES).clamp(1, CHUNK_BYTES);
        let parts = ReaderStream::with_capacity(file, at_once).map_err(unreadable);
        self.put_payload(digest, size, parts).await
    }

    /// Stores bytes that are in memory.
    pub async fn put_bytes(&self, bytes: Bytes) -> Result<Digest, Error> {
        let digest = Digest::of(&bytes);
        let size = bytes.len() as u64;
        self.put_payload(digest, size, futures::stream::iter([Ok::<_, Error>(bytes)])).await?;
        Ok(digest)
    }

    /// The bytes from `offset` on, verified on their way: a damaged payload is refused or ends in
    /// an error, and never looks whole.
    ///
    /// The name that this store knows the payload by is tried first, because a blob of any name is
    /// the payload if its bytes are; only where it is gone the record is asked.
    pub async fn get_payload(&self, digest: Digest, offset: u64) -> Result<PayloadStream, Error> {
        if let Some(name) = self.known_name(digest) {
            match self.blobs.read(name, offset).await {
                Err(BlobError::Missing(_)) => {}
                read => return Ok(read?),
            }
        }
        let name = self.name_of(digest).await?;
        match self.blobs.read(name, offset).await {
            // An older build may have pointed to the payload without a mark.
            Err(BlobError::Missing(_)) if name.number > 0 => {
                Ok(self.blobs.read(digest.into(), offset).await?)
            }
            read => Ok(read?),
        }
    }

    /// All bytes of a payload that is known to be small.
    pub(crate) async fn read_payload(&self, digest: Digest) -> Result<Bytes, Error> {
        Ok(verified::whole(self.get_payload(digest, 0).await?).await?)
    }

    /// Whether the record of one generation points to these bytes.
    pub async fn points_to(
        &self,
        id: &str,
        generation: u64,
        digest: Digest,
    ) -> Result<bool, Error> {
        let id = id.parse().map_err(Refusal::from)?;
        let application = ApplicationRef { id, generation: Generation(generation) };
        let references = vec![Read::all(payload::references_of(digest, &application))];
        let found = self.metadata.read(references, None).await?;
        Ok(!found.answers[0].is_empty())
    }

    /// Those of these payloads that are here.
    pub async fn stat_payloads(&self, digests: &[Digest]) -> Result<Vec<Digest>, Error> {
        let mut present = Vec::new();
        for name in self.names_of(digests).await? {
            if self.blobs.stat(name).await?.is_some() {
                present.push(name.digest);
            }
        }
        Ok(present)
    }
}
