//! The client of the artifact fetcher.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use chassis::MAX_MESSAGE_BYTES;
use chassis::channel::GrpcChannel;
use futures::{Stream, StreamExt as _};
use proto::artifact::artifact_service_client::ArtifactServiceClient;
use proto::artifact::{
    EvictRequest, EvictResponse, FetchProgress, FetchRequest, Fetched, ListRequest, ListResponse,
    ReadRequest, ReleaseRequest, StatRequest, StatResponse, fetch_response,
};
use proto::{ApplicationRef, Digest, Uri};
use tonic::{Code, Status};

use crate::error::CallError;

/// An artifact that a caller needs on the fetcher's host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The application that needs the artifact. The fetcher does not evict it until
    /// [`Artifacts::release`].
    pub application: Option<ApplicationRef>,
    /// Where the artifact comes from: `file://`, `local://`, `http(s)://`, or an absolute path on
    /// the fetcher's host.
    pub uri: Uri,
    /// The digest that the bytes must have, if the caller knows it.
    pub expected: Option<Digest>,
    /// The path at which the fetcher places the verified file.
    pub link_to: Option<PathBuf>,
    /// Whether the placed file is executable.
    pub executable: bool,
}

/// Client of the fetcher. Every call may be repeated.
#[derive(Debug, Clone)]
pub struct Artifacts {
    inner: ArtifactServiceClient<GrpcChannel>,
}

impl Artifacts {
    /// A client over a channel that carries the deployment's credential.
    pub fn new(channel: GrpcChannel) -> Self {
        let inner = ArtifactServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Self { inner }
    }

    /// Fetches one artifact, and tells `progress` a few times a second how many bytes have come.
    pub async fn fetch(
        &self,
        wanted: &Wanted,
        mut progress: impl FnMut(FetchProgress),
    ) -> Result<Fetched, CallError> {
        let request = FetchRequest {
            application: wanted.application.clone().map(Into::into),
            uri: wanted.uri.expose().to_owned(),
            expected_digest: wanted.expected.map(String::from).unwrap_or_default(),
            link_to: wanted.link_to.as_deref().map(display).unwrap_or_default(),
            executable: wanted.executable,
        };
        let mut answers = self.inner.clone().fetch(request).await?.into_inner();
        while let Some(answer) = answers.message().await? {
            match answer.message {
                Some(fetch_response::Message::Progress(now)) => progress(now),
                Some(fetch_response::Message::Fetched(fetched)) => return Ok(fetched),
                None => {}
            }
        }
        Err(Status::new(
            Code::Unknown,
            "the fetcher ended its answer before the artifact was there",
        )
        .into())
    }

    /// The bytes of a cached artifact in chunks: `length` of them from `offset` on, or all the rest
    /// if `length` is 0.
    pub async fn read(
        &self,
        digest: Digest,
        offset: u64,
        length: u64,
    ) -> Result<impl Stream<Item = Result<Bytes, CallError>> + Send + use<>, CallError> {
        let request = ReadRequest { digest: digest.to_string(), offset, length };
        let chunks = self.inner.clone().read(request).await?.into_inner();
        Ok(chunks.map(|chunk| Ok(chunk?.data)))
    }

    /// What the fetcher knows of a cached artifact, and where the verified file is on its host.
    pub async fn stat(&self, digest: Digest) -> Result<StatResponse, CallError> {
        Ok(self.inner.clone().stat(StatRequest { digest: digest.to_string() }).await?.into_inner())
    }

    /// One page of the cached artifacts, most recently used first. The first page has an empty
    /// `page_token`, and a `page_size` of 0 means 100.
    pub async fn list(
        &self,
        page_size: u32,
        page_token: String,
    ) -> Result<ListResponse, CallError> {
        Ok(self.inner.clone().list(ListRequest { page_size, page_token }).await?.into_inner())
    }

    /// Forgets the named artifacts. The answer lists those in use, which stay, as `kept`.
    pub async fn evict(&self, digests: &[Digest]) -> Result<EvictResponse, CallError> {
        let digests: Vec<_> = digests.iter().map(Digest::to_string).collect();
        if digests.is_empty() {
            // An empty list means "evict down to `to_bytes`" on the wire, which would be down to
            // nothing.
            return Ok(EvictResponse::default());
        }
        Ok(self.inner.clone().evict(EvictRequest { digests, to_bytes: 0 }).await?.into_inner())
    }

    /// Evicts the artifacts that were used least recently until at most `bytes` are left.
    pub async fn evict_to(&self, bytes: u64) -> Result<EvictResponse, CallError> {
        let request = EvictRequest { digests: Vec::new(), to_bytes: bytes };
        Ok(self.inner.clone().evict(request).await?.into_inner())
    }

    /// Says that the application no longer needs what the fetcher has fetched for it.
    pub async fn release(&self, application: &ApplicationRef) -> Result<(), CallError> {
        let request = ReleaseRequest { application: Some(application.clone().into()) };
        self.inner.clone().release(request).await?;
        Ok(())
    }
}

fn display(path: &Path) -> String {
    path.display().to_string()
}
