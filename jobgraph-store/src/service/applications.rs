//! What people ask of one application.

use std::time::Duration;

use chassis::clock::timeout;
use proto::{ApplicationId, ApplicationRef, Digest, JobId, api};

use super::payloads::PayloadStream;
use super::write::Guard;
use super::{Service, load};
use crate::error::Error;
use crate::keys::{self, job};
use crate::model::{Dossier, Refusal, ending, job as job_model, savepoint, view};
use crate::store::{Key, Read};

/// The longest time that one call waits.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(600);

impl Service {
    /// One application; generation 0 is the latest.
    pub async fn get(
        &self,
        id: &ApplicationId,
        generation: u64,
    ) -> Result<api::Application, Error> {
        let application = self.resolve(id, generation).await?;
        Ok(self.show(&self.load(&application, None).await?))
    }

    /// Waits at most for `at_most` until the condition holds; answers the state then, and whether
    /// the condition holds.
    pub async fn wait(
        &self,
        id: &ApplicationId,
        generation: u64,
        wanted: api::WaitFor,
        job_name: &str,
        at_most: Duration,
    ) -> Result<(api::Application, bool), Error> {
        let application = self.resolve(id, generation).await?;
        let at_most = if at_most.is_zero() { MAX_WAIT } else { at_most.min(MAX_WAIT) };
        let mut revisions = self.metadata.revisions();
        let met = async {
            loop {
                let seen = *revisions.borrow_and_update();
                let loaded = self.load(&application, None).await?;
                match holds(&loaded.dossier, wanted, job_name) {
                    Some(met) => return Ok::<_, Error>((loaded, met)),
                    None => self.changed(&application, &mut revisions, seen).await?,
                }
            }
        };
        match timeout(&self.clock, at_most, met).await {
            Ok(met) => met.map(|(loaded, met)| (self.show(&loaded), met)),
            Err(_) => Ok((self.show(&self.load(&application, None).await?), false)),
        }
    }

    /// Asks for a cancel. `true`: a cancel was asked for before.
    pub async fn cancel(
        &self,
        id: &ApplicationId,
        generation: u64,
        reason: &str,
        by: &str,
    ) -> Result<(api::Application, bool), Error> {
        let application = self.resolve(id, generation).await?;
        let (earlier, loaded) = self
            .write(&application, Guard::Client, |draft| ending::cancel(draft, reason, by))
            .await?;
        Ok((self.show(&loaded), earlier))
    }

    /// Asks for savepoints. `true`: this request was accepted before.
    pub async fn ask_for_savepoints(
        &self,
        id: &ApplicationId,
        generation: u64,
        wish: &api::SavepointWish,
    ) -> Result<(api::Application, bool), Error> {
        let application = self.resolve(id, generation).await?;
        let ask = self
            .write(&application, Guard::Client, |draft| savepoint::ask(draft, wish.clone()))
            .await?;
        Ok((self.show(&ask.1), ask.0))
    }

    /// Asks for the end of an application that cannot finish.
    pub async fn abandon(
        &self,
        id: &ApplicationId,
        generation: u64,
        reason: &str,
        by: &str,
    ) -> Result<api::Application, Error> {
        let application = self.resolve(id, generation).await?;
        let ((), loaded) = self
            .write(&application, Guard::Client, |draft| ending::abandon(draft, reason, by))
            .await?;
        Ok(self.show(&loaded))
    }

    /// A job and its graph.
    pub async fn graph(
        &self,
        id: &ApplicationId,
        generation: u64,
        named: &str,
    ) -> Result<(api::Job, api::GraphDescription), Error> {
        let application = self.resolve(id, generation).await?;
        let loaded = self.load(&application, None).await?;
        let (job, shown) = find_job(&loaded.dossier, named)?;
        let view =
            self.metadata.read(vec![Read::Key(job::graph_key(&application, job))], None).await?;
        Ok((shown, load::one(&view, 0)?.unwrap_or_default()))
    }

    /// The rows of a job.
    pub async fn result(
        &self,
        id: &ApplicationId,
        generation: u64,
        named: &str,
    ) -> Result<PayloadStream, Error> {
        let application = self.resolve(id, generation).await?;
        let loaded = self.load(&application, None).await?;
        let (_, job) = find_job(&loaded.dossier, named)?;
        let Some(end) = job.end else {
            return Err(Refusal::ResultNotReady { application, job: job.name }.into());
        };
        if end.result_digest.is_empty() {
            return Err(Refusal::ResultNone { application, job: job.name }.into());
        }
        let digest: Digest = end.result_digest.parse()?;
        self.get_payload(digest, 0).await
    }

