//! Marks of payloads: made before any record points to the payload, and removed with the payload.
//! `sweep.rs` says why that is safe.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chassis::clock::Boot;
use proto::Digest;

use super::load::revision_of;
use super::write::TRIES;
use super::{Service, load};
use crate::blobs::BlobName;
use crate::error::Error;
use crate::keys::Kind as _;
use crate::keys::payload::{self, SweepMark, Sweeps};
use crate::store::{Commit, Compare, Operation, Read, Transaction};

/// How many keys are read at once.
const READ_AHEAD: usize = 512;

/// Marks without a payload, each with the revision that wrote it, and since when this store has
/// seen that.
pub(crate) type Lonely = Arc<Mutex<HashMap<(Digest, u64), Boot>>>;

/// The name that a payload with this mark lies under.
pub(super) fn name(digest: Digest, mark: SweepMark) -> BlobName {
    BlobName { digest, number: mark.number }
}

impl Service {
    /// The marks of these payloads with the revisions that wrote them. A payload without a mark
    /// gets one.
    pub(crate) async fn marked(&self, digests: &[Digest]) -> Result<Vec<(SweepMark, u64)>, Error> {
        for _ in 0..TRIES {
            let keys = digests.iter().map(|digest| payload::sweep_key(*digest));
            let reads = keys.chain([payload::sweeps_key()]).map(Read::Key).collect();
            let view = self.metadata.read(reads, None).await?;
            let sweeps = digests.len();
            let Sweeps { number } = load::one(&view, sweeps)?.unwrap_or_default();
            let new = SweepMark { number, ..SweepMark::default() };
            let mut marks = Vec::with_capacity(digests.len());
            let mut making = Transaction::default();
            for (index, digest) in digests.iter().enumerate() {
                let known: Option<SweepMark> = load::one(&view, index)?;
                marks.push(known.zip(revision_of(&view, index)));
                let key = payload::sweep_key(*digest);
                let is_made = making.operations.iter().any(|operation| *operation.key() == key);
                if known.is_none() && !is_made {
                    making.compares.push(Compare { key: key.clone(), revision: None });
                    making.operations.push(Operation::Put(key, new.to_stored()));
                }
            }
            let made = if making.operations.is_empty() {
                None
            } else {
                // The number that a new mark takes is the one of the instant of the commit.
                let (key, revision) = (payload::sweeps_key(), revision_of(&view, sweeps));
                making.compares.push(Compare { key, revision });
                match self.commit(making).await? {
                    Commit::Committed(revision) => Some((new, revision)),
                    Commit::Conflict(_) => continue,
                }
            };
            let marks: Vec<_> = marks.into_iter().filter_map(|mark| mark.or(made)).collect();
            for (digest, (mark, _)) in digests.iter().zip(&marks) {
                self.names.put(*digest, mark.number, 1);
            }
            return Ok(marks);
        }
        Err(Error::Contended("a payload's mark".into()))
    }

    /// The names that payloads lie under, if they are here. A payload of an older build may have no
    /// mark.
    pub(super) async fn names_of(&self, digests: &[Digest]) -> Result<Vec<BlobName>, Error> {
        let reads = digests.iter().map(|digest| Read::Key(payload::sweep_key(*digest))).collect();
        let view = self.metadata.read(reads, None).await?;
        let mut names = Vec::with_capacity(digests.len());
        for (index, digest) in digests.iter().enumerate() {
            let name = name(*digest, load::one(&view, index)?.unwrap_or_default());
            self.names.put(*digest, name.number, 1);
            names.push(name);
        }
        Ok(names)
    }

    /// The name that a payload lies under, if the payload is here.
    pub async fn name_of(&self, digest: Digest) -> Result<BlobName, Error> {
        let names = self.names_of(&[digest]).await?;
        Ok(names.first().copied().unwrap_or(digest.into()))
    }

    /// The name to put a payload under. A sweep of the payload that is under way is ended first,
    /// because no pointer commits before its end.
    pub(super) async fn name_to_put(&self, digest: Digest) -> Result<BlobName, Error> {
        for _ in 0..TRIES {
            for (mark, revision) in self.marked(&[digest]).await? {
                if !mark.sweeping {
                    return Ok(name(digest, mark));
                }
                self.end_sweep(digest, mark, revision).await?;
            }
        }
        Err(Error::Contended("a payload's mark".into()))
    }

    /// Sweeps the marks of payloads that are not there, and answers how many went. A payload that
    /// is being put has a mark already; so a mark goes only once it has been without its payload
    /// for as long as `kept`.
    pub(crate) async fn prune_marks(
        &self,
        present: &HashSet<BlobName>,
        kept: Duration,
    ) -> Result<usize, Error> {
        let now = self.clock.boot();
        let before = std::mem::take(&mut *lock(&self.lonely));
        let (mut after, mut removed, mut lonely) = (None, 0, HashMap::new());
        loop {
            let read = Read::Range { prefix: payload::prefix(), after, limit: READ_AHEAD };
            let entries =
                self.metadata.read(vec![read], None).await?.answers.pop().unwrap_or_default();
            let last = entries.len() < READ_AHEAD;
            after = entries.last().map(|(key, _)| key.clone());
            for (key, stored) in entries {
                let Some(digest) = payload::marked(&key) else { continue };
                let mark = SweepMark::from_stored(&stored.value)?;
                let seen = (digest, stored.revision);
                let since = *before.get(&seen).unwrap_or(&now);
                let is_lonely = !present.contains(&name(digest, mark));
                let is_over = is_lonely && now.saturating_duration_since(since) >= kept;
                // A store that died has left a sweep half done.
                if mark.sweeping || is_over {
                    removed += usize::from(self.sweep(digest).await?);
                } else if is_lonely {
                    lonely.insert(seen, since);
                }
            }
            if last {
                *lock(&self.lonely) = lonely;
                return Ok(removed);
            }
        }
    }
}

fn lock(lonely: &Lonely) -> MutexGuard<'_, HashMap<(Digest, u64), Boot>> {
    lonely.lock().unwrap_or_else(PoisonError::into_inner)
}
