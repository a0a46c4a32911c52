//! Marks of payloads: made before any record points to the payload, and removed with the payload.
//! `keys/payload.rs` says why that is safe.

use std::collections::HashSet;

use proto::Digest;

use super::load::revision_of;
use super::write::TRIES;
use super::{Service, load};
use crate::error::Error;
use crate::keys::Kind as _;
use crate::keys::payload::{self, SweepMark};
use crate::store::{Commit, Compare, Operation, Read, Transaction};

/// How many keys are read at once.
const READ_AHEAD: usize = 512;

/// How many marks are removed in one commit.
const REMOVED_AT_ONCE: usize = 90;

impl Service {
    /// The marks of these payloads with the revisions that wrote them. A payload without a mark
    /// gets one.
    pub(crate) async fn marked(&self, digests: &[Digest]) -> Result<Vec<(SweepMark, u64)>, Error> {
        for _ in 0..TRIES {
            let reads =
                digests.iter().map(|digest| Read::Key(payload::sweep_key(*digest))).collect();
            let view = self.metadata.read(reads, None).await?;
            let mut marks = Vec::with_capacity(digests.len());
            let mut transaction = Transaction::default();
            for (index, digest) in digests.iter().enumerate() {
                let mark: SweepMark = load::one(&view, index)?.unwrap_or_default();
                let key = payload::sweep_key(*digest);
                match revision_of(&view, index) {
                    Some(revision) => marks.push((mark, revision)),
                    None if transaction.compares.iter().any(|compare| compare.key == key) => {}
                    None => {
                        transaction.compares.push(Compare { key: key.clone(), revision: None });
                        transaction.operations.push(Operation::Put(key, mark.to_stored()));
                    }
                }
            }
            if transaction.operations.is_empty() {
                return Ok(marks);
            }
            // The outcome of the commit does not matter, because the marks that are there now are
            // read again.
            self.commit(transaction).await?;
        }
        Err(Error::Contended("a payload's mark".into()))
    }

    /// Removes the marks of payloads that are not there, and answers how many. A payload that was
    /// put meanwhile gets another mark.
    pub(crate) async fn prune_marks(&self, present: &HashSet<Digest>) -> Result<usize, Error> {
        let (mut after, mut removed) = (None, 0);
        let mut dead = Transaction::default();
        loop {
            let read = Read::Range { prefix: payload::prefix(), after, limit: READ_AHEAD };
            let entries =
                self.metadata.read(vec![read], None).await?.answers.pop().unwrap_or_default();
            let last = entries.len() < READ_AHEAD;
            after = entries.last().map(|(key, _)| key.clone());
            for (key, stored) in entries {
                let Some(digest) = payload::marked(&key).filter(|digest| !present.contains(digest))
                else {
                    continue;
                };
                if SweepMark::from_stored(&stored.value)?.sweeping {
                    // A process that died has left this sweep half done.
                    self.sweep(digest).await?;
                    continue;
                }
                dead.compares.push(Compare { key: key.clone(), revision: Some(stored.revision) });
                dead.operations.push(Operation::Delete(key));
                if dead.operations.len() == REMOVED_AT_ONCE {
                    removed += self.remove_marks(std::mem::take(&mut dead)).await?;
                }
            }
            if last {
                return Ok(removed + self.remove_marks(dead).await?);
            }
        }
    }

    async fn remove_marks(&self, dead: Transaction) -> Result<usize, Error> {
        let count = dead.operations.len();
        if count == 0 {
            return Ok(0);
        }
        match self.commit(dead).await? {
            Commit::Committed(_) => Ok(count),
            // One of the marks was moved: the next sweep looks again.
            Commit::Conflict(_) => Ok(0),
        }
    }
}
