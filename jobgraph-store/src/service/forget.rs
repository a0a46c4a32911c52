//! Forgetting a generation. One commit marks the generation as forgotten; bounded commits remove
//! what it had. A store that dies in between goes on at its next start, and so does the next caller
//! that asks to forget the generation.
//!
//! What stays belongs to the id and not to the generation: the head, the two fences, and the number
//! of the last event. So a later generation has another number, other job ids, and a higher epoch
//! and incarnation than every generation before.

use std::collections::BTreeSet;

use proto::{ApplicationId, ApplicationRef, Digest, api};

use super::to_its_end::to_its_end;
use super::write::TRIES;
use super::{Loaded, Service};
use crate::error::Error;
use crate::keys::request::AcceptedRequest;
use crate::keys::{self, Kind as _, event, forgetting, generation, process};
use crate::model::{Refusal, forget};
use crate::store::{Commit, Compare, Key, Operation, Read, Transaction};

/// How many keys of a generation go in one commit, each with what it has elsewhere: three
/// references at most, or a request.
const KEYS_AT_ONCE: usize = 24;

/// How many keys that have nothing elsewhere go in one commit.
const REMOVED_AT_ONCE: usize = 90;

/// What a wish to forget came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forgotten {
    /// The generation that is forgotten.
    pub application: ApplicationRef,
    /// Whether the generation was forgotten before this wish.
    pub earlier: bool,
}

impl Service {
    /// Forgets a generation that is clean; generation 0 is the latest. `seen_revision` is the
    /// revision of the generation that the caller saw; 0 takes any. With `validate_only` nothing is
    /// forgotten; the call only refuses what a real one would refuse.
    pub async fn forget(
        &self,
        id: &ApplicationId,
        generation: u64,
        seen_revision: u64,
        validate_only: bool,
    ) -> Result<Forgotten, Error> {
        let application = self.resolve(id, generation).await?;
        for _ in 0..TRIES {
            let loaded = match self.load(&application, None).await {
                Err(Error::Refused(Refusal::Forgotten(_))) => {
                    if !validate_only {
                        self.forget_rest_to_its_end(&application).await?;
                    }
                    return Ok(Forgotten { application, earlier: true });
                }
                loaded => loaded?,
            };
            let processes = self.list_processes(&process::of_generation(&application)).await?;
            let own = self.place.as_ref();
            forget::decide(&loaded.dossier, &processes, own, seen_revision, loaded.shown)?;
            if validate_only {
                return Ok(Forgotten { application, earlier: false });
            }
            if self.mark_forgotten(&loaded).await? {
                self.live.forget(&application);
                self.forget_rest_to_its_end(&application).await?;
                return Ok(Forgotten { application, earlier: false });
            }
        }
        Err(Error::Contended(application.to_string()))
    }

    /// Goes on with the generations that a store which died has left half forgotten.
    pub async fn finish_forgetting(&self) -> Result<(), Error> {
        let view = self.metadata.read(vec![Read::all(forgetting::prefix())], None).await?;
        for (key, _) in &view.answers[0] {
            let application = forgetting::generation(key)
                .ok_or_else(|| Error::Internal(format!("{key} names no generation")))?;
            self.forget_rest(&application).await?;
        }
        Ok(())
    }

    /// Marks a generation as forgotten. `false`: another writer was faster.
    async fn mark_forgotten(&self, loaded: &Loaded) -> Result<bool, Error> {
        let application = &loaded.dossier.application;
        let read = [generation::spec_key(application), generation::state_key(application)];
        let compare = |key: Key| Compare { revision: loaded.revisions.get(&key).copied(), key };
        let compares = read.map(compare).to_vec();
        let operations = forget::mark(&loaded.dossier, self.clock.wall());
        let committed = self.commit(Transaction { compares, operations }).await?;
        chassis::failpoint::hit("store.half-forgotten").await;
        Ok(matches!(committed, Commit::Committed(_)))
    }

    async fn forget_rest_to_its_end(&self, application: &ApplicationRef) -> Result<(), Error> {
        let (service, application) = (self.clone(), application.clone());
        to_its_end("forget", async move { service.forget_rest(&application).await }).await?
    }

