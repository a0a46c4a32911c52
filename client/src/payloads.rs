//! The client of payloads, which are named by their digest. Putting is harmless to repeat, and
//! bytes that the store has already are not sent to their end.

use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chassis::MAX_MESSAGE_BYTES;
use chassis::channel::GrpcChannel;
use futures::future::ready;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use proto::jobgraph::payload_service_client::PayloadServiceClient;
use proto::jobgraph::put_payload_request::Part;
use proto::jobgraph::{
    GetPayloadRequest, PayloadHeader, PutPayloadRequest, StatPayloadsRequest, TakePayloadRequest,
};
use proto::{Digest, Problem, Reason};
use record::limits::CHUNK_BYTES;
use sha2::{Digest as _, Sha256};
use tonic::Code;

use crate::error::CallError;

/// How long a call that moves no bytes may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the store may take to read and keep a file of its own host.
const TAKE_TIMEOUT: Duration = Duration::from_secs(600);

/// Client of the payloads; cheap to clone.
#[derive(Debug, Clone)]
pub struct Payloads {
    inner: PayloadServiceClient<GrpcChannel>,
}

impl Payloads {
    /// A client over a channel that carries the deployment's or an incarnation's credential.
    pub fn new(channel: GrpcChannel) -> Self {
        let inner = PayloadServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Self { inner }
    }

    /// Puts bytes whose digest and size are known, in chunks of any size. The answer is `true` if
    /// the store had them.
    pub async fn put_stream(
        &self,
        digest: Digest,
        size_bytes: u64,
        chunks: impl Stream<Item = Bytes> + Send + 'static,
    ) -> Result<bool, CallError> {
        let header = PutPayloadRequest {
            part: Some(Part::Header(PayloadHeader { digest: digest.to_string(), size_bytes })),
        };
        let chunks = chunks.flat_map(|chunk| futures::stream::iter(split(chunk)));
        let chunks = chunks.map(|chunk| PutPayloadRequest { part: Some(Part::Chunk(chunk)) });
        let request = futures::stream::iter([header]).chain(chunks);
        Ok(self.inner.clone().put_payload(request).await?.into_inner().found)
    }

    /// Puts bytes. The answer is `true` if the store had them.
    pub async fn put_bytes(&self, digest: Digest, bytes: Bytes) -> Result<bool, CallError> {
        self.put_stream(digest, bytes.len() as u64, futures::stream::iter([bytes])).await
    }

    /// Puts a file that does not change meanwhile. The store takes the file where it can see it;
    /// elsewhere its bytes are sent. The answer is `true` if the store had them.
    pub async fn put_file(&self, digest: Digest, path: &Path) -> Result<bool, CallError> {
        match self.take_file(digest, path).await {
            // The store sees no such file, is of a build that cannot take any, or is very slow at
            // it.
            Err(error)
                if matches!(
                    error.code(),
                    Code::FailedPrecondition | Code::Unimplemented | Code::DeadlineExceeded
                ) =>
            {
                self.send_file(digest, path).await
            }
            taken => taken,
        }
    }

    /// Has the store take a file of its own host. The answer is `FailedPrecondition`
    /// `ARTIFACT_NOT_READABLE` where the store sees no such file.
    pub async fn take_file(&self, digest: Digest, path: &Path) -> Result<bool, CallError> {
        let path = path.display().to_string();
        let mut request =
            tonic::Request::new(TakePayloadRequest { digest: digest.to_string(), path });
        request.set_timeout(TAKE_TIMEOUT);
        Ok(self.inner.clone().take_payload(request).await?.into_inner().found)
    }

    async fn send_file(&self, digest: Digest, path: &Path) -> Result<bool, CallError> {
        let unreadable = |error: std::io::Error| {
            let text = format!("cannot read {}: {error}", path.display());
            CallError::from(Problem::new(Reason::ArtifactNotReadable, text))
        };
        let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
        let size_bytes = file.metadata().await.map_err(unreadable)?.len();
        let chunks = tokio_util::io::ReaderStream::with_capacity(file, CHUNK_BYTES / 4);
        // A file that fails while it is read ends early, and the store refuses bytes that are too
        // few.
        self.put_stream(
            digest,
            size_bytes,
            chunks.take_while(|chunk| ready(chunk.is_ok())).filter_map(|chunk| ready(chunk.ok())),
        )
        .await
    }

