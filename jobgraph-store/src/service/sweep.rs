//! Sweeping payloads that no record points to. The mark says *sweeping* before the references are
//! read again; afterwards the mark has gone with the payload or has a number one higher. A pointer
//! that was being written meanwhile compares the mark and does not commit.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use proto::{ApplicationRef, Digest, Generation};

use super::load::revision_of;
use super::{Service, load};
use crate::blobs::BlobInfo;
use crate::error::Error;
use crate::keys::payload::{self, Reference, SweepMark, Use};
use crate::keys::{Kind, generation};
use crate::model::Dossier;
use crate::store::{Commit, Compare, Operation, Read, Transaction};

/// A payload that no record points to is left alone this long, because its pointer may be on its
/// way.
pub(crate) const UNREFERENCED_KEPT: Duration = Duration::from_secs(3600);

/// How often the store looks at all payloads.
pub(crate) const SWEEP_EVERY: Duration = Duration::from_secs(600);

impl Service {
    /// Sweeps again and again. The first sweep comes some time after the start, because a store
    /// that starts has better things to do.
    pub async fn keep_sweeping(&self) {
        loop {
            if let Err(error) = self.finish_forgetting().await {
                tracing::warn!(%error, "what is half forgotten stays for now");
            }
            self.clock.sleep(SWEEP_EVERY).await;
            match self.sweep_all(UNREFERENCED_KEPT).await {
                Ok(0) => {}
                Ok(count) => tracing::info!(count, "swept payloads that nothing points to"),
                Err(error) => tracing::warn!(%error, "payloads could not be swept"),
            }
        }
    }

    /// Removes every payload that no record points to and that is older than `kept`; answers how
    /// many.
    pub async fn sweep_all(&self, kept: Duration) -> Result<usize, Error> {
        let now = self.clock.wall();
        let mut removed = 0;
        let mut present = HashSet::new();
        for BlobInfo { digest, modified } in self.blobs.list().await? {
            present.insert(digest);
            let age =
                modified.and_then(|modified| now.duration_since(modified).ok()).unwrap_or_default();
            if age >= kept && self.sweep(digest).await? {
                removed += 1;
            }
        }
        self.prune_marks(&present).await?;
        Ok(removed)
    }

    /// Removes one payload if no record points to it. `true`: the payload is gone.
    pub async fn sweep(&self, digest: Digest) -> Result<bool, Error> {
        let _alone = self.sweeping.lock().await;
        let key = payload::sweep_key(digest);
        let view = self
            .metadata
            .read(vec![Read::Key(key.clone()), Read::all(payload::reference_prefix(digest))], None)
            .await?;
        let mark: SweepMark = load::one(&view, 0)?.unwrap_or_default();
        let referenced = self.drop_dead(&view.answers[1]).await? > 0;
        if referenced && !mark.sweeping {
            return Ok(false);
        }
        let sweeping = SweepMark { number: mark.number, sweeping: true };
        let Some(marked) = self.mark(digest, revision_of(&view, 0), &sweeping).await? else {
            return Ok(false);
        };
        // From here on no pointer to the payload commits; the pointers that did commit are seen.
        let references =
            self.metadata.read(vec![Read::all(payload::reference_prefix(digest))], None).await?;
        let unused = references.answers[0].is_empty();
        if unused {
            self.blobs.remove(digest).await?;
        }
        if unused {
            // The mark goes with the payload.
            let compares = vec![Compare { key: key.clone(), revision: Some(marked) }];
            self.commit(Transaction { compares, operations: vec![Operation::Delete(key)] }).await?;
        } else {
            let swept = SweepMark { number: mark.number + 1, sweeping: false };
            self.mark(digest, Some(marked), &swept).await?;
        }
        Ok(unused)
    }

    /// Ends a sweep that a process which died has left half done.
    pub(crate) async fn end_sweep(&self, digest: Digest) -> Result<(), Error> {
        let view = self.metadata.read(vec![Read::Key(payload::sweep_key(digest))], None).await?;
        if load::one::<SweepMark>(&view, 0)?.is_some_and(|mark| mark.sweeping) {
            self.sweep(digest).await?;
        }
        Ok(())
    }

    async fn mark(
        &self,
        digest: Digest,
        seen: Option<u64>,
        mark: &SweepMark,
    ) -> Result<Option<u64>, Error> {
        let key = payload::sweep_key(digest);
        let compares = vec![Compare { key: key.clone(), revision: seen }];
        let operations = vec![Operation::Put(key, mark.to_stored())];
        Ok(match self.commit(Transaction { compares, operations }).await? {
            Commit::Committed(revision) => Some(revision),
            Commit::Conflict(_) => None,
        })
    }

    /// Removes references to artifacts whose generation is clean; answers how many references are
    /// left.
    async fn drop_dead(
        &self,
        references: &[(crate::store::Key, crate::store::Stored)],
    ) -> Result<usize, Error> {
        let mut left = 0;
        for (key, stored) in references {
            let reference = Reference::from_stored(&stored.value)?;
            if reference.kind == Use::Artifact.as_str() && self.is_clean(&reference).await? {
                let compares = vec![Compare { key: key.clone(), revision: Some(stored.revision) }];
                self.commit(Transaction {
                    compares,
                    operations: vec![Operation::Delete(key.clone())],
                })
                .await?;
            } else {
                left += 1;
            }
        }
        Ok(left)
    }

    async fn is_clean(&self, reference: &Reference) -> Result<bool, Error> {
        let application = ApplicationRef {
            id: reference.application_id.parse()?,
            generation: Generation(reference.generation),
        };
        let view =
            self.metadata.read(vec![Read::Key(generation::state_key(&application))], None).await?;
        Ok(load::one::<generation::GenerationState>(&view, 0)?
            .is_none_or(|state| state.application().clean))
    }

    /// Frees the payloads of a clean generation's artifacts, and of the files that its graphs
    /// needed.
    pub(crate) async fn release_artifacts(&self, dossier: &Dossier) -> Result<(), Error> {
        let pinned = dossier.artifacts.pinned.iter().map(|artifact| &artifact.digest);
        let needed = dossier.jobs.values().flat_map(|job| &job.payload_digests);
        let digests: BTreeSet<&String> = pinned.chain(needed).collect();
        for digest in digests {
            self.sweep(digest.parse()?).await?;
        }
        Ok(())
    }
}
