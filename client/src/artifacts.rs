//! The artifact fetcher.

use std::path::{Path, PathBuf};

use chassis::MAX_MESSAGE_BYTES;
use chassis::channel::GrpcChannel;
use proto::artifact::artifact_service_client::ArtifactServiceClient;
use proto::artifact::{FetchProgress, FetchRequest, Fetched, ReleaseRequest, fetch_response};
use proto::{ApplicationRef, Digest};
use tonic::{Code, Status};

use crate::error::CallError;

/// One artifact to be made present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Who needs it; it is not evicted until [`Artifacts::release`].
    pub application: Option<ApplicationRef>,
    /// `file://`, `local://`, `http(s)://`, or an absolute path on the fetcher's host.
    pub uri: String,
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
            uri: wanted.uri.clone(),
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