    /// The bytes from `offset` on, in chunks; `NotFound` `PAYLOAD_MISSING`. Damaged bytes end in
    /// `DataLoss` `DATA_CORRUPT`, at the latest in place of the last chunk, so the caller uses
    /// nothing of a stream that has not ended without an error.
    pub async fn get(
        &self,
        digest: Digest,
        offset: u64,
    ) -> Result<BoxStream<'static, Result<Bytes, CallError>>, CallError> {
        let request = GetPayloadRequest { digest: digest.to_string(), offset };
        let answers = self.inner.clone().get_payload(request).await?.into_inner();
        Ok(answers.map_ok(|answer| answer.chunk).map_err(CallError::from).boxed())
    }

    /// All bytes of a payload of at most `limit` bytes, verified.
    pub async fn get_bytes(&self, digest: Digest, limit: usize) -> Result<Bytes, CallError> {
        let refuse = |reason, text: String| CallError::from(Problem::new(reason, text));
        let mut chunks = self.get(digest, 0).await?;
        let mut bytes = BytesMut::new();
        while let Some(chunk) = chunks.try_next().await? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > limit {
                let text = format!("payload {digest} has more than {limit} bytes");
                return Err(refuse(Reason::MessageTooLarge, text));
            }
        }
        let bytes = bytes.freeze();
        match Digest::of(&bytes) {
            is if is == digest => Ok(bytes),
            is => Err(damaged(digest, is)),
        }
    }

    /// The bytes in chunks, verified as they pass. Damaged bytes end with `DataLoss` `DATA_CORRUPT`
    /// in place of the stream's end.
    pub async fn get_verified(
        &self,
        digest: Digest,
    ) -> Result<BoxStream<'static, Result<Bytes, CallError>>, CallError> {
        let chunks = self.get(digest, 0).await?;
        let verified =
            futures::stream::unfold(Some((chunks, Sha256::new())), move |state| async move {
                let (mut chunks, mut hasher) = state?;
                match chunks.next().await {
                    Some(Ok(chunk)) => {
                        hasher.update(&chunk);
                        Some((Ok(chunk), Some((chunks, hasher))))
                    }
                    Some(Err(error)) => Some((Err(error), None)),
                    None => {
                        let is = Digest::from_bytes(hasher.finalize().into());
                        (is != digest).then(|| (Err(damaged(digest, is)), None))
                    }
                }
            });
        Ok(verified.boxed())
    }

    /// Those of the named payloads that the store has.
    pub async fn present(&self, digests: &[Digest]) -> Result<Vec<Digest>, CallError> {
        let request =
            StatPayloadsRequest { digests: digests.iter().map(Digest::to_string).collect() };
        let mut request = tonic::Request::new(request);
        request.set_timeout(CALL_TIMEOUT);
        let answer = self.inner.clone().stat_payloads(request).await?.into_inner();
        // An answer may name only what was asked for, so everything else in it is left out.
        Ok(digests
            .iter()
            .copied()
            .filter(|digest| answer.present.contains(&digest.to_string()))
            .collect())
    }
}

/// The error of a payload whose bytes have another digest. It is final, because the store would
/// give out the same bytes again. Where the store sees the damage first, its own error names the
/// file.
fn damaged(digest: Digest, is: Digest) -> CallError {
    let text = format!("payload {digest} of the record is damaged: its bytes have the digest {is}");
    Problem::new(Reason::DataCorrupt, text).into()
}

fn split(mut bytes: Bytes) -> Vec<Bytes> {
    let mut parts = Vec::with_capacity(bytes.len() / CHUNK_BYTES + 1);
    while bytes.len() > CHUNK_BYTES {
        parts.push(bytes.split_to(CHUNK_BYTES));
    }
    parts.push(bytes);
    parts
}
