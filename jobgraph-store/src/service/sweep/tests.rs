//! Every interleaving of a sweep with a writer that puts the same payload and points to it, step by
//! step, each of them a store of its own over one record and the same blobs.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chassis::clock::{Clock as _, ManualClock, SystemClock};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;
use crate::blobs::fs::FsBlobs;
use crate::blobs::memory::MemoryBlobs;
use crate::blobs::{BlobEntries, BlobError, BlobInfo, BlobStream, BlobWriter, Blobs};
use crate::keys::tests::app;
use crate::model::Refusal;
use crate::service::sample::on_etcd;
use crate::store::memory::MemoryMetadata;
use crate::store::over::Over;
use crate::store::{Metadata, StoreError, View};

fn bytes() -> Bytes {
    Bytes::from_static(b"bytes that are swept and needed")
}

fn digest() -> Digest {
    Digest::of(&bytes())
}

/// A backend before whose every step the other stores may take theirs.
struct SteppedRecord(Arc<MemoryMetadata>);

#[async_trait]
impl Over for SteppedRecord {
    fn below(&self) -> &dyn Metadata {
        &*self.0
    }

    async fn read(&self, reads: Vec<Read>, at: Option<u64>) -> Result<View, StoreError> {
        futures::pending!();
        self.0.read(reads, at).await
    }

    async fn commit(&self, transaction: Transaction) -> Result<Commit, StoreError> {
        futures::pending!();
        self.0.commit(transaction).await
    }
}

/// Blobs before whose every step the other stores may take theirs.
struct SteppedBlobs(MemoryBlobs);

#[async_trait]
impl Blobs for SteppedBlobs {
    async fn writer(&self, name: BlobName) -> Result<Box<dyn BlobWriter>, BlobError> {
        Ok(Box::new(SteppedWriter(self.0.writer(name).await?)))
    }

    async fn stat(&self, name: BlobName) -> Result<Option<u64>, BlobError> {
        futures::pending!();
        self.0.stat(name).await
    }

    async fn read(&self, name: BlobName, offset: u64) -> Result<BlobStream, BlobError> {
        futures::pending!();
        self.0.read(name, offset).await
    }

    fn place(&self, name: BlobName) -> String {
        self.0.place(name)
    }

    async fn remove(&self, name: BlobName) -> Result<(), BlobError> {
        futures::pending!();
        self.0.remove(name).await
    }

    fn entries(&self) -> BlobEntries {
        self.0.entries()
    }

    async fn list(&self) -> Result<Vec<BlobInfo>, BlobError> {
        futures::pending!();
        self.0.list().await
    }
}

struct SteppedWriter(Box<dyn BlobWriter>);

#[async_trait]
impl BlobWriter for SteppedWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), BlobError> {
        self.0.write(bytes).await
    }

    async fn finish(self: Box<Self>) -> Result<(), BlobError> {
        futures::pending!();
        self.0.finish().await
    }

    async fn abort(self: Box<Self>) {
        self.0.abort().await;
    }
}

/// One record and its payloads, which any number of stores share.
#[derive(Default)]
pub(crate) struct World {
    metadata: Arc<MemoryMetadata>,
    blobs: MemoryBlobs,
}

impl World {
    /// A store that waits for its turn before each step.
    pub(crate) fn stepped(&self) -> Service {
        let metadata = Arc::new(SteppedRecord(self.metadata.clone()));
        let blobs = Arc::new(SteppedBlobs(self.blobs.clone()));
        Service::new(metadata, blobs, Arc::new(ManualClock::new()))
    }

    /// A store that does what it is told at once.
    fn calm(&self) -> Service {
        let clock = Arc::new(ManualClock::new());
        Service::new(self.metadata.clone(), Arc::new(self.blobs.clone()), clock)
    }

    async fn commit(&self, operation: Operation) {
        let operations = vec![operation];
        self.metadata.commit(Transaction { compares: Vec::new(), operations }).await.unwrap();
    }

    /// Everything about payloads that is left in the record.
    async fn left(&self) -> Vec<(Key, Stored)> {
        let view = self.metadata.read(vec![Read::all(payload::prefix())], None).await.unwrap();
        view.answers.into_iter().flatten().collect()
    }