    /// Returns once something shown of the application may have changed after the revision `seen`,
    /// which the caller knew before it read.
    pub(crate) async fn changed(
        &self,
        application: &ApplicationRef,
        revisions: &mut tokio::sync::watch::Receiver<u64>,
        seen: u64,
    ) -> Result<(), Error> {
        let is_shown = |key: &Key| keys::generation_of(key).as_ref() == Some(application);
        self.changed_where(is_shown, revisions, seen).await
    }

    /// Returns once one of the keys that concern the caller may have changed after the revision
    /// `seen`, which the caller knew before it read.
    pub(crate) async fn changed_where(
        &self,
        concerns: impl Fn(&Key) -> bool + Send,
        revisions: &mut tokio::sync::watch::Receiver<u64>,
        mut seen: u64,
    ) -> Result<(), Error> {
        let gone = || Error::Unavailable("the record is closed".into());
        loop {
            let now = *revisions.wait_for(|now| *now > seen).await.map_err(|_| gone())?;
            let changes = match self.metadata.changes(seen, usize::MAX).await {
                Ok(changes) => changes,
                // So many commits happened that one of them may concern the caller.
                Err(crate::store::StoreError::Compacted { .. }) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            if changes.iter().any(|change| concerns(&change.key)) {
                return Ok(());
            }
            seen = now;
        }
    }
}

/// A job by its id or its name; of several equal names, the last occurrence.
fn find_job(dossier: &Dossier, named: &str) -> Result<(JobId, api::Job), Refusal> {
    let by_id = named.parse::<JobId>().ok().and_then(|id| dossier.jobs.get_key_value(&id));
    let by_name = || {
        let jobs = dossier.jobs.iter().filter(|(_, job)| job.shown().name == named);
        jobs.max_by_key(|(_, job)| job.shown().occurrence)
    };
    by_id.or_else(by_name).map(|(id, job)| (*id, view::shown_job(dossier, *id, job))).ok_or_else(
        || Refusal::JobNotFound { application: dossier.application.clone(), job: named.into() },
    )
}

/// Whether the condition holds; `None`: it can still come to hold.
fn holds(dossier: &Dossier, wanted: api::WaitFor, job_name: &str) -> Option<bool> {
    let state = dossier.state.application();
    let met = match wanted {
        api::WaitFor::Unspecified | api::WaitFor::Clean => state.clean,
        api::WaitFor::Running => {
            state.terminal || matches!(state.phase(), api::Phase::Running | api::Phase::Finishing)
        }
        api::WaitFor::Ended => state.terminal,
        api::WaitFor::Job => {
            let done = dossier.jobs.values().map(|job| job.shown()).any(|job| {
                job.name == job_name
                    && job
                        .end
                        .as_ref()
                        .is_some_and(|end| job.published || !job_model::has_outputs(end))
            });
            // An application that is clean makes no further job.
            return if done {
                Some(true)
            } else if state.clean {
                Some(false)
            } else {
                None
            };
        }
    };
    met.then_some(true)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chassis::clock::SystemClock;

    use super::*;
    use crate::blobs::memory::MemoryBlobs;
    use crate::service::sample::submitted;
    use crate::store::memory::MemoryMetadata;

    /// Another caller may commit between a caller's read and its question. Such a commit was missed
    /// once, and a follower of an ended application waited for ever.
    #[tokio::test]
    async fn what_was_committed_after_the_read_has_changed() {
        let clock: chassis::clock::SharedClock = Arc::new(SystemClock);
        let service = Service::new(
            Arc::new(MemoryMetadata::default()),
            Arc::new(MemoryBlobs::default()),
            clock.clone(),
        );
        let application = submitted(&service, "orders").await;
        let mut revisions = service.metadata.revisions();
        let seen = *revisions.borrow_and_update();
        let within = Duration::from_secs(5);
        service.cancel(&application.id, 0, "", "somebody").await.unwrap();
        let changed = service.changed(&application, &mut revisions, seen);
        timeout(&clock, within, changed).await.expect("the cancel is a change").unwrap();
        let seen = *revisions.borrow_and_update();
        let nothing = service.changed(&application, &mut revisions, seen);
        assert!(
            timeout(&clock, Duration::from_millis(50), nothing).await.is_err(),
            "nothing more has"
        );
    }
}
