//! The journal of `once(key, …)`.

use bytes::Bytes;
use proto::EpochFence;

use crate::error::Error;
use crate::keys::{Kind, fence, generation, head, journal};
use crate::model::Refusal;
use crate::service::load::revision_of;
use crate::service::write::TRIES;
use crate::service::{Service, load};
use crate::store::{Commit, Compare, Key, Operation, Read, Transaction};

/// The leader of an application whose journal grows, with all that a new step rests on but the
/// absence of the step.
#[derive(Debug, Clone)]
pub(crate) struct Leader {
    attempt: fence::AttemptFence,
    /// The revisions of the attempt and of the spec.
    revisions: [Option<u64>; 2],
}

impl Service {
    /// Keeps one step of `once(key, …)`; answers the value that stands, and whether it was there
    /// before.
    pub(super) async fn step(
        &self,
        fence: &EpochFence,
        step: &str,
        value: Option<Bytes>,
    ) -> Result<(Option<Bytes>, bool), Error> {
        if step.is_empty() || step.len() > journal::MAX_KEY_BYTES {
            let why = format!(
                "a step's key has 1 to {} bytes; this one has {}",
                journal::MAX_KEY_BYTES,
                step.len()
            );
            return Err(Refusal::RequestInvalid(why).into());
        }
        if let Some(bytes) =
            value.as_ref().map(Bytes::len).filter(|bytes| *bytes > journal::MAX_VALUE_BYTES)
        {
            return Err(Refusal::JournalValueTooLarge {
                key: step.into(),
                bytes,
                max: journal::MAX_VALUE_BYTES,
            }
            .into());
        }
        let application = &fence.application;
        let key = journal::key(application, step);
        // A leader that has just kept a new step most likely keeps another one. All that the commit
        // rests on is compared, so what is known may be old, and costs a try then.
        if let (Some(value), Some(leader)) = (&value, self.growing.get(application).flatten())
            && leader.attempt.admits(application.generation, fence.epoch)
            && self.keep_step(fence, &key, value, &leader).await?
        {
            return Ok((Some(value.clone()), false));
        }
        for _ in 0..TRIES {
            let reads = vec![
                Read::Key(fence::attempt_key(&application.id)),
                Read::Key(key.clone()),
                Read::Key(generation::spec_key(application)),
                Read::Key(head::key(&application.id)),
            ];
            let view = self.metadata.read(reads, None).await?;
            if view.answers[2].is_empty() {
                let head: head::Head = load::one(&view, 3)?.unwrap_or_default();
                return Err(load::absent(application, &head).into());
            }
            let attempt: fence::AttemptFence = load::one(&view, 0)?.unwrap_or_default();
            if !attempt.admits(application.generation, fence.epoch) {
                let (epoch, current) = (fence.epoch.get(), attempt.epoch);
                return Err(Refusal::EpochSuperseded {
                    application: application.clone(),
                    epoch,
                    current,
                    holder: attempt.holder,
                }
                .into());
            }
            if let Some(known) = load::one::<journal::JournalEntry>(&view, 1)? {
                // The leader repeats what an earlier one did.
                self.growing.put(application.clone(), None, 1);
                return Ok((Some(known.value), true));
            }
            let Some(value) = &value else { return Ok((None, false)) };
            let revisions = [revision_of(&view, 0), revision_of(&view, 2)];
            let leader = Leader { attempt, revisions };
            // Each conflict is the commit of another writer: the step is there, or the epoch is
            // superseded.
            if self.keep_step(fence, &key, value, &leader).await? {
                self.growing.put(application.clone(), Some(leader), 1);
                return Ok((Some(value.clone()), false));
            }
        }
        Err(Error::Contended(application.to_string()))
    }

    /// Commits a step that is not there. `false`: it is, or the leader is not the one that is known.
    async fn keep_step(
        &self,
        fence: &EpochFence,
        key: &Key,
        value: &Bytes,
        leader: &Leader,
    ) -> Result<bool, Error> {
        let application = &fence.application;
        let [attempt, spec] = leader.revisions;
        let compares = vec![
            Compare { key: fence::attempt_key(&application.id), revision: attempt },
            Compare { key: key.clone(), revision: None },
            // The generation may be forgotten meanwhile; then no step of it may be written again.
            Compare { key: generation::spec_key(application), revision: spec },
        ];
        let entry = journal::JournalEntry { value: value.clone(), epoch: fence.epoch.get() };
        let operations = vec![Operation::Put(key.clone(), entry.to_stored())];
        let committed = self.commit(Transaction { compares, operations }).await?;
        Ok(matches!(committed, Commit::Committed(_)))
    }
}
