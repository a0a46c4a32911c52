//! The rows of a job on their way into the record's payloads.

use std::path::Path;

use bytes::Bytes;
use client::error::CallError;
use client::payloads::Payloads;
use futures::{Stream, stream};
use proto::{Digest, Problem, Reason};
use record::limits::CHUNK_BYTES;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt;

/// Keeps a result file, and answers its digest and its size in bytes.
pub(super) async fn keep(payloads: &Payloads, path: &Path) -> Result<(Digest, u64), CallError> {
    let unreadable = |error| unreadable(path, &error);
    let (digest, size_bytes) = digest_of(path).await.map_err(unreadable)?;
    let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
    payloads.put_stream(digest, size_bytes, chunks(file)).await?;
    Ok((digest, size_bytes))
}

fn chunks(file: tokio::fs::File) -> impl Stream<Item = Bytes> + Send + 'static {
    stream::unfold(file, next_chunk)
}

async fn next_chunk(mut file: tokio::fs::File) -> Option<(Bytes, tokio::fs::File)> {
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    // A file that cannot be read further ends the stream early, and the store refuses a payload
    // that is too short.
    (&mut file).take(CHUNK_BYTES as u64).read_to_end(&mut chunk).await.ok()?;
    (!chunk.is_empty()).then(|| (Bytes::from(chunk), file))
}

/// An error with a reason, which therefore is not retried: a file of this host that cannot be read
/// does not come back by waiting for the store.
fn unreadable(path: &Path, error: &std::io::Error) -> CallError {
    let text = format!("the result file {} cannot be read: {error}", path.display());
    Problem::new(Reason::DataCorrupt, text).into()
}

async fn digest_of(path: &Path) -> std::io::Result<(Digest, u64)> {
    let mut file = tokio::fs::File::open(path).await?;
    let mut hasher = Sha256::new();
    let mut size = 0;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let n = file.read(&mut chunk).await?;
        if n == 0 {
            return Ok((Digest::from_bytes(hasher.finalize().into()), size));
        }
        hasher.update(&chunk[..n]);
        size += n as u64;
    }
}
