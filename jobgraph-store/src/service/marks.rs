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

/// What this store knows of a payload's mark, which may have moved since.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Known {
    mark: SweepMark,
    /// The revision that wrote the mark; `None` where no pointer may rest on what is known.
    revision: Option<u64>,
}

/// The number of new payloads as this store has last read it, and the revision that wrote it.
pub(crate) type KnownSweeps = Arc<Mutex<Option<(u64, Option<u64>)>>>;

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
            *lock(&self.sweeps) = Some((number, revision_of(&view, sweeps)));
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
            for (digest, (mark, revision)) in digests.iter().zip(&marks) {
                self.saw(*digest, *mark, Some(*revision));
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
            let mark = load::one(&view, index)?.unwrap_or_default();
            self.saw(*digest, mark, revision_of(&view, index));
            names.push(name(*digest, mark));
        }
        Ok(names)
    }

    /// The name that a payload lies under, if the payload is here.
    pub async fn name_of(&self, digest: Digest) -> Result<BlobName, Error> {
        let names = self.names_of(&[digest]).await?;
        Ok(names.first().copied().unwrap_or(digest.into()))
    }

    fn saw(&self, digest: Digest, mark: SweepMark, revision: Option<u64>) {
        let revision = revision.filter(|_| !mark.sweeping);
        self.marks.put(digest, Known { mark, revision }, 1);
    }

    /// The mark of this payload is not as this store knows it.
    pub(super) fn mark_moved(&self, digest: Digest) {
        if let Some(known) = self.marks.get(&digest) {
            self.marks.put(digest, Known { revision: None, ..known }, 1);
        }
    }

    /// The name that this store knows the payload by.
    pub(super) fn known_name(&self, digest: Digest) -> Option<BlobName> {
        self.marks.get(&digest).map(|known| name(digest, known.mark))
    }

    /// The marks of these payloads, if this store knows each of them so that a pointer may rest on
    /// it. The commit of the pointer notices that a mark has moved since.
    pub(super) fn known_marks(&self, digests: &[Digest]) -> Option<Vec<(SweepMark, u64)>> {
        let known = digests.iter().map(|digest| {
            let Known { mark, revision } = self.marks.get(digest)?;
            Some((mark, revision?))
        });
        known.collect()
    }

    /// Makes the mark of a payload that this store has not met, without a read: nearly always no
    /// other store has met that payload either. `None`: one has, or new payloads have another
    /// number by now.
    async fn mark_unmet(&self, digest: Digest) -> Result<Option<SweepMark>, Error> {
        let known = *lock(&self.sweeps);
        let (Some((number, revision)), None) = (known, self.marks.get(&digest)) else {
            return Ok(None);
        };
        let (key, mark) =
            (payload::sweep_key(digest), SweepMark { number, ..SweepMark::default() });
        let compares = vec![
            Compare { key: key.clone(), revision: None },
            Compare { key: payload::sweeps_key(), revision },
        ];
        let operations = vec![Operation::Put(key, mark.to_stored())];
        match self.commit(Transaction { compares, operations }).await? {
            Commit::Committed(revision) => {
                self.saw(digest, mark, Some(revision));
                Ok(Some(mark))
            }
            Commit::Conflict(_) => Ok(None),
        }
    }

    /// The name to put a payload under. A sweep of the payload that is under way is ended first,
    /// because no pointer commits before its end.
    pub(super) async fn name_to_put(&self, digest: Digest) -> Result<BlobName, Error> {
        if let Some(mark) = self.mark_unmet(digest).await? {
            return Ok(name(digest, mark));
        }
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

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
