//! The journal of `once(key, …)`.

use proto::EpochFence;

use crate::error::Error;
use crate::keys::{Kind, fence, generation, head, journal};
use crate::model::Refusal;
use crate::service::load::revision_of;
use crate::service::write::TRIES;
use crate::service::{Service, load};
use crate::store::{Commit, Compare, Operation, Read, Transaction};

impl Service {
    /// Keeps one step of `once(key, …)`; answers the value that stands, and whether it was there
    /// before.
    pub(super) async fn step(
        &self,
        fence: &EpochFence,
        step: &str,
        value: Option<bytes::Bytes>,
    ) -> Result<(Option<bytes::Bytes>, bool), Error> {
        if step.is_empty() || step.len() > journal::MAX_KEY_BYTES {
            let why = format!(
                "a step's key has 1 to {} bytes; this one has {}",
                journal::MAX_KEY_BYTES,
                step.len()
            );
            return Err(Refusal::RequestInvalid(why).into());
        }
        if let Some(bytes) =
            value.as_ref().map(bytes::Bytes::len).filter(|bytes| *bytes > journal::MAX_VALUE_BYTES)
        {
            return Err(Refusal::JournalValueTooLarge {
                key: step.into(),
                bytes,
                max: journal::MAX_VALUE_BYTES,
            }
            .into());
        }
        let application = &fence.application;
        let attempt_key = fence::attempt_key(&application.id);
        let key = journal::key(application, step);
        for _ in 0..TRIES {
            let reads = vec![
                Read::Key(attempt_key.clone()),
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
                return Ok((Some(known.value), true));
            }
            let Some(value) = value.clone() else { return Ok((None, false)) };
            let entry = journal::JournalEntry { value: value.clone(), epoch: fence.epoch.get() };
            let transaction = Transaction {
                compares: vec![
                    Compare { key: attempt_key.clone(), revision: revision_of(&view, 0) },
                    Compare { key: key.clone(), revision: None },
                    // The generation may be forgotten meanwhile; then no step of it may be written
                    // again.
                    Compare {
                        key: generation::spec_key(application),
                        revision: revision_of(&view, 2),
                    },
                ],
                operations: vec![Operation::Put(key.clone(), entry.to_stored())],
            };
            // Each conflict is the commit of another writer: the step is there, or the epoch is
            // superseded.
            if let Commit::Committed(_) = self.commit(transaction).await? {
                return Ok((Some(value), false));
            }
        }
        Err(Error::Contended(application.to_string()))
    }
}
