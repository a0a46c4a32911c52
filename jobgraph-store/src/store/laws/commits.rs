//! The laws of writing: whole or not at all, compared, durable, bounded.

use std::sync::Arc;

use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::{Bed, Verdict, committed, ensure, get, key, put, shown, transaction};
use crate::store::{
    Commit, MAX_OPERATIONS, MAX_TRANSACTION_BYTES, MAX_VALUE_BYTES, Metadata, Operation, StoreError,
};

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
    let Ok(Commit::Committed(second)) = second else {
        return Err(format!("compares that hold came to {second:?}"));
    };
    ensure!(second > first, "revision {second} after {first}");
    ensure!(get(&*store, "a").await? == Some(("2".into(), second)), "a commit left a put out");
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
    let deleted = committed(&*store, vec![Operation::Delete(key("k0"))]).await?;
    drop(store);
    bed.crash().await;
    let store = bed.open().await;
    ensure!(
        get(&*store, "n").await? == Some(("4".into(), last)),
        "a durable value or its revision is gone"
    );
    ensure!(get(&*store, "k0").await?.is_none(), "a durable delete is gone");
    ensure!(*store.revisions().borrow() >= deleted, "the latest revision is forgotten");
    let next = committed(&*store, vec![put("n", "5")]).await?;
    ensure!(next > deleted, "revision {next} after {deleted}");
    shown(&*store, next).await?;
    let changes = store.changes(last, 10).await.map_err(|error| error.to_string())?;
    ensure!(
        changes.len() == 2 && changes[0].key == key("k0"),
        "changes before the crash are gone: {changes:?}"
    );
    Ok(())
}

/// The limits of the seam: what is over them is refused and not done.
pub(crate) async fn what_is_too_large_is_refused_and_not_done(bed: &mut dyn Bed) -> Verdict {
    let store = bed.open().await;
    let large = committed_or(&*store, vec![put("large", &"x".repeat(MAX_VALUE_BYTES))]).await;
    ensure!(
        matches!(large, Err(StoreError::TooLarge(_))),
        "a value at the limit came to {large:?}"
    );
    let many = (0..MAX_OPERATIONS).map(|n| put(&format!("k{n}"), "x")).collect();
    let many = committed_or(&*store, many).await;
    ensure!(matches!(many, Err(StoreError::TooLarge(_))), "too many operations came to {many:?}");
    let largest = "x".repeat(MAX_VALUE_BYTES - 1);
    let values = |count: usize| (0..count).map(|n| put(&format!("v{n}"), &largest)).collect();
    let fitting = MAX_TRANSACTION_BYTES / largest.len();
    let heavy = committed_or(&*store, values(fitting + 1)).await;
    ensure!(matches!(heavy, Err(StoreError::TooLarge(_))), "too many bytes came to {heavy:?}");
    for key in ["large", "k0", "v0"] {
        ensure!(get(&*store, key).await?.is_none(), "what was refused has put {key}");
    }
    let done = committed_or(&*store, values(fitting)).await;
    ensure!(matches!(done, Ok(Commit::Committed(_))), "as much as may be came to {done:?}");
    Ok(())
}

async fn committed_or(
    store: &dyn Metadata,
    operations: Vec<Operation>,
) -> Result<Commit, StoreError> {
    store.commit(transaction(&[], operations)).await
}