    async fn is_pointed_to(&self) -> bool {
        let read = Read::all(payload::reference_prefix(digest()));
        !self.metadata.read(vec![read], None).await.unwrap().answers[0].is_empty()
    }

    /// What the record points to is there, and a store that has seen nothing yet finds it.
    async fn is_whole(&self, when: &str) {
        let store = self.calm();
        assert_eq!(store.read_payload(digest()).await, Ok(bytes()), "{when}");
        store.sweep_all(Duration::ZERO).await.unwrap();
        assert_eq!(store.read_payload(digest()).await, Ok(bytes()), "{when}, and swept once more");
    }

    /// Once nothing points to the payload, sweeps leave nothing of it, wherever stores have died.
    async fn becomes_empty(&self, when: &str) {
        let reference = payload::reference_key(digest(), &app(), Use::Graph);
        self.commit(Operation::Delete(reference)).await;
        let store = self.calm();
        store.sweep_all(Duration::ZERO).await.unwrap();
        assert_eq!(self.blobs.list().await, Ok(Vec::new()), "{when}: blobs");
        let left = self.left().await;
        assert!(left.is_empty(), "{when}: the record has {left:?}");
    }
}

/// A store that does something, one step each time it is polled.
pub(crate) type Actor = Pin<Box<dyn Future<Output = ()>>>;

fn sweeper(store: Service) -> Actor {
    Box::pin(async move {
        store.sweep(digest()).await.unwrap();
    })
}

/// Puts the payload and points to it, as often as that takes.
fn writer(store: Service) -> Actor {
    Box::pin(async move {
        for _ in 0..50 {
            store.put_bytes(bytes()).await.unwrap();
            let mut transaction = Transaction::default();
            let pointers = vec![(digest(), Use::Graph)];
            match store.point(&app(), pointers, &mut transaction).await {
                Err(Error::Refused(Refusal::PayloadMissing(_))) => continue,
                pointed => pointed.unwrap(),
            }
            if let Commit::Committed(_) = store.commit(transaction).await.unwrap() {
                return;
            }
        }
        panic!("the writer never came to an end");
    })
}

/// Runs all actors to their ends. The choice says which of so many takes the next step.
pub(crate) async fn interleave(mut actors: Vec<Actor>, mut choose: impl FnMut(usize) -> usize) {
    while !actors.is_empty() {
        let next = choose(actors.len());
        if futures::poll!(&mut actors[next]).is_ready() {
            drop(actors.remove(next));
        }
        // The runtime lets one task poll only so often without giving way.
        tokio::task::yield_now().await;
    }
}

/// All schedules, one after the other: those that begin with the same choices come together.
#[derive(Default)]
pub(crate) struct Schedules {
    /// Each choice of the present schedule, and of how many it was made.
    choices: Vec<(usize, usize)>,
    at: usize,
}

impl Schedules {
    pub(crate) fn choose(&mut self, of: usize) -> usize {
        if self.at == self.choices.len() {
            self.choices.push((0, of));
        }
        self.at += 1;
        self.choices[self.at - 1].0
    }

    /// Goes on to the next schedule; `false`: there is none.
    pub(crate) fn advance(&mut self) -> bool {
        self.at = 0;
        while let Some((chosen, of)) = self.choices.pop() {
            if chosen + 1 < of {
                self.choices.push((chosen + 1, of));
                return true;
            }
        }
        false
    }
}

/// The number is raised before, because the two steps that raise it make half a million
/// interleavings of these ten thousand. The test below has them.
#[tokio::test]
async fn no_interleaving_of_a_sweep_and_a_writer_removes_what_is_pointed_to() {
    for knows in [false, true] {
        let (mut schedules, mut count) = (Schedules::default(), 0);
        loop {
            let world = World::default();
            let before = world.calm();
            before.put_bytes(bytes()).await.unwrap();
            world.calm().raise_above(0).await.unwrap();
            let mut writing = world.stepped();
            if knows {
                writing.marks = before.marks;
            }
            let actors = vec![sweeper(world.stepped()), writer(writing)];
            interleave(actors, |of| schedules.choose(of)).await;
            world.is_whole(&format!("{:?}, knows the mark: {knows}", schedules.choices)).await;
            count += 1;
            if !schedules.advance() {
                break;
            }
        }
        assert!(count > 1_000, "there are only {count} interleavings, knows the mark: {knows}");
    }
}

