#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use chassis::clock::{SharedClock, SystemClock};
use proto::jobgraph;

use super::*;
use crate::blobs::memory::MemoryBlobs;
use crate::keys::generation::GenerationState;
use crate::keys::tests::{app, samples};
use crate::store::memory::MemoryMetadata;
use crate::store::over::Over;
use crate::store::{Metadata, StoreError};

/// What becomes of each kind of record when the generation that it is about is forgotten. A new
/// kind has to be entered here, with a sample in `keys/tests.rs`.
const FATES: &[(&str, Fate)] = &[
    ("head", Fate::Stays),
    ("events", Fate::Stays),
    ("attempt", Fate::Stays),
    ("cluster", Fate::Stays),
    ("spec", Fate::Goes),
    ("state", Fate::Goes),
    ("desired", Fate::Goes),
    ("artifacts", Fate::Goes),
    ("job", Fate::Goes),
    ("job with files", Fate::Goes),
    ("checkpoints", Fate::Goes),
    ("graph", Fate::Goes),
    ("journal", Fate::Goes),
    ("event", Fate::Goes),
    ("listed", Fate::Goes),
    // This is the same generation's place at another instant, and a generation has only one place.
    ("listed and indexed", Fate::IsNoneOfIts),
    ("unclean", Fate::Goes),
    ("forgetting", Fate::Goes),
    ("request of a generation", Fate::Goes),
    ("log head", Fate::Goes),
    ("log chunk", Fate::Goes),
    ("log source", Fate::Goes),
    // Lines are in a payload, not under a key.
    ("log lines", Fate::IsNoneOfIts),
    ("reference", Fate::Goes),
    ("sweep", Fate::Goes),
    // This is the mark of another payload.
    ("sweep of a numbered payload", Fate::IsNoneOfIts),
    ("sweeps", Fate::Stays),
    ("caretaker", Fate::Stays),
    ("store of a host", Fate::Stays),
    ("process", Fate::Goes),
    ("request", Fate::Goes),
    ("secrets", Fate::Goes),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Goes,
    Stays,
    IsNoneOfIts,
}

/// Every kind that is declared has a sample: the samples are what the fates are about.
#[test]
fn every_kind_of_record_knows_whether_it_is_forgotten() {
    let declared: usize = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/keys"))
        .unwrap()
        .filter_map(|entry| std::fs::read_to_string(entry.unwrap().path()).ok())
        .map(|source| source.matches("\nimpl Kind for ").count())
        .sum();
    let names: Vec<&str> = samples().into_iter().map(|(name, ..)| name).collect();
    let decided: Vec<&str> = FATES.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, decided, "a sample has no fate, or a fate no sample");
    // `job with files`, `listed and indexed` and `sweep of a numbered payload` are second samples
    // of a kind.
    assert_eq!(declared, names.len() - 3, "a kind of record has no sample in keys/tests.rs");
}

/// A record that has one of everything, and in which the generation is clean. The process is gone,
/// and is named as lifecycle names it.
async fn full() -> Arc<MemoryMetadata> {
    let metadata = Arc::new(MemoryMetadata::default());
    let mut state = GenerationState::default();
    state.application_mut().clean = true;
    for (name, key, value) in samples() {
        let (key, value) = match name {
            "log lines" | "forgetting" | "listed and indexed" | "sweep of a numbered payload" => {
                continue;
            }
            "state" => (key, state.to_stored()),
            "event" => {
                let event = api::Event {
                    event_id: 12,
                    generation: app().generation.get(),
                    ..Default::default()
                };
                (key, event.to_stored())
            }
            "process" => {
                let gone = jobgraph::ProcessState::Gone.into();
                let process = Some(jobgraph::Process { state: gone, ..Default::default() });
                let name = format!("{}cluster/1/worker/0", process::of_generation(&app()));
                (process::key(&name), process::StoredProcess { process, first_put: 8 }.to_stored())
            }
            // The sweep drops the reference of an artifact, but no payload of this record needs a
            // sweep; so the sample here is the reference of a chunk of output.
            "reference" => {
                let used = crate::keys::payload::Use::Log;
                let digest = Digest::of(b"bytes");
                let key = crate::keys::payload::reference_key(digest, &app(), used);
                (key, crate::keys::payload::reference(&app(), used).to_stored())
            }
            "sweep" => (key, crate::keys::payload::SweepMark::default().to_stored()),
            _ => (key, value),
        };
        let operations = vec![Operation::Put(key, value)];
        metadata.commit(Transaction { compares: Vec::new(), operations }).await.unwrap();
    }
    metadata
}

