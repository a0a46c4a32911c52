//! Bytes from anywhere, by `mainspring.artifact.v1`.

use std::path::PathBuf;

use async_trait::async_trait;
use client::artifacts as fetcher;
use proto::{ApplicationRef, Digest, Reason, Uri};
use tokio::sync::watch;

use super::PortResult;
use crate::error::PortError;

/// Bytes from anywhere, once.
#[async_trait]
pub trait Artifacts: Send + Sync {
    /// Fetches one file. `activity` hears lines such as `carriers.sql 12 of 80 MB`.
    async fn fetch(
        &self,
        application: &ApplicationRef,
        wanted: &Wanted,
        activity: &watch::Sender<String>,
    ) -> PortResult<Fetched>;
    /// The application needs nothing any more.
    async fn release(&self, application: &ApplicationRef) -> PortResult<()>;
}

/// A file to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Where it comes from.
    pub uri: Uri,
    /// Its digest, where it is known.
    pub digest: Option<Digest>,
    /// Where to put it, absolute; `None` only warms the cache.
    pub link_to: Option<PathBuf>,
    /// Mark it executable.
    pub executable: bool,
}

/// A file that was fetched and verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Of its bytes.
    pub digest: Digest,
    /// Of the whole.
    pub size_bytes: u64,
    /// The verified file on this host.
    pub path: PathBuf,
}

/// The fetcher of this host.
#[derive(Debug, Clone)]
pub struct FetcherArtifacts(fetcher::Artifacts);

impl FetcherArtifacts {
    /// Over a client that carries the contender's credential.
    pub fn new(artifacts: fetcher::Artifacts) -> Self {
        Self(artifacts)
    }
}

#[async_trait]
impl Artifacts for FetcherArtifacts {
    async fn fetch(
        &self,
        application: &ApplicationRef,
        wanted: &Wanted,
        activity: &watch::Sender<String>,
    ) -> PortResult<Fetched> {
        let request = fetcher::Wanted {
            application: Some(application.clone()),
            uri: wanted.uri.clone(),
            expected: wanted.digest,
            link_to: wanted.link_to.clone(),
            executable: wanted.executable,
        };
        let fetched = self.0.fetch(&request, |now| {
            activity.send_replace(line(&wanted.uri, now.bytes_done, now.bytes_total));
        });
        let fetched = fetched.await?;
        let artifact = fetched.artifact.unwrap_or_default();
        let digest = artifact.digest.parse::<Digest>();
        let digest = digest.map_err(|error| PortError::refused(Reason::IdMalformed, error.to_string()))?;
        // Where a directory is shared the file lies where it was asked for; elsewhere it is where the fetcher says.
        let linked = wanted.link_to.clone().filter(|path| path.exists());
        let path = linked.unwrap_or_else(|| fetched.path.into());
        Ok(Fetched { digest, size_bytes: artifact.size_bytes, path })
    }

    async fn release(&self, application: &ApplicationRef) -> PortResult<()> {
        Ok(self.0.release(application).await?)
    }
}

/// What the leader is doing, for the beat.
fn line(uri: &Uri, done: u64, total: u64) -> String {
    const MB: u64 = 1_000_000;
    let path = uri.expose().split(['?', '#']).next().unwrap_or_default();
    let name = proto::uri::file_name(path.rsplit('/').next().unwrap_or(path));
    if total == 0 {
        format!("fetching {name}, {} MB", done / MB)
    } else {
        format!("fetching {name}, {} of {} MB", done / MB, total / MB)
    }
}
