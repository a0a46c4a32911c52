#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod in_memory;

use std::collections::BTreeSet;
use std::sync::Mutex;

use bytes::Bytes;
use chassis::clock::SystemClock;
use chassis::transport::OsTransport;

use super::*;
use crate::store::MAX_VALUE_BYTES;
use crate::store::laws::{Bed, laws_hold};

/// A real etcd, which is killed and started again.
struct EtcdBed {
    server: Mutex<e2e::etcd::Etcd>,
}

impl EtcdBed {
    fn new() -> Self {
        Self::with(&[])
    }

    fn with(arguments: &[&str]) -> Self {
        Self { server: Mutex::new(e2e::etcd::Etcd::start_with(arguments)) }
    }

    async fn store(&self, writer: &str) -> EtcdMetadata {
        let address = self.server.lock().unwrap().address().to_owned();
        let transport: chassis::transport::SharedTransport = Arc::new(OsTransport);
        let clock: chassis::clock::SharedClock = Arc::new(SystemClock);
        let etcd = Etcd::new(&[address.parse().unwrap()], &transport, &clock).await.unwrap();
        EtcdMetadata::open(etcd, "/test", writer).await.unwrap()
    }
}

#[async_trait]
impl Bed for EtcdBed {
    async fn open(&mut self) -> Arc<dyn Metadata> {
        Arc::new(self.store("a").await)
    }

    async fn crash(&mut self) {
        self.server.lock().unwrap().restart();
    }

    fn keeps_a_number(&self) -> bool {
        false
    }
}

laws_hold!(EtcdBed::new(), 6);

fn put(key: &str, value: &str) -> Operation {
    Operation::Put(Key::from(key.to_owned()), Bytes::copy_from_slice(value.as_bytes()))
}

/// Law 6 between two stores: a store that lags never shows a revision whose changes it cannot tell.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_lags_hears_of_every_commit_of_another() {
    let bed = EtcdBed::new();
    let (left, right) = (Arc::new(bed.store("left").await), bed.store("right").await);
    let mut shown = right.revisions();
    let begin = *shown.borrow_and_update();
    let writer = tokio::spawn({
        let left = left.clone();
        async move {
            let mut written = Vec::new();
            for n in 0..200 {
                let operations = vec![put(&format!("k{}", n % 7), &n.to_string())];
                let transaction = Transaction { compares: Vec::new(), operations };
                let Commit::Committed(revision) = left.commit(transaction).await.unwrap() else {
                    panic!("an unconditional commit met a conflict");
                };
                written.push((revision, format!("k{}", n % 7)));
            }
            written
        }
    });
    let mut heard = Vec::new();
    let mut seen = begin;
    while heard.len() < 200 {
        shown.changed().await.unwrap();
        let revision = *shown.borrow_and_update();
        let changes = right.changes(seen, usize::MAX).await.unwrap();
        heard.extend(changes.iter().map(|change| (change.revision, change.key.to_string())));
        seen = changes.last().map_or(seen, |change| change.revision);
        // Each commit has a change, and an earlier look may have told it already.
        assert!(seen >= revision, "{revision} is shown, and {seen} is the last that is told");
    }
    assert_eq!(heard, writer.await.unwrap());
    // A store that was opened only now tells the same past.
    let third = bed.store("third").await;
    let past = third.changes(begin, usize::MAX).await.unwrap();
    let past: Vec<_> =
        past.iter().map(|change| (change.revision, change.key.to_string())).collect();
    assert_eq!(past, heard);
}

