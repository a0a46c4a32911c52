//! The laws of [`Metadata`] as tests for any backend. Each law is a function that answers what it
//! found wrong, so that a mutant backend can be shown to be caught by it.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::{
    Change, Commit, Compare, Key, Metadata, Operation, Read, StoreError, Stored, Transaction,
};

/// What a law found: `Err` says how the backend breaks it.
pub(crate) type Verdict = Result<(), String>;

/// A backend that can be opened again, with all that was durable.
#[async_trait::async_trait]
pub(crate) trait Bed: Send + Sync {
    /// The backend, opened if it is not. It keeps `KEPT` revisions.
    async fn open(&mut self) -> Arc<dyn Metadata>;
    /// Ends the backend as a crash does: what was not durable is gone.
    async fn crash(&mut self);
}

/// How many revisions a backend under test keeps.
pub(crate) const KEPT: u64 = 50;

macro_rules! ensure {
    ($holds:expr, $($text:tt)*) => {
        if !$holds {
            return Err(format!($($text)*));
        }
    };
}

fn key(text: &str) -> Key {
    Key::from(text.to_owned())
}

fn put(text: &str, value: &str) -> Operation {
    Operation::Put(key(text), Bytes::copy_from_slice(value.as_bytes()))
}

fn transaction(compares: &[(&str, Option<u64>)], operations: Vec<Operation>) -> Transaction {
    let compares = compares
        .iter()
        .map(|(text, revision)| Compare { key: key(text), revision: *revision })
        .collect();
    Transaction { compares, operations }
}

async fn committed(store: &dyn Metadata, operations: Vec<Operation>) -> Result<u64, String> {
    match store.commit(transaction(&[], operations)).await {
        Ok(Commit::Committed(revision)) => Ok(revision),
        other => Err(format!("an unconditional commit came to {other:?}")),
    }
}

async fn get(store: &dyn Metadata, text: &str) -> Result<Option<(String, u64)>, String> {
    let view =
        store.read(vec![Read::Key(key(text))], None).await.map_err(|error| error.to_string())?;
    Ok(view.answers[0]
        .first()
        .map(|(_, stored)| (String::from_utf8(stored.value.to_vec()).unwrap(), stored.revision)))
}

/// Laws 1 and 2: a commit happens as a whole or not at all, and only while every compare holds.
pub(crate) async fn a_commit_is_atomic_and_compared(bed: &mut dyn Bed) -> Verdict {
    let store = bed.open().await;
    let first = committed(&*store, vec![put("a", "1"), put("b", "1")]).await?;
    ensure!(get(&*store, "a").await? == Some(("1".into(), first)), "what was put is not there");
    let stale = store
        .commit(transaction(&[("a", Some(first + 1))], vec![put("a", "2"), put("c", "2")]))
        .await;
    ensure!(
        stale == Ok(Commit::Conflict(key("a"))),
        "a compare with another revision came to {stale:?}"
    );
    let absent = store.commit(transaction(&[("a", None)], vec![put("a", "2")])).await;
    ensure!(
        absent == Ok(Commit::Conflict(key("a"))),
        "a compare with absence of what is there came to {absent:?}"
    );
    let half = store
        .commit(transaction(&[("a", Some(first)), ("b", None)], vec![put("a", "2"), put("c", "2")]))
        .await;
    ensure!(
        half == Ok(Commit::Conflict(key("b"))),
        "one compare of two that fails came to {half:?}"
    );
    ensure!(get(&*store, "a").await? == Some(("1".into(), first)), "a conflict changed a key");
    ensure!(get(&*store, "c").await?.is_none(), "a conflict made a key");
    let both = [("a", Some(first)), ("c", None)];
    let second =
        store.commit(transaction(&both, vec![put("a", "2"), Operation::Delete(key("b"))])).await;
    ensure!(second == Ok(Commit::Committed(first + 1)), "compares that hold came to {second:?}");
    ensure!(get(&*store, "a").await? == Some(("2".into(), first + 1)), "a commit left a put out");
    ensure!(get(&*store, "b").await?.is_none(), "a commit left a delete out");
    let empty = store.commit(transaction(&[("b", None)], Vec::new())).await;
    ensure!(
        matches!(empty, Ok(Commit::Committed(_))),
        "a commit without operations came to {empty:?}"
    );
    Ok(())
}

