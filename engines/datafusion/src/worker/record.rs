//! The record as a worker needs it: graphs come in, results and ends go out, and the record says
//! which epoch leads.

use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;
use chassis::channel::GrpcChannel;
use client::error::CallError;
use client::payloads::Payloads;
use client::record::RecordClient;
use futures::{Stream, stream};
use proto::job::JobEnd;
use proto::{Digest, EpochFence, IncarnationFence, JobId, Problem, Reason};
use record::limits::{CHUNK_BYTES, MAX_GRAPH_BYTES};
use record::{Record as _, Standing};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt;

/// The record, as a worker uses it. [`GrpcRecord`] is the real one; tests put a record in memory in
/// its place.
///
/// A worker may repeat every call, and does while the store is away: reads change nothing, payloads
/// are named by their digest, and the first end wins. Errors that are
/// [retryable](CallError::is_retryable) mean that the store is away.
#[async_trait]
pub trait Record: Send + Sync + 'static {
    /// The bytes of a stored graph, verified by their digest.
    async fn graph(&self, digest: Digest) -> Result<Bytes, CallError>;
    /// Keeps a result file, and answers its digest and its size in bytes.
    async fn put_result(&self, path: &Path) -> Result<(Digest, u64), CallError>;
    /// Tells how a job ended. The record refuses with INCARNATION_SUPERSEDED once there is a later
    /// incarnation.
    async fn end(&self, job: JobId, end: JobEnd) -> Result<Standing<JobEnd>, CallError>;
    /// Whether this epoch still leads.
    async fn holds(&self, epoch: EpochFence) -> Result<bool, CallError>;
}

/// The record behind jobgraph-store.
#[derive(Clone, Debug)]
pub struct GrpcRecord {
    record: RecordClient,
    payloads: Payloads,
    fence: IncarnationFence,
}

impl GrpcRecord {
    /// The record over a channel that carries the incarnation's token.
    pub fn new(channel: GrpcChannel, fence: IncarnationFence) -> Self {
        Self { record: RecordClient::new(channel.clone()), payloads: Payloads::new(channel), fence }
    }
}

#[async_trait]
impl Record for GrpcRecord {
    async fn graph(&self, digest: Digest) -> Result<Bytes, CallError> {
        self.payloads.get_bytes(digest, MAX_GRAPH_BYTES).await
    }

    async fn put_result(&self, path: &Path) -> Result<(Digest, u64), CallError> {
        let unreadable = |error| unreadable(path, &error);
        let (digest, size_bytes) = digest_of(path).await.map_err(unreadable)?;
        let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
        self.payloads.put_stream(digest, size_bytes, chunks(file)).await?;
        Ok((digest, size_bytes))
    }

    async fn end(&self, job: JobId, end: JobEnd) -> Result<Standing<JobEnd>, CallError> {
        Ok(self.record.job_ended(&self.fence, job, end).await?)
    }

    async fn holds(&self, epoch: EpochFence) -> Result<bool, CallError> {
        Ok(self.record.confirm_epoch(&epoch).await?.holds)
    }
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