/// A member that is held neither answers nor breaks the connection, so the commit's outcome is
/// open for a while. It happens once.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_happens_once() {
    let bed = EtcdBed::new();
    let store = Arc::new(bed.store("a").await);
    for round in 0..5_u32 {
        let count = Key::from("count".to_owned());
        let view = store.read(vec![Read::Key(count.clone())], None).await.unwrap();
        let before = view.answers[0].first().map(|(_, stored)| stored.clone());
        let compare =
            Compare { key: count, revision: before.as_ref().map(|stored| stored.revision) };
        let operations = vec![put("count", &round.to_string()), put(&format!("r{round}"), "x")];
        let transaction = Transaction { compares: vec![compare], operations };
        bed.server.lock().unwrap().hold(true);
        let committing = tokio::spawn({
            let store = store.clone();
            async move { store.commit(transaction).await }
        });
        // Longer than one member is waited for.
        tokio::time::sleep(Duration::from_millis(3_200)).await;
        bed.server.lock().unwrap().hold(false);
        let committed = committing.await.unwrap().unwrap();
        assert!(matches!(committed, Commit::Committed(_)), "round {round}: {committed:?}");
    }
    let revisions = store.changes(0, usize::MAX).await.unwrap();
    let counted = revisions.iter().filter(|change| change.key.to_string() == "count").count();
    assert_eq!(counted, 5, "{revisions:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_sees_the_last_commit_and_makes_none() {
    let bed = EtcdBed::new();
    let store = bed.store("a").await;
    let look = Look::below(store.etcd.clone(), "/test");
    assert_eq!(look.last_commit().await, Ok(0));
    let transaction = Transaction { compares: Vec::new(), operations: vec![put("k", "v")] };
    let Commit::Committed(revision) = store.commit(transaction).await.unwrap() else {
        panic!("an unconditional commit met a conflict");
    };
    assert_eq!(look.cluster().await, Ok(store.cluster()));
    look.may_write().await.unwrap();
    let view = look.read(&[Read::Key(Key::from("k".to_owned()))]).await.unwrap();
    assert_eq!(view.answers[0][0].1.value, "v");
    assert_eq!((look.last_commit().await, store.last().await), (Ok(revision), Ok(revision)));
    assert_eq!(view.revision, revision, "the look has written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_range_is_read_page_by_page_at_one_revision() {
    let bed = EtcdBed::new();
    let store = bed.store("a").await;
    let mut last = 0;
    for begin in (0..2_500).step_by(90) {
        let operations = (begin..(begin + 90).min(2_500)).map(|n| put(&format!("p/{n:05}"), "x"));
        let transaction = Transaction { compares: Vec::new(), operations: operations.collect() };
        if let Commit::Committed(revision) = store.commit(transaction).await.unwrap() {
            last = revision;
        }
    }
    let reads = vec![
        Read::all(Key::from("p/".to_owned())),
        Read::Last { prefix: Key::from("p/".to_owned()), until: Key::from("p/01234x".to_owned()) },
    ];
    let view = store.read(reads, None).await.unwrap();
    assert_eq!(view.revision, last);
    assert_eq!(view.answers[0].len(), 2_500);
    assert_eq!(view.answers[1][0].0.to_string(), "p/01234");
}

/// Two stores of one record would otherwise give up the shorter of their pasts.
#[tokio::test(flavor = "multi_thread")]
async fn one_store_compacts_for_all() {
    let bed = EtcdBed::new();
    let (left, right) = (bed.store("left").await, bed.store("right").await);
    let mut revisions = Vec::new();
    for n in 0..6 {
        let operations = vec![put("n", &n.to_string())];
        let transaction = Transaction { compares: Vec::new(), operations };
        let Commit::Committed(revision) = left.commit(transaction).await.unwrap() else {
            panic!("an unconditional commit met a conflict");
        };
        revisions.push(revision);
    }
    let reads = || vec![Read::Key(Key::from("n".to_owned()))];
    // A store that has given up nothing itself sees what etcd has kept.
    let third = bed.store("third").await;
    let is_kept = async |revision| third.read(reads(), Some(revision)).await.is_ok();
    left.compact(revisions[2]).await.unwrap();
    assert!(!is_kept(revisions[1]).await, "the first store that compacts does it for all");
    right.compact(revisions[4]).await.unwrap();
    assert!(is_kept(revisions[3]).await, "the other store compacts nothing");
    let own = right.read(reads(), Some(revisions[3])).await;
    assert!(matches!(own, Err(StoreError::Compacted { .. })), "it has given up: {own:?}");
    left.compact(revisions[4]).await.unwrap();
    assert!(!is_kept(revisions[3]).await, "the one that compacts goes on");
    assert!(is_kept(revisions[4]).await, "what is not given up stays");
}

/// The revision of the entry that says which store compacts.
async fn entry_at(store: &EtcdMetadata) -> Option<u64> {
    let look = Txn::new().and_then(vec![TxnOp::get(store.keys.compacted(), None)]);
    let answer = store.etcd.transact(PATIENCE, &look).await.unwrap();
    answer.op_responses().into_iter().next().and_then(seen_revision)
}

/// A store with a long past has nothing to give up for hours, and a store that was started again
/// has not either. Its entry would stand still, and another store would give up its past.
#[tokio::test(flavor = "multi_thread")]
async fn the_store_that_compacts_moves_its_entry_without_anything_to_give_up() {
    let bed = EtcdBed::new();
    let right = bed.store("right").await;
    let taken = Compaction::of("left").is_ours(&right.etcd, &right.keys, 1).await.unwrap();
    assert!(taken, "no other store compacts");
    let begin = entry_at(&right).await;
    compaction::move_on(&right.etcd, &right.keys, "right").await.unwrap();
    assert_eq!(entry_at(&right).await, begin, "another store leaves the entry where it is");
    let _left = bed.store("left").await;
    let moves = async {
        while entry_at(&right).await == begin {
            tokio::task::yield_now().await;
        }
    };
    timeout(&SystemClock, Duration::from_secs(20), moves).await.expect("the entry moves");
}

/// etcd answers a lack of room also to writes that it has done.
#[tokio::test(flavor = "multi_thread")]
async fn only_what_did_not_happen_is_answered_as_full() {
    let bed = EtcdBed::with(&["--quota-backend-bytes", "6291456"]);
    let store = bed.store("a").await;
    let large = "x".repeat(MAX_VALUE_BYTES - 1);
    let (mut done, mut refused) = (BTreeSet::new(), BTreeSet::new());
    // The commits of a round pass etcd's first look at its room together.
    for round in 0..50 {
        let commits = (0..40).map(|n| {
            let name = format!("f/{round}-{n}");
            let operations = vec![put(&name, &large)];
            let committing = store.commit(Transaction { compares: Vec::new(), operations });
            async move { (name, committing.await) }
        });
        for (name, commit) in futures::future::join_all(commits).await {
            match commit {
                Ok(Commit::Committed(_)) => done.insert(name),
                Err(StoreError::Full(_)) => refused.insert(name),
                other => panic!("{name}: {other:?}"),
            };
        }
        if !refused.is_empty() {
            break;
        }
    }
    assert!(!refused.is_empty(), "etcd never ran out of room");
    let view = store.read(vec![Read::all(Key::from("f/".to_owned()))], None).await.unwrap();
    let kept: BTreeSet<String> = view.answers[0].iter().map(|(key, _)| key.to_string()).collect();
    assert_eq!(kept, done);
}

/// A past of three commits, which begins after revision 10 and keeps five.
fn past() -> Past {
    let past = Past::since(10, 5);
    for revision in [12, 14, 15] {
        past.push(revision, vec![Key::from(format!("k{revision}"))]);
    }
    past
}

fn earlier(revisions: &[u64]) -> Log {
    revisions.iter().map(|&revision| (revision, vec![Key::from("early".to_owned())])).collect()
}

#[test]
fn looks_back_at_the_same_time_are_joined_without_a_gap_or_a_duplicate() {
    let told = |past: &Past, after| -> Option<Vec<u64>> {
        let changes = past.changes(after, usize::MAX).ok()?;
        Some(changes.iter().map(|change| change.revision).collect())
    };
    let past = past();
    assert!(past.has_room_for(2) && !past.has_room_for(3));
    assert_eq!(told(&past, 6), None);
    past.prepend(8, earlier(&[9]), 10);
    assert_eq!(told(&past, 8), Some(vec![9, 12, 14, 15]));
    // The other look back heard of one that is there already.
    past.prepend(6, earlier(&[7, 9]), 10);
    assert_eq!(told(&past, 6), Some(vec![7, 9, 12, 14, 15]));
    // What is pushed out meanwhile leaves no gap.
    past.push(16, Vec::new());
    past.push(17, Vec::new());
    past.prepend(6, earlier(&[7]), 8);
    assert_eq!((told(&past, 6), told(&past, 9)), (None, Some(vec![12, 14, 15])));
}
