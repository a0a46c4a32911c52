//! Reading the dossier of one generation at one revision.

use std::collections::BTreeMap;

use proto::{ApplicationId, ApplicationRef, Generation, api};

use super::Service;
use crate::error::Error;
use crate::keys::{Kind, artifacts, checkpoint, desired, fence, generation, head, job};
use crate::model::{Dossier, Refusal, view};
use crate::store::{Key, Read, Stored, View};

/// How many reads the dossier of a generation takes.
const PARTS: usize = 10;

/// The dossier of a generation, with the revisions that its parts were read at.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What decisions rest on.
    pub dossier: Dossier,
    /// The number of the last event.
    pub sequence: head::EventSequence,
    /// Which commit wrote each key that was read; a key that is not in here was absent.
    pub revisions: BTreeMap<Key, u64>,
    /// The revision that the dossier is of.
    pub at: u64,
    /// The last revision that changed what people see of the generation.
    pub shown: u64,
}

impl Service {
    /// Resolves a generation's number; 0 is the latest generation of the id.
    pub(crate) async fn resolve(
        &self,
        id: &ApplicationId,
        number: u64,
    ) -> Result<ApplicationRef, Error> {
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
    pub(crate) async fn load(
        &self,
        application: &ApplicationRef,
        at: Option<u64>,
    ) -> Result<Loaded, Error> {
        let view = self.metadata.read(parts(application).to_vec(), at).await?;
        loaded(application, &view.answers, view.revision)
    }

    /// Reads a generation now, and at the same instant what else a decision rests on.
    pub(crate) async fn load_beside(
        &self,
        application: &ApplicationRef,
        beside: &[Read],
    ) -> Result<(Loaded, Vec<Vec<(Key, Stored)>>), Error> {
        let reads = parts(application).into_iter().chain(beside.iter().cloned()).collect();
        let mut view = self.metadata.read(reads, None).await?;
        let loaded = loaded(application, &view.answers, view.revision)?;
        Ok((loaded, view.answers.split_off(PARTS)))
    }

    /// Reads several generations at once, as of one revision. Generations that are gone are left
    /// out; the others keep their order.
    pub(crate) async fn load_all(
        &self,
        applications: &[ApplicationRef],
        at: u64,
    ) -> Result<Vec<Loaded>, Error> {
        let reads = applications.iter().flat_map(parts).collect();
        let view = self.metadata.read(reads, Some(at)).await?;
        let answers = view.answers.chunks(PARTS);
        let each = applications
            .iter()
            .zip(answers)
            .map(|(of, answers)| loaded(of, answers, view.revision));
        let is_there = |loaded: &Result<Loaded, Error>| {
            !matches!(
                loaded,
                Err(Error::Refused(
                    Refusal::IdNotFound(_) | Refusal::GenerationNotFound(_) | Refusal::Forgotten(_)
                ))
            )
        };
        each.filter(is_there).collect()
    }

    /// The application as people see it: secrets in its URIs are masked.
    pub(crate) fn show(&self, loaded: &Loaded) -> api::Application {
        let mut shown = self.whole(loaded);
        proto::uri::mask_application(&mut shown);
        shown
    }

    /// The application as its leader sees it. Nothing is masked, because the leader has the files
    /// fetched.
    fn whole(&self, loaded: &Loaded) -> api::Application {
        let mut whole = view::application(&loaded.dossier, loaded.shown);
        self.live.complete(&loaded.dossier.application, &mut whole);
        self.queue.complete(&loaded.dossier.application, &mut whole);
        whole
    }

    /// The record as leaders see it.
    pub(crate) async fn record_of(
        &self,
        loaded: &Loaded,
    ) -> Result<proto::jobgraph::Record, Error> {
        let mut whole = self.whole(loaded);
        self.whole_ends(&mut whole.jobs).await?;
        let mut record = view::record(&loaded.dossier, whole);
        // What lifecycles keep is beside the dossier: it is no part of what watchers are told of.
        record.cluster_places = self.cluster_places(&loaded.dossier.application).await?;
        Ok(record)
    }
}

/// The keys that a generation is made of, as far as decisions rest on them.
fn parts(application: &ApplicationRef) -> [Read; PARTS] {
    let id = &application.id;
    [
        Read::Key(head::key(id)),
        Read::Key(fence::attempt_key(id)),
        Read::Key(fence::cluster_key(id)),
        Read::Key(head::sequence_key(id)),
        Read::Key(generation::spec_key(application)),
        Read::Key(generation::state_key(application)),
        Read::Key(desired::key(application)),
        Read::Key(artifacts::key(application)),
        Read::all(job::prefix(application)),
        Read::all(checkpoint::prefix(application)),
    ]
}

/// The answers to [`parts`] as a dossier, with the revisions of those and of what else was read.
fn loaded(
    application: &ApplicationRef,
    answers: &[Vec<(Key, Stored)>],
    at: u64,
) -> Result<Loaded, Error> {
    let head: head::Head = first(answers, 0)?.unwrap_or_default();
    let Some(spec) = first(answers, 4)? else { return Err(absent(application, &head).into()) };
    let dossier = Dossier {
        application: application.clone(),
        head,
        attempt: first(answers, 1)?.unwrap_or_default(),
        cluster: first(answers, 2)?.unwrap_or_default(),
        spec,
        state: first(answers, 5)?.unwrap_or_default(),
        desired: first(answers, 6)?.unwrap_or_default(),
        artifacts: first(answers, 7)?.unwrap_or_default(),
        jobs: by_job(&job::prefix(application), &answers[8])?,
        checkpoints: by_job(&checkpoint::prefix(application), &answers[9])?,
    };
    let sequence = first(answers, 3)?.unwrap_or_default();
    // Checkpoints are left out: they are shown, but a new checkpoint is no change that watchers are
    // told of.
    let shown =
        answers[4..9].iter().flatten().map(|(_, stored)| stored.revision).max().unwrap_or(0);
    let revisions =
        answers.iter().flatten().map(|(key, stored)| (key.clone(), stored.revision)).collect();
    Ok(Loaded { dossier, sequence, revisions, at, shown })
}

/// Why a generation is absent. If its id has reached the number, the generation was forgotten.
pub(crate) fn absent(application: &ApplicationRef, head: &head::Head) -> Refusal {
    match (head.latest(), application.generation) {
        (latest, _) if latest.get() == 0 => Refusal::IdNotFound(application.id.clone()),
        (latest, asked) if asked.get() > 0 && asked <= latest => {
            Refusal::Forgotten(application.clone())
        }
        _ => Refusal::GenerationNotFound(application.clone()),
    }
}

/// What the record keeps for each job, under keys that are this prefix and the job's id.
fn by_job<K: Kind>(
    prefix: &Key,
    entries: &[(Key, Stored)],
) -> Result<BTreeMap<proto::JobId, K>, Error> {
    let mut of_jobs = BTreeMap::new();
    for (key, stored) in entries {
        let text =
            key.strip(prefix).and_then(|rest| std::str::from_utf8(rest).ok()).unwrap_or_default();
        let id = text.parse().map_err(|_| Error::Internal(format!("{key} names no job")))?;
        of_jobs.insert(id, K::from_stored(&stored.value)?);
    }
    Ok(of_jobs)
}

/// The answer to the read of one key.
pub(crate) fn one<K: Kind>(view: &View, index: usize) -> Result<Option<K>, Error> {
    first(&view.answers, index)
}

fn first<K: Kind>(answers: &[Vec<(Key, Stored)>], index: usize) -> Result<Option<K>, Error> {
    let entry = answers.get(index).and_then(|entries| entries.first());
    Ok(entry.map(|(_, stored)| K::from_stored(&stored.value)).transpose()?)
}

/// The revision of the answer to the read of one key.
pub(crate) fn revision_of(view: &View, index: usize) -> Option<u64> {
    view.answers.get(index).and_then(|entries| entries.first()).map(|(_, stored)| stored.revision)
}