/// What a store knows of a mark is old once another store has swept the payload.
#[tokio::test]
async fn a_store_that_knows_a_mark_from_before_looks_once_more() {
    let world = World::default();
    let (knowing, other) = (world.calm(), world.calm());
    let pointing = async || {
        let mut transaction = Transaction::default();
        let pointers = vec![(digest(), Use::Graph)];
        knowing.point(&app(), pointers, &mut transaction).await.map(|()| transaction)
    };
    knowing.put_bytes(bytes()).await.unwrap();
    assert_eq!(other.sweep(digest()).await, Ok(true));
    let missing = Refusal::PayloadMissing(vec![digest().to_string()]);
    assert_eq!(pointing().await, Err(Error::Refused(missing)), "the payload is gone");
    other.put_bytes(bytes()).await.unwrap();
    let late = pointing().await.unwrap();
    assert_eq!(other.sweep(digest()).await, Ok(true));
    other.put_bytes(bytes()).await.unwrap();
    let committed = knowing.commit(late).await.unwrap();
    assert_eq!(committed, Commit::Conflict(payload::sweep_key(digest())));
    let committed = knowing.commit(pointing().await.unwrap()).await.unwrap();
    assert!(matches!(committed, Commit::Committed(_)), "{committed:?}");
    world.is_whole("pointed to by the store that knew an older mark").await;
}

/// Two sweeps end each other's, and two writers share a mark: too many interleavings for all of
/// them, so each seed is one.
#[tokio::test]
async fn no_interleaving_of_two_sweeps_and_two_writers_removes_what_is_pointed_to() {
    for seed in 0..3_000 {
        let mut random = StdRng::seed_from_u64(seed);
        let world = World::default();
        world.calm().put_bytes(bytes()).await.unwrap();
        let stores = [(); 4].map(|()| world.stepped());
        let [one, two, three, four] = stores;
        let actors = vec![sweeper(one), sweeper(two), writer(three), writer(four)];
        interleave(actors, |of| random.random_range(0..of)).await;
        world.is_whole(&format!("seed {seed}")).await;
        world.becomes_empty(&format!("seed {seed}")).await;
    }
}

/// A store is stopped between any two steps of its sweep, and goes on when others have put the
/// payload, pointed to it, and swept, as long afterwards as it takes.
#[tokio::test]
async fn a_sweep_that_was_stopped_anywhere_takes_nothing_that_came_meanwhile() {
    let mut steps = 0;
    loop {
        let world = World::default();
        world.calm().put_bytes(bytes()).await.unwrap();
        let mut stopped = sweeper(world.stepped());
        let mut is_done = false;
        for _ in 0..steps {
            is_done |= futures::poll!(&mut stopped).is_ready();
        }
        if is_done {
            break;
        }
        writer(world.calm()).await;
        world.calm().sweep_all(Duration::ZERO).await.unwrap();
        interleave(vec![stopped], |_| 0).await;
        world.is_whole(&format!("stopped after {steps} steps")).await;
        steps += 1;
    }
    assert!(steps > 6, "a sweep has only {steps} steps");
}

#[tokio::test]
async fn a_store_that_dies_anywhere_in_its_sweep_leaves_nothing_for_good() {
    let mut steps = 0;
    loop {
        let world = World::default();
        world.calm().put_bytes(bytes()).await.unwrap();
        let mut dying = sweeper(world.stepped());
        let mut is_done = false;
        for _ in 0..steps {
            is_done |= futures::poll!(&mut dying).is_ready();
        }
        drop(dying);
        if is_done {
            break;
        }
        world.becomes_empty(&format!("dead after {steps} steps")).await;
        writer(world.calm()).await;
        world.is_whole(&format!("dead after {steps} steps")).await;
        steps += 1;
    }
    assert!(steps > 6, "a sweep has only {steps} steps");
}

#[tokio::test]
async fn a_writer_that_dies_anywhere_leaves_nothing_for_good_or_what_it_pointed_to() {
    let mut steps = 0;
    loop {
        let world = World::default();
        let mut dying = writer(world.stepped());
        let mut is_done = false;
        for _ in 0..steps {
            is_done = is_done || futures::poll!(&mut dying).is_ready();
        }
        drop(dying);
        let when = format!("dead after {steps} steps");
        if world.is_pointed_to().await {
            world.is_whole(&when).await;
        }
        world.becomes_empty(&when).await;
        if is_done {
            break;
        }
        steps += 1;
    }
    assert!(steps > 4, "a writer has only {steps} steps");
}

