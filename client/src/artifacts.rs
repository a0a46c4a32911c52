//! The artifact fetcher.

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

/// One artifact to be made present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Who needs it; it is not evicted until [`Artifacts::release`].
    pub application: Option<ApplicationRef>,
    /// `file://`, `local://`, `http(s)://`, or an absolute path on the fetcher's host.
    pub uri: Uri,
    /// What it has to be, if that is known.
    pub expected: Option<Digest>,
    /// Where to place the verified file.
    pub link_to: Option<PathBuf>,
    /// Place it as an executable.
    pub executable: bool,
}

/// Client of the fetcher. All calls may be repeated.
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

    /// Fetches one artifact, telling `progress` how far it is, a few times a second.
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
        Err(Status::new(Code::Unknown, "the fetcher ended its answer before the artifact was there").into())
    }

    /// The bytes of a cached artifact from `offset` on, `length` of them (0: to the end), in chunks.
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

    /// What is known of a cached artifact, and where the verified file is on the fetcher's host.
    pub async fn stat(&self, digest: Digest) -> Result<StatResponse, CallError> {
        Ok(self.inner.clone().stat(StatRequest { digest: digest.to_string() }).await?.into_inner())
    }

    /// One page of what is cached, most recently used first; `page_token` is empty for the first, `page_size` 0 for 100.
    pub async fn list(&self, page_size: u32, page_token: String) -> Result<ListResponse, CallError> {
        Ok(self.inner.clone().list(ListRequest { page_size, page_token }).await?.into_inner())
    }

    /// Forgets the named artifacts, except those in use (`kept`).
    pub async fn evict(&self, digests: &[Digest]) -> Result<EvictResponse, CallError> {
        let digests: Vec<_> = digests.iter().map(Digest::to_string).collect();
        if digests.is_empty() {
            // On the wire this would mean "evict down to nothing".
            return Ok(EvictResponse::default());
        }
        Ok(self.inner.clone().evict(EvictRequest { digests, to_bytes: 0 }).await?.into_inner())
    }

    /// Evicts what was used least recently until at most `bytes` are left.
    pub async fn evict_to(&self, bytes: u64) -> Result<EvictResponse, CallError> {
        let request = EvictRequest { digests: Vec::new(), to_bytes: bytes };
        Ok(self.inner.clone().evict(request).await?.into_inner())
    }

    /// The application no longer needs what it fetched.
    pub async fn release(&self, application: &ApplicationRef) -> Result<(), CallError> {
        let request = ReleaseRequest { application: Some(application.clone().into()) };
        self.inner.clone().release(request).await?;
        Ok(())
    }
}

fn display(path: &Path) -> String {
    path.display().to_string()
}