/// Laws 2 and 3: of writers that count up one key together no update is lost, and no revision is
/// given out twice.
pub(crate) async fn no_update_is_lost(bed: &mut dyn Bed) -> Verdict {
    let store = bed.open().await;
    let mut writers = JoinSet::new();
    let all_have_read = Arc::new(Barrier::new(4));
    for _ in 0..4 {
        let (store, all_have_read) = (store.clone(), all_have_read.clone());
        writers.spawn(async move {
            let mut revisions = Vec::new();
            let mut first = true;
            while revisions.len() < 10 {
                let now = get(&*store, "count").await?;
                let (count, revision) = now
                    .map_or((0, None), |(text, revision)| (text.parse().unwrap(), Some(revision)));
                // Every writer has read before any of them writes: in the first round for certain,
                // later most of the time.
                if std::mem::take(&mut first) {
                    all_have_read.wait().await;
                }
                tokio::task::yield_now().await;
                let next: u64 = count + 1;
                let done = store
                    .commit(transaction(
                        &[("count", revision)],
                        vec![put("count", &next.to_string())],
                    ))
                    .await;
                match done.map_err(|error| error.to_string())? {
                    Commit::Committed(revision) => revisions.push(revision),
                    Commit::Conflict(_) => {}
                }
            }
            Ok::<_, String>(revisions)
        });
    }
    let mut revisions: Vec<u64> = Vec::new();
    while let Some(written) = writers.join_next().await {
        revisions.extend(written.unwrap()?);
    }
    let count = get(&*store, "count").await?.map(|(text, _)| text);
    ensure!(count.as_deref() == Some("40"), "40 increments came to {count:?}");
    let all = revisions.len();
    revisions.sort_unstable();
    revisions.dedup();
    ensure!(revisions.len() == all, "a revision was given out twice");
    Ok(())
}

/// Laws 3 and 4: what was answered is there after a crash, and revisions go on.
pub(crate) async fn what_was_answered_survives_a_crash(bed: &mut dyn Bed) -> Verdict {
    let store = bed.open().await;
    let mut last = 0;
    for n in 0..5 {
        last =
            committed(&*store, vec![put("n", &n.to_string()), put(&format!("k{n}"), "x")]).await?;
    }
    committed(&*store, vec![Operation::Delete(key("k0"))]).await?;
    drop(store);
    bed.crash().await;
    let store = bed.open().await;
    ensure!(
        get(&*store, "n").await? == Some(("4".into(), last)),
        "a durable value or its revision is gone"
    );
    ensure!(get(&*store, "k0").await?.is_none(), "a durable delete is gone");
    ensure!(*store.revisions().borrow() == last + 1, "the latest revision is forgotten");
    let next = committed(&*store, vec![put("n", "5")]).await?;
    ensure!(next == last + 2, "revision {next} after {}", last + 1);
    let changes = store.changes(last, 10).await.map_err(|error| error.to_string())?;
    ensure!(
        changes.len() == 2 && changes[0].key == key("k0"),
        "changes before the crash are gone: {changes:?}"
    );
    Ok(())
}

/// Law 5: the answers of one read belong together, and the past can be read.
pub(crate) async fn a_read_is_of_one_instant_and_the_past_stays(bed: &mut dyn Bed) -> Verdict {
    let store = bed.open().await;
    committed(&*store, vec![put("p/1", "a"), put("p/2", "a"), put("q", "a")]).await?;
    let then = committed(&*store, vec![put("p/3", "a"), put("p/1", "b")]).await?;
    let reads = || vec![Read::all(key("p/")), Read::Key(key("q")), Read::Key(key("p/1"))];
    let before = store.read(reads(), None).await.map_err(|error| error.to_string())?;
    ensure!(before.revision == then, "a read is of revision {}, not {then}", before.revision);
    committed(&*store, vec![Operation::Delete(key("p/2")), put("p/1", "c"), put("p/0", "new")])
        .await?;
    committed(&*store, vec![put("p/2", "again"), Operation::Delete(key("q")), put("p/1", "d")])
        .await?;
    let after = store.read(reads(), Some(then)).await.map_err(|error| error.to_string())?;
    ensure!(after == before, "the past changed: {after:?} instead of {before:?}");
    let page = Read::Range { prefix: key("p/"), after: Some(key("p/1")), limit: 1 };
    let page = store.read(vec![page], Some(then)).await.map_err(|error| error.to_string())?;
    let names: Vec<String> = page.answers[0].iter().map(|(key, _)| key.to_string()).collect();
    ensure!(names == ["p/2"], "a page of the past is {names:?}");
    let future = store.read(reads(), Some(then + 100)).await;
    ensure!(
        matches!(future, Err(StoreError::Compacted { .. })),
        "a revision that was never reached came to {future:?}"
    );
    Ok(())
}

