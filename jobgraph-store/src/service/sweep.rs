//! Sweeping payloads that no record points to, beside any number of stores over the same record
//! and the same blobs.
//!
//! # What there is
//!
//! For each payload *d*: a mark *M* with a number *n*, or no mark; references; and blobs, whose
//! names are *(d, n)*. For the whole record: the number *S*, which only grows. The bytes that
//! references to *d* mean lie at *(d, n)* with the number of the mark.
//!
//! # The steps
//!
//! Each step that writes the record is one commit with compares; each may be taken by any store, at
//! any time, also by several stores at once. What a step has read or seen before its commit may be
//! of any age: a store remembers marks and *S*, and points and makes by what it remembers.
//!
//! - *Make*: where there is no mark, put *M* with *n* = *S*. Compares that there is no *M*, and the
//!   revision of *S*.
//! - *Put*: write the blob *(d, n)*, *n* being the number of a mark that was read.
//! - *Point*: having read a mark that is not sweeping and then seen the blob *(d, n)*, put a
//!   reference. Compares the revision of *M*.
//! - *Condemn*: put *M* as sweeping, with the same *n*. Compares the revision of *M*.
//! - *Keep*: having seen a sweeping mark, put *M* as not sweeping, with the same *n*. Compares the
//!   revision of *M*.
//! - *Raise*: put *S* one higher. Compares the revision of *S*.
//! - *Drop*: having seen a sweeping mark, and later that nothing points to *d* and that *S* is
//!   above *n*, delete *M*. Compares the revision of *M*.
//! - *Remove*: having dropped *(d, n)*, remove that blob. This step is no commit, and no store
//!   waits for it.
//!
//! # Why no payload that is pointed to is removed
//!
//! 1. *At the instant of a drop nothing points to d.* The drop's compare holds, and no revision is
//!    used twice; so *M* was the same sweeping mark from the read that saw it until the drop. A
//!    point compares the revision of a mark that is not sweeping, so none committed in between; and
//!    the look at the references came after that read.
//! 2. *No number of d comes twice.* A drop leaves *S* above *n*, and a make takes *S* as it is at
//!    its commit. Condemn and keep do not change *n*.
//! 3. So once *(d, n)* is dropped, no mark ever has that number again, and no reference will ever
//!    mean that blob. A remove hits nothing that is needed, *however late it comes*: also when its
//!    store was stopped for an hour after the drop, and others have put and pointed to *d* since.
//! 4. A point commits only while *M* is as it was before the blob was seen. By 3 the blob was not
//!    removed until then, and by 1 it will not be dropped while the reference is there.
//!
//! No step needs to know whether the store that took the step before is alive. A mark that says
//! *sweeping* is a fact about the record and not about a process: whichever store meets it keeps or
//! drops, and of several only the first one's commit holds. No step rests on a clock: the age of a
//! blob only spares a payload whose pointer is on its way from being put twice, so a clock that is
//! wrong costs bytes on the wire and nothing else.
//!
//! # What a store that dies leaves
//!
//! After a condemn: a sweeping mark, which the next put or sweep ends. After a drop: a blob that no
//! mark names, a *leftover*. After a make: a mark without a blob. The periodic sweep finds both. A
//! leftover *(d, k)* is removed once, at one revision, *S* is above *k* and no mark of *d* has the
//! number *k*: by 2 none ever will. It is kept as long as something points to *d* and *d* does not
//! lie under its mark's name, which happens only where an older build pointed without a mark, or
//! where the record was restored from a copy that is older than its blobs.
//!
//! Readers need none of this: the bytes of every blob pass their digest on the way out, so a reader
//! may take them from any name that it finds them under.

use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, SystemTime};

use chassis::failpoint;
use proto::{ApplicationRef, Digest, Generation};

use super::load::revision_of;
use super::marks::name;
use super::write::TRIES;
use super::{Service, load};
use crate::blobs::BlobName;
use crate::error::Error;
use crate::keys::payload::{self, Reference, SweepMark, Sweeps, Use};
use crate::keys::{Kind, generation};
use crate::model::Dossier;
use crate::store::{Commit, Compare, Key, Operation, Read, Stored, Transaction};

