//! One write of one generation: load, decide, commit the difference. A conflict means that another
//! writer was faster: then everything is read and decided again, a bounded number of times.

use std::time::Duration;

use chassis::backoff::Backoff;
use chassis::failpoint;
use chassis::telemetry::metrics::Took;
use proto::{ApplicationRef, Digest};

use super::load::Loaded;
use super::{Service, marks, planted};
use crate::error::Error;
use crate::keys::payload::{self, SweepMark, Use};
use crate::keys::{Kind, artifacts, checkpoint, desired, event, fence, generation, head, job};
use crate::model::{Draft, Refusal};
use crate::store::{Commit, Compare, Key, Operation, Read, Stored, Transaction};

/// The answers to what is read beside the dossier, at the same instant.
pub(crate) type Beside = [Vec<(Key, Stored)>];

static COMMITS: Took = Took::new(
    "mainspring.store.commit.duration",
    "How long commits took, by outcome: committed, conflict (tried again) or failed",
);

/// How often a decision is made anew after a conflict.
pub(super) const TRIES: usize = 32;

/// The fence that the commit compares.
///
/// The decision checks that the writer's number is the current one; the compare makes that check
/// hold at the instant of the commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guard {
    /// A leader decides: the attempt's fence is compared.
    Epoch,
    /// A cluster reports: the incarnation's fence is compared.
    Incarnation,
    /// A client asks: no fence is compared.
    Client,
}

/// What a write adds to the changes of the dossier.
#[derive(Debug, Default)]
pub(crate) struct Extra {
    /// Payloads that the record points to from now on.
    pub(crate) pointers: Vec<(Digest, Use)>,
    /// Further changes, of keys that only grow or are only removed.
    pub(crate) operations: Vec<Operation>,
    /// Keys beside the dossier that the decision rests on: the commit compares them as they were
    /// read.
    pub(crate) compares: Vec<Key>,
}

impl Service {
    /// A write that needs only the dossier.
    pub(crate) async fn write<T>(
        &self,
        application: &ApplicationRef,
        guard: Guard,
        decide: impl Fn(&mut Draft) -> Result<T, Refusal> + Send + Sync,
    ) -> Result<(T, Loaded), Error>
    where
        T: Send,
    {
        self.write_with(application, guard, |draft| Ok((decide(draft)?, Extra::default()))).await
    }

    /// A write, decided anew each time another writer was faster.
    pub(crate) async fn write_with<T>(
        &self,
        application: &ApplicationRef,
        guard: Guard,
        decide: impl Fn(&mut Draft) -> Result<(T, Extra), Refusal> + Send + Sync,
    ) -> Result<(T, Loaded), Error>
    where
        T: Send,
    {
        let decide = |draft: &mut Draft, _: &Beside| decide(draft).map_err(Error::from);
        self.write_beside(application, guard, &[], decide).await
    }

    /// A write whose decision rests on more than the dossier. What is read beside the dossier is
    /// compared only where the decision names its key.
    pub(crate) async fn write_beside<T>(
        &self,
        application: &ApplicationRef,
        guard: Guard,
        beside: &[Read],
        decide: impl Fn(&mut Draft, &Beside) -> Result<(T, Extra), Error> + Send + Sync,
    ) -> Result<(T, Loaded), Error>
    where
        T: Send,
    {
        let mut backoff = Backoff::new(Duration::from_micros(200), Duration::from_millis(20));
        for _ in 0..TRIES {
            let (mut loaded, read) = self.load_beside(application, beside).await?;
            let mut draft = Draft::new(loaded.dossier.clone(), self.clock.wall());
            let (answer, extra) = decide(&mut draft, &read)?;
            if planted::compares_later_revisions() {
                loaded.revisions = self.load(application, None).await?.revisions;
            }
            let points = !extra.pointers.is_empty();
            let Some(transaction) = self.transaction(guard, &loaded, &draft, extra).await? else {
                return Ok((answer, loaded));
            };
            let committing = self.commit(transaction);
            let committed = if points {
                failpoint::around("store.point", committing).await?
            } else {
                committing.await?
            };
            let revision = match committed {
                Commit::Conflict(_) => {
                    self.clock.sleep(backoff.next_delay()).await;
                    continue;
                }
                Commit::Committed(revision) => revision,
            };
            let attempt = &draft.dossier.attempt;
            if guard == Guard::Epoch && self.live.wrote(application, attempt.epoch, &attempt.holder)
            {
                self.forget_if_clean(application).await?;
            }
            let shown = if draft.dossier == loaded.dossier { loaded.shown } else { revision };
            return Ok((answer, Loaded { dossier: draft.dossier, shown, at: revision, ..loaded }));
        }
        Err(Error::Contended(application.to_string()))
    }

    /// Commits a transaction, with the places around the commit where a test can end the process.
    pub(crate) async fn commit(&self, transaction: Transaction) -> Result<Commit, Error> {
        let committing = async {
            let began = self.clock.boot();
            let committed = self.metadata.commit(transaction).await;
            let outcome = match &committed {
                Ok(Commit::Committed(_)) => "committed",
                Ok(Commit::Conflict(key)) => {
                    if let Some(digest) = payload::marked(key) {
                        self.mark_moved(digest);
                    }
                    "conflict"
                }
                Err(_) => "failed",
            };
            let took = self.clock.boot().saturating_duration_since(began);
            COMMITS.record(took, &[("outcome", outcome)]);
            committed
        };
        Ok(failpoint::around("store.commit", committing).await?)
    }