/// Law 6: a follower hears of every change once, in order.
pub(crate) async fn a_watch_has_no_gap_and_no_duplicate(bed: &mut dyn Bed) -> Verdict {
    let store = bed.open().await;
    let mut expected: Vec<Change> = Vec::new();
    let mut heard: Vec<Change> = Vec::new();
    let mut shown = store.revisions();
    let mut seen = 0;
    for n in 0..30_u32 {
        let mut operations = vec![put("n", &n.to_string())];
        if n % 3 == 0 {
            operations.push(put(&format!("k{n}"), "x"));
        }
        if n % 5 == 4 {
            operations.push(Operation::Delete(key(&format!("k{}", n - 1))));
        }
        let there = get(&*store, &format!("k{}", n.wrapping_sub(1))).await?.is_some();
        let keys: Vec<Key> = operations
            .iter()
            .filter(|operation| there || !matches!(operation, Operation::Delete(_)))
            .map(|operation| operation.key().clone())
            .collect();
        let revision = committed(&*store, operations).await?;
        expected.extend(keys.into_iter().map(|key| Change { revision, key }));
        ensure!(
            shown.has_changed().unwrap_or(false),
            "revision {revision} is answered and not shown"
        );
        ensure!(
            *shown.borrow_and_update() == revision,
            "another revision than {revision} is shown"
        );
        if n % 4 == 3 {
            let changes = store.changes(seen, 2).await.map_err(|error| error.to_string())?;
            seen = changes.last().map_or(seen, |change| change.revision);
            heard.extend(changes);
        }
    }
    loop {
        let changes = store.changes(seen, 3).await.map_err(|error| error.to_string())?;
        let Some(last) = changes.last() else { break };
        seen = last.revision;
        heard.extend(changes);
    }
    ensure!(heard == expected, "heard {heard:?}, expected {expected:?}");
    Ok(())
}

/// Laws 6 and 7: the last revisions can be asked for, and older ones are refused by name.
pub(crate) async fn what_is_no_longer_kept_is_said(bed: &mut dyn Bed) -> Verdict {
    let store = bed.open().await;
    let mut last = 0;
    for n in 0..KEPT * 2 {
        last =
            committed(&*store, vec![put("n", &n.to_string()), put(&format!("k{n}"), "x")]).await?;
    }
    for early in [0, last - KEPT * 2, last - KEPT - 1] {
        let changes = store.changes(early, 1).await;
        ensure!(
            matches!(changes, Err(StoreError::Compacted { .. })),
            "changes after {early} of {last} came to {changes:?}"
        );
        let read = store.read(vec![Read::Key(key("n"))], Some(early)).await;
        ensure!(
            matches!(read, Err(StoreError::Compacted { .. })),
            "a read at {early} of {last} came to {read:?}"
        );
    }
    let changes =
        store.changes(last - KEPT, usize::MAX).await.map_err(|error| error.to_string())?;
    ensure!(
        changes.len() as u64 == 2 * KEPT,
        "{} changes of the last {KEPT} revisions",
        changes.len()
    );
    let read = store
        .read(vec![Read::Key(key("n"))], Some(last - KEPT))
        .await
        .map_err(|error| error.to_string())?;
    ensure!(
        read.answers[0][0].1.revision == last - KEPT,
        "the oldest kept revision reads as another one"
    );
    Ok(())
}