/// A payload that no record points to is left alone this long, because its pointer may be on its
/// way.
pub(crate) const UNREFERENCED_KEPT: Duration = Duration::from_secs(3600);

/// How many payloads are looked up in the record at once: with two reads for each and one more,
/// etcd is asked in one transaction.
const SEEN_AT_ONCE: usize = 48;

/// What the record says of a payload at one revision.
#[derive(Debug, Default)]
struct Seen {
    /// The mark and the revision that wrote it.
    mark: Option<(SweepMark, u64)>,
    /// The number that new payloads get.
    sweeps: u64,
    references: Vec<(Key, Stored)>,
}

impl Service {
    /// Removes every payload that no record points to and that is older than `kept`; answers how
    /// many.
    pub async fn sweep_all(&self, kept: Duration) -> Result<usize, Error> {
        let now = self.clock.wall();
        let mut removed = 0;
        let listed = self.blobs.list().await?;
        let present: HashSet<BlobName> = listed.iter().map(|blob| blob.name).collect();
        let age = |modified: Option<SystemTime>| {
            modified.and_then(|modified| now.duration_since(modified).ok()).unwrap_or_default()
        };
        let due = listed.iter().filter(|blob| age(blob.modified) >= kept).map(|blob| blob.name);
        let due: Vec<BlobName> = due.collect();
        for names in due.chunks(SEEN_AT_ONCE) {
            let digests: Vec<Digest> = names.iter().map(|name| name.digest).collect();
            for (name, seen) in names.iter().zip(self.see_all(&digests).await?) {
                removed += usize::from(self.sweep_blob(*name, seen, &present).await?);
            }
        }
        self.prune_marks(&present, kept).await?;
        Ok(removed)
    }

    /// Removes one payload if no record points to it. `true`: this call has removed it.
    pub async fn sweep(&self, digest: Digest) -> Result<bool, Error> {
        let seen = self.see(digest).await?;
        self.sweep_seen(digest, &seen).await
    }

    async fn see(&self, digest: Digest) -> Result<Seen, Error> {
        Ok(self.see_all(&[digest]).await?.pop().unwrap_or_default())
    }

    async fn see_all(&self, digests: &[Digest]) -> Result<Vec<Seen>, Error> {
        let mut reads = vec![Read::Key(payload::sweeps_key())];
        reads.extend(digests.iter().flat_map(|digest| {
            let references = Read::all(payload::reference_prefix(*digest));
            [Read::Key(payload::sweep_key(*digest)), references]
        }));
        let view = self.metadata.read(reads, None).await?;
        let sweeps = load::one::<Sweeps>(&view, 0)?.unwrap_or_default().number;
        let mut all = Vec::with_capacity(digests.len());
        for index in 0..digests.len() {
            let at = 1 + 2 * index;
            let mark = load::one::<SweepMark>(&view, at)?.zip(revision_of(&view, at));
            let references = view.answers.get(at + 1).cloned().unwrap_or_default();
            all.push(Seen { mark, sweeps, references });
        }
        Ok(all)
    }

    async fn sweep_seen(&self, digest: Digest, seen: &Seen) -> Result<bool, Error> {
        let referenced = self.drop_dead(&seen.references).await? > 0;
        let Some((mark, revision)) = seen.mark else { return Ok(false) };
        if mark.sweeping {
            return self.end_sweep(digest, mark, revision).await;
        }
        if referenced {
            return Ok(false);
        }
        let condemned = SweepMark { sweeping: true, ..mark };
        let condemning = self.mark(digest, revision, &condemned);
        match failpoint::around("store.condemn", condemning).await? {
            Some(revision) => self.end_sweep(digest, condemned, revision).await,
            None => Ok(false),
        }
    }

