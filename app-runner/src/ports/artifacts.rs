//! Files from anywhere, by `mainspring.artifact.v1`.

use std::path::PathBuf;

use async_trait::async_trait;
use client::artifacts::{Artifacts as Client, Wanted};
use proto::{ApplicationRef, Digest, Reason, Uri};
use tokio::sync::watch;

use super::PortResult;
use crate::error::PortError;

/// Files from anywhere, which are fetched once for a host.
#[async_trait]
pub trait Artifacts: Send + Sync {
    /// Fetches one file. `activity` gets lines such as `carriers.sql 12 of 80 MB` while the fetch
    /// lasts.
    async fn fetch(&self, wanted: &Wanted, activity: &watch::Sender<String>)
    -> PortResult<Fetched>;
    /// Says that the application needs none of its files any more.
    async fn release(&self, application: &ApplicationRef) -> PortResult<()>;
}

/// A file that was fetched and verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The digest of the file's bytes.
    pub digest: Digest,
    /// The size of the whole file.
    pub size_bytes: u64,
    /// The path of the verified file on this host.
    pub path: PathBuf,
}

/// The artifact-fetcher of this host, over a client that carries the contender's credential.
#[async_trait]
impl Artifacts for Client {
    async fn fetch(
        &self,
        wanted: &Wanted,
        activity: &watch::Sender<String>,
    ) -> PortResult<Fetched> {
        let fetched = Client::fetch(self, wanted, |now| {
            activity.send_replace(line(&wanted.uri, now.bytes_done, now.bytes_total));
        });
        let fetched = fetched.await?;
        let artifact = fetched.artifact.unwrap_or_default();
        let digest = artifact.digest.parse::<Digest>();
        let digest =
            digest.map_err(|error| PortError::refused(Reason::IdMalformed, error.to_string()))?;
        // Where a directory is shared with the fetcher, the file lies where it was asked for.
        // Elsewhere the file is where the fetcher says.
        let linked = wanted.link_to.clone().filter(|path| path.exists());
        let path = linked.unwrap_or_else(|| fetched.path.into());
        Ok(Fetched { digest, size_bytes: artifact.size_bytes, path })
    }

    async fn release(&self, application: &ApplicationRef) -> PortResult<()> {
        Ok(Client::release(self, application).await?)
    }
}

/// The line about a fetch that the leader's beat carries.
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