/// Law 7: what was given up is gone, also after a crash; the present values, and the past since
/// then, are untouched.
pub(crate) async fn what_was_given_up_is_gone_and_the_rest_untouched(bed: &mut dyn Bed) -> Verdict {
    let store = bed.open().await;
    let mut last = 0;
    for n in 0..20 {
        last = committed(&*store, vec![put("n", &n.to_string())]).await?;
    }
    let given_up = last - 5;
    for before in [given_up, given_up - 3] {
        store.compact(before).await.map_err(|error| error.to_string())?;
    }
    drop(store);
    for crashed in [false, true] {
        if crashed {
            bed.crash().await;
        }
        let store = bed.open().await;
        let changes = store.changes(given_up - 1, 1).await;
        ensure!(
            matches!(changes, Err(StoreError::Compacted { .. })),
            "changes given up came to {changes:?}"
        );
        let read = store.read(vec![Read::Key(key("n"))], Some(given_up - 1)).await;
        ensure!(
            matches!(read, Err(StoreError::Compacted { .. })),
            "a read given up came to {read:?}"
        );
        let changes =
            store.changes(given_up, usize::MAX).await.map_err(|error| error.to_string())?;
        ensure!(changes.len() == 5, "{} of the last 5 changes", changes.len());
        let read = store.read(vec![Read::Key(key("n"))], Some(given_up)).await;
        let read = read.map_err(|error| error.to_string())?;
        ensure!(
            read.answers[0][0].1.revision == given_up,
            "the oldest kept revision reads as another one"
        );
        ensure!(get(&*store, "n").await? == Some(("19".into(), last)), "what is now has changed");
    }
    let store = bed.open().await;
    store.compact(last + 100).await.map_err(|error| error.to_string())?;
    let changes = store.changes(last, usize::MAX).await;
    ensure!(changes == Ok(Vec::new()), "changes after the latest came to {changes:?}");
    let next = committed(&*store, vec![put("n", "next")]).await?;
    ensure!(next == last + 1, "revision {next} follows {last}");
    Ok(())
}

/// The limits of the seam: what is over them is refused and not done.
pub(crate) async fn what_is_too_large_is_refused_and_not_done(bed: &mut dyn Bed) -> Verdict {
    let store = bed.open().await;
    let large =
        committed_or(&*store, vec![put("large", &"x".repeat(super::MAX_VALUE_BYTES))]).await;
    ensure!(
        matches!(large, Err(StoreError::TooLarge(_))),
        "a value at the limit came to {large:?}"
    );
    let many = (0..super::MAX_OPERATIONS).map(|n| put(&format!("k{n}"), "x")).collect();
    let many = committed_or(&*store, many).await;
    ensure!(matches!(many, Err(StoreError::TooLarge(_))), "too many operations came to {many:?}");
    let fitting =
        committed_or(&*store, vec![put("large", &"x".repeat(super::MAX_VALUE_BYTES - 1))]).await;
    ensure!(fitting == Ok(Commit::Committed(1)), "a value below the limit came to {fitting:?}");
    Ok(())
}

async fn committed_or(
    store: &dyn Metadata,
    operations: Vec<Operation>,
) -> Result<Commit, StoreError> {
    store.commit(transaction(&[], operations)).await
}

/// A step of a random history.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    operations: Vec<(u8, Option<u8>)>,
    crash: bool,
}

/// Random histories of puts and deletes of a few keys, with crashes.
pub(crate) fn histories() -> impl Strategy<Value = Vec<Step>> {
    let operation = (0..6_u8, proptest::option::weighted(0.7, any::<u8>()));
    let step = (proptest::collection::vec(operation, 1..4), proptest::bool::weighted(0.1));
    proptest::collection::vec(
        step.prop_map(|(operations, crash)| Step { operations, crash }),
        1..25,
    )
}

