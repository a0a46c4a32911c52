//! Reading the facts of one generation at one revision.

use std::collections::BTreeMap;

use proto::{ApplicationId, ApplicationRef, Generation, api};

use super::Service;
use crate::error::Error;
use crate::keys::{Kind, artifacts, checkpoint, desired, fence, generation, head, job};
use crate::model::{Facts, Refusal, view};
use crate::store::{Key, Read, Stored, View};

/// Facts with the revisions that they were read at.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The facts.
    pub facts: Facts,
    /// The number of the last event.
    pub sequence: head::EventSequence,
    /// Which commit wrote what was read; what is not in here was absent.
    pub revisions: BTreeMap<Key, u64>,
    /// The revision that all of it is of.
    pub at: u64,
    /// The last revision that changed what is shown of the generation.
    pub shown: u64,
}

impl Service {
    /// Resolves generation 0 to the latest.
    pub(crate) async fn resolve(&self, id: &ApplicationId, number: u64) -> Result<ApplicationRef, Error> {
        if number > 0 {
            return Ok(ApplicationRef { id: id.clone(), generation: Generation(number) });
        }
        let view = self.metadata.read(vec![Read::Key(head::key(id))], None).await?;
        let head: head::Head = one(&view, 0)?.unwrap_or_default();
        if head.latest_generation == 0 {
            return Err(Refusal::IdNotFound(id.clone()).into());
        }
        Ok(ApplicationRef { id: id.clone(), generation: head.latest() })
    }

    /// Reads a generation now, or as of a revision.
    pub(crate) async fn load(&self, application: &ApplicationRef, at: Option<u64>) -> Result<Loaded, Error> {
        let id = &application.id;
        let keys = [
            head::key(id),
            fence::attempt_key(id),
            fence::cluster_key(id),
            head::sequence_key(id),
            generation::spec_key(application),
            generation::state_key(application),
            desired::key(application),
            artifacts::key(application),
        ];
        let mut reads: Vec<Read> = keys.into_iter().map(Read::Key).collect();
        reads.push(Read::all(job::prefix(application)));
        reads.push(Read::all(checkpoint::prefix(application)));
        let view = self.metadata.read(reads, at).await?;
        let head: head::Head = one(&view, 0)?.unwrap_or_default();
        let Some(spec) = one(&view, 4)? else {
            return Err(match head.latest_generation {
                0 => Refusal::IdNotFound(id.clone()),
                _ => Refusal::GenerationNotFound(application.clone()),
            }
            .into());
        };
        let facts = Facts {
            application: application.clone(),
            head,
            attempt: one(&view, 1)?.unwrap_or_default(),
            cluster: one(&view, 2)?.unwrap_or_default(),
            spec,
            state: one(&view, 5)?.unwrap_or_default(),
            desired: one(&view, 6)?.unwrap_or_default(),
            artifacts: one(&view, 7)?.unwrap_or_default(),
            jobs: by_job(&job::prefix(application), &view.answers[8])?,
            checkpoints: by_job(&checkpoint::prefix(application), &view.answers[9])?,
        };
        let sequence = one(&view, 3)?.unwrap_or_default();
        // Not the checkpoints: they are shown, and are no change that anybody is told of.
        let shown = view.answers[4..9].iter().flatten().map(|(_, stored)| stored.revision).max().unwrap_or(0);
        let revisions =
            view.answers.into_iter().flatten().map(|(key, stored)| (key, stored.revision)).collect();
        Ok(Loaded { facts, sequence, revisions, at: view.revision, shown })
    }

    /// The application as people see it: what is secret in its URIs is masked.
    pub(crate) fn show(&self, loaded: &Loaded) -> api::Application {
        let mut shown = self.whole(loaded);
        proto::uri::mask_application(&mut shown);
        shown
    }

    /// The application as its leader sees it, who has its files fetched.
    fn whole(&self, loaded: &Loaded) -> api::Application {
        let mut whole = view::application(&loaded.facts, loaded.shown);
        self.live.complete(&loaded.facts.application, &mut whole);
        self.queue.complete(&loaded.facts.application, &mut whole);
        whole
    }

    /// The record as leaders see it.
    pub(crate) async fn record_of(&self, loaded: &Loaded) -> Result<proto::jobgraph::Record, Error> {
        let mut whole = self.whole(loaded);
        self.whole_ends(&mut whole.jobs).await?;
        Ok(view::record(&loaded.facts, whole))
    }
}

/// What is kept for each job, under keys that are this prefix and the job's id.
fn by_job<K: Kind>(prefix: &Key, entries: &[(Key, Stored)]) -> Result<BTreeMap<proto::JobId, K>, Error> {
    let mut of_jobs = BTreeMap::new();
    for (key, stored) in entries {
        let text = key.strip(prefix).and_then(|rest| std::str::from_utf8(rest).ok()).unwrap_or_default();
        let id = text.parse().map_err(|_| Error::Internal(format!("{key} names no job")))?;
        of_jobs.insert(id, K::from_stored(&stored.value)?);
    }
    Ok(of_jobs)
}

/// The answer to the read of one key.
pub(crate) fn one<K: Kind>(view: &View, index: usize) -> Result<Option<K>, Error> {
    let entry = view.answers.get(index).and_then(|entries| entries.first());
    Ok(entry.map(|(_, stored)| K::from_stored(&stored.value)).transpose()?)
}

/// The revision of the answer to the read of one key.
pub(crate) fn revision_of(view: &View, index: usize) -> Option<u64> {
    view.answers.get(index).and_then(|entries| entries.first()).map(|(_, stored)| stored.revision)
}