fn service(metadata: Arc<dyn Metadata>) -> Service {
    let clock: SharedClock = Arc::new(SystemClock);
    Service::new(metadata, Arc::new(MemoryBlobs::default()), clock)
}

async fn keys_of(metadata: &dyn Metadata) -> BTreeSet<String> {
    let view = metadata.read(vec![Read::all(Key::from(String::new()))], None).await.unwrap();
    view.answers[0].iter().map(|(key, _)| key.to_string()).collect()
}

fn expected() -> BTreeSet<String> {
    let stays = samples().into_iter().zip(FATES).filter(|(_, (_, fate))| *fate == Fate::Stays);
    stays.map(|((_, key, _), _)| key.to_string()).collect()
}

#[tokio::test]
async fn what_a_generation_had_goes_and_what_its_id_needs_stays() {
    let metadata = full().await;
    let service = service(metadata.clone());
    let forgotten = service.forget(&app().id, 0, 0, false).await.unwrap();
    assert_eq!(forgotten, Forgotten { application: app(), earlier: false });
    assert_eq!(keys_of(&*metadata).await, expected());
}

#[tokio::test]
async fn what_is_only_checked_is_not_touched() {
    let metadata = full().await;
    let before = keys_of(&*metadata).await;
    service(metadata.clone()).forget(&app().id, 0, 0, true).await.unwrap();
    assert_eq!(keys_of(&*metadata).await, before);
}

/// A backend that dies at its nth commit and stays dead.
pub(crate) struct Mortal {
    inner: Arc<MemoryMetadata>,
    left: AtomicI64,
}

impl Mortal {
    pub(crate) fn at(inner: Arc<MemoryMetadata>, commits: i64) -> Self {
        Self { inner, left: AtomicI64::new(commits) }
    }
}

#[async_trait]
impl Over for Mortal {
    fn below(&self) -> &dyn Metadata {
        &*self.inner
    }

    async fn commit(&self, transaction: Transaction) -> Result<Commit, StoreError> {
        if self.left.fetch_sub(1, Ordering::Relaxed) <= 0 {
            return Err(StoreError::Unavailable("it has died".into()));
        }
        self.inner.commit(transaction).await
    }
}

/// Wherever the store dies, what is shown of the generation is the whole or nothing, and the next
/// store goes on to the end.
#[tokio::test]
async fn a_store_that_dies_in_between_leaves_nothing_half_shown_and_goes_on() {
    let mut deaths = 0;
    loop {
        let metadata = full().await;
        // The generation has so much that forgetting it takes several commits.
        for n in 0..60 {
            let key = crate::keys::journal::key(&app(), &format!("step-{n}"));
            let operations = vec![Operation::Put(
                key,
                crate::keys::journal::JournalEntry::default().to_stored(),
            )];
            metadata.commit(Transaction { compares: Vec::new(), operations }).await.unwrap();
        }
        let before = keys_of(&*metadata).await;
        let mortal = Mortal::at(metadata.clone(), deaths);
        let outcome = service(Arc::new(mortal)).forget(&app().id, 0, 0, false).await;
        let next = service(metadata.clone());
        match next.get(&app().id, 0).await {
            Ok(_) => assert_eq!(keys_of(&*metadata).await, before, "after {deaths} commits"),
            Err(error) => {
                assert_eq!(
                    error,
                    Error::Refused(Refusal::Forgotten(app())),
                    "after {deaths} commits"
                );
                let page = next.list(&Default::default(), 10, "").await.unwrap();
                assert_eq!(page.applications, [], "after {deaths} commits");
                next.finish_forgetting().await.unwrap();
                next.sweep(Digest::of(b"bytes")).await.unwrap();
                assert_eq!(keys_of(&*metadata).await, expected(), "after {deaths} commits");
            }
        }
        if outcome.is_ok() {
            break;
        }
        deaths += 1;
    }
    assert!(deaths > 6, "it took {deaths} commits only");
}
