//! Manifests of many files. A value of the record has a bound, so a large manifest becomes a
//! payload, blob first and pointer second, and the record keeps its counts. Leaders and clusters do
//! not notice, because they are answered the whole manifest.

use std::sync::Arc;

use prost::Message as _;
use proto::{Digest, api, job};

use super::Service;
use crate::error::Error;
use crate::keys::payload::Use;
use crate::model::Refusal;

/// A manifest of at most so many bytes stands in the record itself.
const INLINE_BYTES: usize = 16 * 1024;

/// The largest manifest, in bytes. A leader's record has to fit into one message, together with the
/// manifests of several jobs that are not published yet.
const MAX_BYTES: usize = 2 * 1024 * 1024;

/// How many bytes the manifests of published jobs may add to a leader's record. No leader publishes
/// by these any more.
const PUBLISHED_BYTES: usize = 2 * 1024 * 1024;

/// How many bytes of manifests stay in memory, as they are encoded. A leader reads its record after
/// each change, and the payloads may be on the other side of a network.
pub(super) const KEPT_BYTES: usize = 2 * MAX_BYTES;

impl Service {
    /// The end as the record keeps it: a manifest that is too large for the record is put into the
    /// payloads.
    pub(crate) async fn fitting_end(&self, end: &job::JobEnd) -> Result<job::JobEnd, Error> {
        let Some(manifest) = &end.manifest else { return Ok(end.clone()) };
        if !manifest.files_digest.is_empty() {
            return Err(Refusal::RequestInvalid(
                "end.manifest.files_digest is set by the store only".into(),
            )
            .into());
        }
        let bytes = manifest.encoded_len();
        if bytes > MAX_BYTES {
            let files: usize = manifest.outputs.iter().map(|output| output.files.len()).sum();
            return Err(Refusal::RequestInvalid(format!(
                "the manifest has {bytes} bytes for {files} files; at most {MAX_BYTES}: write fewer or larger files"
            ))
            .into());
        }
        if bytes <= INLINE_BYTES {
            return Ok(end.clone());
        }
        let digest = self.put_bytes(manifest.encode_to_vec().into()).await?;
        let counts = |output: &job::Output| job::Output {
            file_count: u64::try_from(output.files.len()).unwrap_or(u64::MAX),
            size_bytes: output.files.iter().map(|file| file.size_bytes).sum(),
            files: Vec::new(),
            ..output.clone()
        };
        let kept = job::Manifest {
            outputs: manifest.outputs.iter().map(counts).collect(),
            files_digest: digest.to_string(),
        };
        Ok(job::JobEnd { manifest: Some(kept), ..end.clone() })
    }

    /// The end as the cluster gave it, its manifest read back from the payloads.
    pub(crate) async fn whole_end(&self, end: job::JobEnd) -> Result<job::JobEnd, Error> {
        let Some((digest, _)) = pointer(&end) else { return Ok(end) };
        let manifest = match self.manifests.get(&digest) {
            Some(known) => known,
            None => self.read_manifest(digest).await?,
        };
        Ok(job::JobEnd { manifest: Some(job::Manifest::clone(&manifest)), ..end })
    }

    async fn read_manifest(&self, digest: Digest) -> Result<Arc<job::Manifest>, Error> {
        let bytes = self.read_payload(digest).await?;
        let weight = bytes.len();
        let manifest = job::Manifest::decode(bytes)
            .map_err(|error| Error::Internal(format!("manifest {digest}: {error}")))?;
        let manifest = Arc::new(manifest);
        self.manifests.put(digest, manifest.clone(), weight);
        Ok(manifest)
    }

    /// Makes the ends of jobs whole for a leader: those that the leader has to publish, and as many
    /// others as there is room for.
    pub(crate) async fn whole_ends(&self, jobs: &mut [api::Job]) -> Result<(), Error> {
        let (mut room, mut is_used_up) = (PUBLISHED_BYTES, false);
        for job in jobs {
            let Some(end) = job.end.take() else { continue };
            if job.published && is_used_up {
                // The payload is not read in vain.
                job.end = Some(end);
                continue;
            }
            let whole = match self.whole_end(end.clone()).await {
                Ok(whole) => whole,
                Err(error @ (Error::Unavailable(_) | Error::Full(_))) => return Err(error),
                Err(error) => {
                    // Damage of one job's list is no reason to refuse the leader its record:
                    // publishing says what is wrong.
                    tracing::error!(job = %job.job_id, "the list of its files cannot be read: {error}");
                    job.end = Some(end);
                    continue;
                }
            };
            let bytes = whole.manifest.as_ref().map_or(0, job::Manifest::encoded_len);
            let fits = !job.published || bytes <= room;
            is_used_up |= !fits;
            if job.published && fits {
                room -= bytes;
            }
            job.end = Some(if fits { whole } else { end });
        }
        Ok(())
    }
}

/// The payload that a kept end needs for its manifest.
pub(crate) fn pointer(end: &job::JobEnd) -> Option<(Digest, Use)> {
    let digest = end.manifest.as_ref()?.files_digest.parse().ok()?;
    Some((digest, Use::Manifest))
}