    /// The difference as a transaction; `None` if nothing differs.
    async fn transaction(
        &self,
        guard: Guard,
        loaded: &Loaded,
        draft: &Draft,
        extra: Extra,
    ) -> Result<Option<Transaction>, Error> {
        let (old, new) = (&loaded.dossier, &draft.dossier);
        let (application, id) = (&old.application, &old.application.id);
        let mut changes = Changes::new(loaded);
        changes.part(fence::attempt_key(id), &old.attempt, &new.attempt);
        changes.part(fence::cluster_key(id), &old.cluster, &new.cluster);
        changes.part(generation::state_key(application), &old.state, &new.state);
        changes.part(desired::key(application), &old.desired, &new.desired);
        changes.part(artifacts::key(application), &old.artifacts, &new.artifacts);
        for (job, now) in &new.jobs {
            if old.jobs.get(job) != Some(now) {
                changes.put(job::key(application, *job), now.to_stored());
            }
        }
        for (job, now) in &new.checkpoints {
            if old.checkpoints.get(job) != Some(now) {
                changes.put(checkpoint::key(application, *job), now.to_stored());
            }
        }
        let told = !draft.events.is_empty();
        if changes.transaction.operations.is_empty()
            && !told
            && extra.operations.is_empty()
            && extra.pointers.is_empty()
        {
            return Ok(None);
        }
        if !draft.events.is_empty() {
            let mut sequence = loaded.sequence.clone();
            for told in &draft.events {
                sequence.last += 1;
                let mut told = told.clone();
                told.event_id = sequence.last;
                // The key is new: the sequence is compared, so no other writer has this number.
                changes
                    .transaction
                    .operations
                    .push(Operation::Put(event::key(id, sequence.last), told.to_stored()));
            }
            changes.put(head::sequence_key(id), sequence.to_stored());
        }
        match guard {
            Guard::Epoch => changes.compare(fence::attempt_key(id)),
            Guard::Incarnation => changes.compare(fence::cluster_key(id)),
            Guard::Client => {}
        }
        // Every decision rests on these keys, whether it changes them or not.
        changes.compare(head::key(id));
        changes.compare(generation::state_key(application));
        changes.compare(desired::key(application));
        for key in extra.compares {
            changes.compare(key);
        }
        let mut transaction = changes.transaction;
        self.point(application, extra.pointers, &mut transaction).await?;
        transaction.operations.extend(extra.operations);
        Ok(Some(transaction))
    }

    /// Adds references to payloads. The mark is read, then the payload is looked for, and the
    /// commit compares the mark, because a sweep in between moves the mark or removes it. The read
    /// may be one of long ago: what does not lie where it says is looked for once more.
    pub(crate) async fn point(
        &self,
        application: &ApplicationRef,
        mut pointers: Vec<(Digest, Use)>,
        transaction: &mut Transaction,
    ) -> Result<(), Error> {
        pointers.sort_unstable();
        pointers.dedup();
        if pointers.is_empty() {
            return Ok(());
        }
        let digests: Vec<Digest> = pointers.iter().map(|(digest, _)| *digest).collect();
        let marks = match self.known_marks(&digests) {
            Some(known) if self.missing(&digests, &known).await?.is_empty() => known,
            _ => {
                let marks = self.marked(&digests).await?;
                let missing = self.missing(&digests, &marks).await?;
                if !missing.is_empty() {
                    return Err(Refusal::PayloadMissing(missing).into());
                }
                marks
            }
        };
        for ((digest, used), (_, revision)) in pointers.into_iter().zip(marks) {
            let compare = Compare { key: payload::sweep_key(digest), revision: Some(revision) };
            if !transaction.compares.contains(&compare) && !planted::leaves_marks_uncompared() {
                transaction.compares.push(compare);
            }
            let key = payload::reference_key(digest, application, used);
            let reference = payload::reference(application, used).to_stored();
            transaction.operations.push(Operation::Put(key, reference));
        }
        Ok(())
    }

    /// Those of these payloads that do not lie where their marks say.
    async fn missing(
        &self,
        digests: &[Digest],
        marks: &[(SweepMark, u64)],
    ) -> Result<Vec<String>, Error> {
        let mut missing = Vec::new();
        for (digest, (mark, _)) in digests.iter().zip(marks) {
            let name = marks::name(*digest, *mark);
            let is_here =
                planted::points_before_the_blob() || self.blobs.stat(name).await?.is_some();
            if mark.sweeping || !is_here {
                missing.push(digest.to_string());
            }
        }
        missing.dedup();
        Ok(missing)
    }
}

/// Changes of parts that were read, each compared with the revision that was seen.
struct Changes<'a> {
    loaded: &'a Loaded,
    transaction: Transaction,
}

impl<'a> Changes<'a> {
    fn new(loaded: &'a Loaded) -> Self {
        Self { loaded, transaction: Transaction::default() }
    }

    fn part<K: Kind + PartialEq>(&mut self, key: Key, old: &K, new: &K) {
        if old != new {
            self.put(key, new.to_stored());
        }
    }

    fn put(&mut self, key: Key, value: bytes::Bytes) {
        self.compare(key.clone());
        self.transaction.operations.push(Operation::Put(key, value));
    }

    fn compare(&mut self, key: Key) {
        if !self.transaction.compares.iter().any(|compare| compare.key == key) {
            let revision = self.loaded.revisions.get(&key).copied();
            self.transaction.compares.push(Compare { key, revision });
        }
    }
}