/// All laws of reading at once: every revision of a random history reads as a plain map says.
pub(crate) async fn every_revision_reads_as_it_was(bed: &mut dyn Bed, history: &[Step]) -> Verdict {
    let mut store = bed.open().await;
    let mut maps: Vec<BTreeMap<Key, Stored>> = vec![BTreeMap::new()];
    for step in history {
        if step.crash {
            drop(store);
            bed.crash().await;
            store = bed.open().await;
        }
        let mut map = maps.last().unwrap().clone();
        let mut operations: BTreeMap<Key, Operation> = BTreeMap::new();
        for (name, value) in &step.operations {
            let key = key(&format!("k/{name}"));
            let operation = match value {
                Some(value) => Operation::Put(key.clone(), Bytes::copy_from_slice(&[*value])),
                None => Operation::Delete(key.clone()),
            };
            operations.insert(key, operation);
        }
        let revision = committed(&*store, operations.values().cloned().collect()).await?;
        ensure!(revision == maps.len() as u64, "revision {revision} after {}", maps.len() - 1);
        for (key, operation) in operations {
            match operation {
                Operation::Put(_, value) => map.insert(key, Stored { value, revision }),
                Operation::Delete(_) => map.remove(&key),
            };
        }
        maps.push(map);
    }
    for (revision, map) in
        maps.iter().enumerate().skip(maps.len().saturating_sub(usize::try_from(KEPT).unwrap()))
    {
        let view = store
            .read(vec![Read::all(key("k/"))], Some(revision as u64))
            .await
            .map_err(|error| error.to_string())?;
        let read: BTreeMap<Key, Stored> = view.answers[0].iter().cloned().collect();
        ensure!(read == *map, "revision {revision} reads {read:?}, it was {map:?}");
        // Asks for the last key up to each of these, which lie among the keys, before all and
        // behind all.
        let untils: Vec<Key> = ["a", "k/", "k/0", "k/3", "k/31", "k/5", "z"].map(key).to_vec();
        let last = |until: &Key| Read::Last { prefix: key("k/"), until: until.clone() };
        let view = store.read(untils.iter().map(last).collect(), Some(revision as u64)).await;
        let view = view.map_err(|error| error.to_string())?;
        for (until, answer) in untils.iter().zip(&view.answers) {
            let was = map.range(..=until.clone()).next_back();
            let was: Vec<_> =
                was.map(|(key, stored)| (key.clone(), stored.clone())).into_iter().collect();
            ensure!(
                *answer == was,
                "at {revision} the last up to {until} is {answer:?}, it was {was:?}"
            );
        }
    }
    Ok(())
}

/// The names of all laws but the random one.
pub(crate) const ALL: [&str; 8] = [
    "a_commit_is_atomic_and_compared",
    "no_update_is_lost",
    "what_was_answered_survives_a_crash",
    "a_read_is_of_one_instant_and_the_past_stays",
    "a_watch_has_no_gap_and_no_duplicate",
    "what_is_no_longer_kept_is_said",
    "what_was_given_up_is_gone_and_the_rest_untouched",
    "what_is_too_large_is_refused_and_not_done",
];

/// The verdict of one law.
pub(crate) async fn judge(law: &str, bed: &mut dyn Bed) -> Verdict {
    match law {
        "a_commit_is_atomic_and_compared" => a_commit_is_atomic_and_compared(bed).await,
        "no_update_is_lost" => no_update_is_lost(bed).await,
        "what_was_answered_survives_a_crash" => what_was_answered_survives_a_crash(bed).await,
        "a_read_is_of_one_instant_and_the_past_stays" => {
            a_read_is_of_one_instant_and_the_past_stays(bed).await
        }
        "a_watch_has_no_gap_and_no_duplicate" => a_watch_has_no_gap_and_no_duplicate(bed).await,
        "what_is_no_longer_kept_is_said" => what_is_no_longer_kept_is_said(bed).await,
        "what_was_given_up_is_gone_and_the_rest_untouched" => {
            what_was_given_up_is_gone_and_the_rest_untouched(bed).await
        }
        "what_is_too_large_is_refused_and_not_done" => {
            what_is_too_large_is_refused_and_not_done(bed).await
        }
        other => panic!("there is no law {other}"),
    }
}

/// The laws as tests of one backend.
macro_rules! laws_hold {
    ($bed:expr) => {
        $crate::store::laws::laws_hold!(@each $bed,
            a_commit_is_atomic_and_compared, no_update_is_lost, what_was_answered_survives_a_crash,
            a_read_is_of_one_instant_and_the_past_stays, a_watch_has_no_gap_and_no_duplicate,
            what_is_no_longer_kept_is_said, what_was_given_up_is_gone_and_the_rest_untouched,
            what_is_too_large_is_refused_and_not_done);

        proptest::proptest! {
            #![proptest_config(proptest::test_runner::Config { cases: 24, ..Default::default() })]
            #[test]
            fn every_revision_reads_as_it_was(history in $crate::store::laws::histories()) {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                let verdict = runtime.block_on($crate::store::laws::every_revision_reads_as_it_was(&mut $bed, &history));
                proptest::prop_assert_eq!(verdict, Ok(()));
            }
        }
    };
    (@each $bed:expr, $($law:ident),*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $law() {
            assert_eq!($crate::store::laws::$law(&mut $bed).await, Ok(()));
        })*
    };
}
pub(crate) use laws_hold;