    /// Removes what is left of a marked generation, the mark last.
    async fn forget_rest(&self, application: &ApplicationRef) -> Result<(), Error> {
        let mark = forgetting::key(application);
        let view = self.metadata.read(vec![Read::Key(mark.clone())], None).await?;
        if view.answers[0].is_empty() {
            return Ok(());
        }
        let mut unused = BTreeSet::new();
        while self.forget_some(application, &mut unused).await? {}
        self.forget_processes(application).await?;
        self.forget_events(application).await?;
        let operations = vec![Operation::Delete(mark)];
        self.commit(Transaction { compares: Vec::new(), operations }).await?;
        for digest in unused {
            // If the store dies meanwhile, the periodic sweep finds the payloads that no record
            // points to.
            self.sweep(digest).await?;
        }
        Ok(())
    }

    /// Removes some keys of the generation with what they have elsewhere. `false`: no key was left.
    async fn forget_some(
        &self,
        application: &ApplicationRef,
        unused: &mut BTreeSet<Digest>,
    ) -> Result<bool, Error> {
        let prefix = keys::generation_prefix(application);
        let read = Read::Range { prefix, after: None, limit: KEYS_AT_ONCE };
        let entries = self.metadata.read(vec![read], None).await?.answers.pop().unwrap_or_default();
        let mut transaction = Transaction::default();
        for (key, stored) in &entries {
            let elsewhere = forget::elsewhere(application, key, stored)?;
            unused.extend(elsewhere.payloads.iter().map(|(digest, _)| *digest));
            transaction.operations.extend(elsewhere.references(application));
            if let Some(request) = elsewhere.request {
                self.forget_request(application, request, &mut transaction).await?;
            }
            transaction.operations.push(Operation::Delete(key.clone()));
        }
        // Two jobs may point to one payload.
        let mut seen = BTreeSet::new();
        transaction.operations.retain(|operation| seen.insert(operation.key().clone()));
        if !transaction.operations.is_empty() {
            // A request that was used anew meanwhile makes a conflict; then the next turn reads the
            // same keys again.
            self.commit(transaction).await?;
            chassis::failpoint::hit("store.in-forgetting").await;
        }
        Ok(!entries.is_empty())
    }

    /// Adds the removal of a request, if this generation was the last that it was answered with.
    async fn forget_request(
        &self,
        application: &ApplicationRef,
        request: Key,
        transaction: &mut Transaction,
    ) -> Result<(), Error> {
        let view = self.metadata.read(vec![Read::Key(request.clone())], None).await?;
        let Some(accepted) = super::one::<AcceptedRequest>(&view, 0)? else { return Ok(()) };
        if accepted.answered_with()? == *application {
            let revision = super::revision_of(&view, 0);
            transaction.compares.push(Compare { key: request.clone(), revision });
            transaction.operations.push(Operation::Delete(request));
        }
        Ok(())
    }

    /// Removes the generation's events from those of its id. The generation's events are all before
    /// those of the generation after the next one, because only the fence of the newest generation,
    /// or of the one before it, admits a writer.
    async fn forget_events(&self, application: &ApplicationRef) -> Result<(), Error> {
        let mut after = None;
        loop {
            let prefix = event::prefix(&application.id);
            let read = Read::Range { prefix, after, limit: REMOVED_AT_ONCE };
            let entries =
                self.metadata.read(vec![read], None).await?.answers.pop().unwrap_or_default();
            let mut over = entries.len() < REMOVED_AT_ONCE;
            let mut operations = Vec::new();
            for (key, stored) in &entries {
                let of = api::Event::from_stored(&stored.value)?.generation;
                over |= of > application.generation.next().get();
                if of == application.generation.get() {
                    operations.push(Operation::Delete(key.clone()));
                }
            }
            if !operations.is_empty() {
                self.commit(Transaction { compares: Vec::new(), operations }).await?;
            }
            if over {
                return Ok(());
            }
            after = entries.last().map(|(key, _)| key.clone());
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
