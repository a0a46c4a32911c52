//! The laws of reading and watching: what the past says, and how far back it goes.

use super::{Bed, KEPT, Verdict, committed, ensure, get, key, put, shown};
use crate::store::{Change, Key, Operation, Read, StoreError};

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
        shown(&*store, revision).await?;
        ensure!(
            *store.revisions().borrow() == revision,
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
    shown(&*store, last).await?;
    let early =
        if bed.keeps_a_number() { vec![0, last - KEPT * 2, last - KEPT - 1] } else { vec![] };
    for early in early {
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
    let latest = *store.revisions().borrow();
    let changes = store.changes(latest, usize::MAX).await;
    ensure!(changes == Ok(Vec::new()), "changes after the latest came to {changes:?}");
    let next = committed(&*store, vec![put("n", "next")]).await?;
    ensure!(next > latest, "revision {next} follows {latest}");
    Ok(())
}
