#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use chassis::clock::{SharedClock, SystemClock};

use super::*;
use crate::blobs::memory::MemoryBlobs;
use crate::keys::tests::app;
use crate::service::forget::tests::Mortal;
use crate::service::list::Filter;
use crate::service::sample::submitted;
use crate::store::Metadata;
use crate::store::memory::MemoryMetadata;

/// What builds before the indexes wrote, of every kind that they had: one line for each record,
/// with name, key and value in hex.
const OLDER: &str = include_str!("tests/before-indexes.txt");

fn service(metadata: &Arc<MemoryMetadata>) -> Service {
    let clock: SharedClock = Arc::new(SystemClock);
    Service::new(metadata.clone(), Arc::new(MemoryBlobs::default()), clock)
}

async fn put(metadata: &MemoryMetadata, key: Key, value: bytes::Bytes) {
    let operations = vec![Operation::Put(key, value)];
    metadata.commit(Transaction { compares: Vec::new(), operations }).await.unwrap();
}

async fn older() -> Arc<MemoryMetadata> {
    let metadata = Arc::new(MemoryMetadata::default());
    for line in OLDER.lines() {
        let parts: Vec<&str> = line.split('\t').collect();
        let [_, key, value] = parts[..] else { panic!("{line:?} is no line of keys") };
        put(&metadata, Key::from(key.to_owned()), hex::decode(value).unwrap().into()).await;
    }
    metadata
}

async fn keys(metadata: &MemoryMetadata, prefix: &str) -> Vec<String> {
    let read = Read::all(Key::from(prefix.to_owned()));
    let view = metadata.read(vec![read], None).await.unwrap();
    view.answers[0].iter().map(|(key, _)| key.to_string()).collect()
}

#[tokio::test]
async fn a_record_of_an_older_build_is_indexed_once() {
    let metadata = older().await;
    let service = service(&metadata);
    assert_eq!(service.list(&Filter::unclean(), 10, "").await.unwrap().applications, []);
    assert_eq!(service.index().await, Ok(1));
    // Nothing has happened to the generation yet, so it has no phase; it is not clean all the same.
    assert_eq!(keys(&metadata, "u/").await, ["u/orders-7k2m/000000000000001f"]);
    let request = keys(&metadata, "a/orders-7k2m/g/000000000000001f/request/").await;
    assert_eq!(request.len(), 1, "{request:?}");
    let revision = *metadata.revisions().borrow();
    assert_eq!(service.index().await, Ok(0));
    assert_eq!(*metadata.revisions().borrow(), revision, "the second time it has written");
    // So the generation is forgotten with its request, once it is clean.
    let mut state = GenerationState::default();
    state.application_mut().clean = true;
    put(&metadata, state_key(&app()), state.to_stored()).await;
    assert_eq!(service.index().await, Ok(0));
    assert_eq!(keys(&metadata, "u/").await, [] as [&str; 0], "an older build has made it clean");
    service.forget(&app().id, 0, 0, false).await.unwrap();
    assert_eq!(keys(&metadata, "r/").await, [] as [&str; 0]);
    assert_eq!(keys(&metadata, "a/orders-7k2m/g/").await, [] as [&str; 0]);
}

/// An older build adds to a record that is indexed, and a store dies while it goes through that
/// record.
#[tokio::test]
async fn whatever_is_not_indexed_is_found_also_in_the_middle_of_it() {
    let metadata = Arc::new(MemoryMetadata::default());
    let service = service(&metadata);
    for n in 0..100 {
        submitted(&service, &format!("a-{n}")).await;
    }
    // The record as an older build leaves it: the newest 90 places are bare, and no index knows
    // their generations.
    let places = keys(&metadata, "l/").await;
    for place in places.iter().take(90) {
        let application = named(&Key::from(place.clone())).unwrap();
        put(&metadata, Key::from(place.clone()), Listed { indexed: false }.to_stored()).await;
        let operations = vec![Operation::Delete(unclean::key(&application))];
        metadata.commit(Transaction { compares: Vec::new(), operations }).await.unwrap();
    }
    assert_eq!(keys(&metadata, "u/").await.len(), 10);
    // The requests take one or two commits; then the first commit of the generations is one too
    // many.
    let dies = Arc::new(Mortal::at(metadata.clone(), 4));
    let dying = Service::new(dies, Arc::new(MemoryBlobs::default()), Arc::new(SystemClock));
    dying.index().await.unwrap_err();
    assert_eq!(keys(&metadata, "u/").await.len(), 50, "it has died elsewhere");
    assert_eq!(service.index().await, Ok(50));
    assert_eq!(keys(&metadata, "u/").await.len(), 100);
    assert_eq!(service.list(&Filter::unclean(), 500, "").await.unwrap().applications.len(), 100);
}
