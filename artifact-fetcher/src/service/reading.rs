//! The bytes of a cached artifact, verified before the last of them leave.

use std::io::{self, SeekFrom};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use proto::Digest;
use sha2::{Digest as _, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::Fetcher;
use crate::cache::Kept;
use crate::error::FetchError;

/// How many bytes are read at once and travel together, at most.
const PART_BYTES: u64 = 1024 * 1024;

/// The bytes of an artifact, in order.
pub(crate) type Parts = BoxStream<'static, Result<Bytes, FetchError>>;

impl Fetcher {
    /// Reads `length` bytes (0: all) from `offset` on. A whole artifact is digested while it is
    /// read, and its last part is held back until the digest is right; for a range the whole
    /// artifact is digested first. A damaged artifact is an error and is dropped from the cache.
    pub async fn read(
        &self,
        digest: Digest,
        offset: u64,
        length: u64,
    ) -> Result<Parts, FetchError> {
        let cache = self.inner.cache.clone();
        let kept = self.blocking(move |cache| cache.unverified(digest)).await?;
        let kept = kept.ok_or(FetchError::NotCached(digest))?;
        let disk = |error| FetchError::Cache(Arc::new(error));
        let mut file = match File::open(cache.path(digest)).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(FetchError::NotCached(digest));
            }
            opened => opened.map_err(disk)?,
        };
        let size = kept.facts.size_bytes;
        if offset > size {
            return Err(FetchError::PastEnd { offset, size });
        }
        let length = if length == 0 { size - offset } else { length.min(size - offset) };
        if length < size {
            // The pin of this look is not needed beside the pin of `kept`.
            self.stat(digest).await?;
            file.seek(SeekFrom::Start(offset)).await.map_err(disk)?;
            return Ok(range(file, length, kept));
        }
        // The buffer of a small artifact is as large as the artifact, because an allocator keeps
        // for good what large buffers took.
        let at_once = size.clamp(1, PART_BYTES);
        let (fetcher, hasher) = (self.clone(), Sha256::new());
        let whole = Whole { fetcher, digest, file, at_once, hasher, held: None, _kept: kept };
        Ok(futures::stream::try_unfold(Some(whole), Whole::next).boxed())
    }
}

fn range(file: File, length: u64, kept: Kept) -> Parts {
    let parts =
        futures::stream::try_unfold((file, length, kept), |(mut file, left, kept)| async move {
            let part = part(&mut file, left).await?;
            let left = left - part.len() as u64;
            Ok((!part.is_empty()).then_some((part, (file, left, kept))))
        });
    parts.boxed()
}

/// One reading of a whole artifact, which is not evicted meanwhile.
struct Whole {
    fetcher: Fetcher,
    digest: Digest,
    file: File,
    /// How many bytes are read at once.
    at_once: u64,
    hasher: Sha256,
    /// The newest part: it is digested, and waits until the part after it has come.
    held: Option<Bytes>,
    _kept: Kept,
}

impl Whole {
    async fn next(reading: Option<Self>) -> Result<Option<(Bytes, Option<Self>)>, FetchError> {
        let Some(mut this) = reading else { return Ok(None) };
        loop {
            let part = part(&mut this.file, this.at_once).await?;
            if part.is_empty() {
                break;
            }
            this.hasher.update(&part);
            if let Some(ready) = this.held.replace(part) {
                return Ok(Some((ready, Some(this))));
            }
        }
        let digest = this.digest;
        if Digest::from_bytes(this.hasher.finalize().into()) != digest {
            let path = this.fetcher.inner.cache.path(digest);
            this.fetcher.blocking(move |cache| cache.drop_damaged(digest)).await?;
            return Err(FetchError::Damaged { path, digest });
        }
        Ok(this.held.map(|last| (last, None)))
    }
}

/// The next bytes of a file, `left` of them at most; empty at the file's end.
async fn part(file: &mut File, left: u64) -> Result<Bytes, FetchError> {
    let wanted = left.min(PART_BYTES);
    let mut buffer = BytesMut::with_capacity(usize::try_from(wanted).unwrap_or_default());
    let read = file.take(wanted).read_buf(&mut buffer).await;
    read.map_err(|error| FetchError::Cache(Arc::new(error)))?;
    Ok(buffer.freeze())
}