    /// Ends a sweep that the mark of this revision says is under way, whichever store has begun it.
    /// `true`: the payload is removed.
    pub(super) async fn end_sweep(
        &self,
        digest: Digest,
        mark: SweepMark,
        condemned: u64,
    ) -> Result<bool, Error> {
        // While the mark is of this revision, no pointer to the payload commits; the pointers that
        // did commit are seen.
        let prefix = payload::reference_prefix(digest);
        let reads =
            vec![Read::Range { prefix, after: None, limit: 1 }, Read::Key(payload::sweeps_key())];
        let view = self.metadata.read(reads, None).await?;
        if !view.answers[0].is_empty() {
            let kept = SweepMark { kept: mark.kept.saturating_add(1), sweeping: false, ..mark };
            self.mark(digest, condemned, &kept).await?;
            return Ok(false);
        }
        if load::one::<Sweeps>(&view, 1)?.unwrap_or_default().number <= mark.number {
            failpoint::around("store.raise", self.raise_above(mark.number)).await?;
        }
        let key = payload::sweep_key(digest);
        let compares = vec![Compare { key: key.clone(), revision: Some(condemned) }];
        let dropping = Transaction { compares, operations: vec![Operation::Delete(key)] };
        match failpoint::around("store.drop", self.commit(dropping)).await? {
            Commit::Committed(_) => {
                let removing = self.blobs.remove(name(digest, mark));
                failpoint::around("store.remove", removing).await?;
                Ok(true)
            }
            // Another store has ended this sweep.
            Commit::Conflict(_) => Ok(false),
        }
    }

    /// Makes the number of new payloads higher than this one.
    async fn raise_above(&self, number: u64) -> Result<(), Error> {
        let key = payload::sweeps_key();
        for _ in 0..TRIES {
            let view = self.metadata.read(vec![Read::Key(key.clone())], None).await?;
            if load::one::<Sweeps>(&view, 0)?.unwrap_or_default().number > number {
                return Ok(());
            }
            let compares = vec![Compare { key: key.clone(), revision: revision_of(&view, 0) }];
            let raised = Sweeps { number: number.saturating_add(1) };
            let operations = vec![Operation::Put(key.clone(), raised.to_stored())];
            // The outcome does not matter, because the number that is there now is read again.
            self.commit(Transaction { compares, operations }).await?;
        }
        Err(Error::Contended("the number of new payloads".into()))
    }

    /// Sweeps the payload that lies under a name, of which the record has said so much. What it has
    /// said may be old by now: a mark that has moved is a conflict, and what makes a blob a
    /// leftover stays so.
    async fn sweep_blob(
        &self,
        name: BlobName,
        seen: Seen,
        present: &HashSet<BlobName>,
    ) -> Result<bool, Error> {
        if seen.mark.is_some_and(|(mark, _)| mark.number == name.number) {
            return self.sweep_seen(name.digest, &seen).await;
        }
        self.remove_leftover(name, seen, present).await
    }

    /// Removes a blob that no mark names and none will name.
    async fn remove_leftover(
        &self,
        blob: BlobName,
        mut seen: Seen,
        present: &HashSet<BlobName>,
    ) -> Result<bool, Error> {
        if seen.sweeps <= blob.number {
            self.raise_above(blob.number).await?;
            seen = self.see(blob.digest).await?;
        }
        let current = seen.mark.map(|(mark, _)| name(blob.digest, mark));
        if current == Some(blob) {
            // A mark was made meanwhile.
            return Ok(false);
        }
        let lies_elsewhere = current.is_some_and(|current| present.contains(&current));
        let referenced = self.drop_dead(&seen.references).await? > 0;
        if referenced && !lies_elsewhere {
            return Ok(false);
        }
        self.blobs.remove(blob).await?;
        Ok(true)
    }

    /// Puts another mark in the place of the one of this revision, and answers its revision; `None`
    /// if another writer was faster.
    async fn mark(
        &self,
        digest: Digest,
        seen: u64,
        mark: &SweepMark,
    ) -> Result<Option<u64>, Error> {
        let key = payload::sweep_key(digest);
        let compares = vec![Compare { key: key.clone(), revision: Some(seen) }];
        let operations = vec![Operation::Put(key, mark.to_stored())];
        Ok(match self.commit(Transaction { compares, operations }).await? {
            Commit::Committed(revision) => Some(revision),
            Commit::Conflict(_) => None,
        })
    }

    /// Removes references to artifacts whose generation is clean; answers how many references are
    /// left.
    async fn drop_dead(&self, references: &[(Key, Stored)]) -> Result<usize, Error> {
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

#[cfg(test)]
pub(crate) mod tests;