/// The real thing: one store sweeps again and again, while another puts the payload, points to it,
/// and lets it go.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_on_etcd_that_sweeps_again_and_again_takes_nothing_that_another_points_to() {
    let (server, directory) = (e2e::etcd::Etcd::start(), tempfile::tempdir().unwrap());
    let blobs = FsBlobs::open(directory.path()).unwrap();
    let store = async |name: &str| {
        let metadata = on_etcd(&server, "/swept", name).await;
        Service::new(metadata, Arc::new(blobs.clone()), Arc::new(SystemClock))
    };
    let (left, right) = (store("left").await, store("right").await);
    let sweeping = tokio::spawn({
        let left = left.clone();
        async move {
            // Some pauses are long enough for a writer to come to its end in between.
            for pause in (0..20).cycle() {
                left.sweep_all(Duration::ZERO).await.unwrap();
                SystemClock.sleep(Duration::from_millis(pause)).await;
            }
        }
    });
    for round in 0..100 {
        writer(right.clone()).await;
        for store in [&left, &right] {
            assert_eq!(store.read_payload(digest()).await, Ok(bytes()), "round {round}");
        }
        let reference = payload::reference_key(digest(), &app(), Use::Graph);
        let operations = vec![Operation::Delete(reference)];
        right.commit(Transaction { compares: Vec::new(), operations }).await.unwrap();
    }
    assert!(!sweeping.is_finished(), "the sweeping store failed");
    sweeping.abort();
}

/// A record of an older build, whose payload has no mark.
#[tokio::test]
async fn what_is_pointed_to_without_a_mark_stays() {
    let world = World::default();
    let mut writer = world.blobs.writer(digest().into()).await.unwrap();
    writer.write(bytes()).await.unwrap();
    writer.finish().await.unwrap();
    let reference = payload::reference_key(digest(), &app(), Use::Graph);
    let stored = payload::reference(&app(), Use::Graph).to_stored();
    world.commit(Operation::Put(reference, stored)).await;
    world.is_whole("without a mark").await;
    // A store has looked for the payload under the number of the record, which is another one now.
    world.calm().marked(&[digest()]).await.unwrap();
    world.is_whole("with a mark of another number").await;
    world.becomes_empty("without a mark").await;
}

/// A record that was restored from a copy may be older than its blobs. Numbers go on above those of
/// all blobs.
#[tokio::test]
async fn a_blob_of_a_number_that_is_still_to_come_goes_and_the_number_never_comes() {
    let world = World::default();
    let ahead = BlobName { digest: digest(), number: 7 };
    let mut ahead_writer = world.blobs.writer(ahead).await.unwrap();
    ahead_writer.write(bytes()).await.unwrap();
    ahead_writer.finish().await.unwrap();
    world.becomes_empty("a number ahead").await;
    let store = world.calm();
    store.put_bytes(bytes()).await.unwrap();
    assert_eq!(store.name_of(digest()).await, Ok(BlobName { digest: digest(), number: 8 }));
}

/// More payloads than are looked up at once, and two of them are pointed to.
#[tokio::test]
async fn of_many_payloads_those_stay_that_are_pointed_to() {
    let world = World::default();
    let store = world.calm();
    let payloads: Vec<Bytes> = (0..2 * SEEN_AT_ONCE + 5).map(|n| n.to_string().into()).collect();
    for bytes in &payloads {
        store.put_bytes(bytes.clone()).await.unwrap();
    }
    let needed = [0, SEEN_AT_ONCE].map(|at| Digest::of(&payloads[at]));
    for digest in needed {
        let mut transaction = Transaction::default();
        store.point(&app(), vec![(digest, Use::Graph)], &mut transaction).await.unwrap();
        store.commit(transaction).await.unwrap();
    }
    assert_eq!(store.sweep_all(Duration::ZERO).await, Ok(payloads.len() - 2));
    let left = world.blobs.list().await.unwrap();
    let mut left: Vec<Digest> = left.into_iter().map(|blob| blob.name.digest).collect();
    let mut needed = needed.to_vec();
    left.sort_unstable();
    needed.sort_unstable();
    assert_eq!(left, needed);
}
