//! When lines become durable by themselves, and what that costs.

use futures::future::join;

use super::court::{Court, Holding, soon, worker};
use super::*;

/// How many commits a minute costs in which a process prints ten lines a second.
async fn commits_in_a_minute(is_shared: bool) -> usize {
    let bench = bench(KEPT_BYTES).await;
    let metadata = Watched::over(&bench.metadata);
    let service =
        Service::new(metadata.clone(), Arc::new(bench.blobs.clone()), bench.clock.clone());
    let service = if is_shared { service.shared() } else { service };
    let (mut appender, _) = service.append_logs(&bench.application, &main_of(1)).await.unwrap();
    for n in 1..=600_u64 {
        appender.take(&[chunk(5 * n, &format!("{n:04}\n"))], false).await.unwrap();
        bench.clock.advance(Duration::from_millis(100));
        // The next line comes before the wait is over, as it does on the wire.
        for _ in 0..10 {
            let _ = futures::poll!(std::pin::pin!(appender.durable()));
            tokio::task::yield_now().await;
        }
    }
    let commits = metadata.commits.load(Ordering::Relaxed);
    appender.finish().await.unwrap();
    commits
}

#[tokio::test]
async fn output_costs_a_commit_a_second_where_stores_share_a_record_and_less_where_they_do_not() {
    let (shared, alone) = (commits_in_a_minute(true).await, commits_in_a_minute(false).await);
    assert!((50..=66).contains(&shared), "{shared} commits in a minute");
    assert!((10..=14).contains(&alone), "{alone} commits in a minute");
}

#[tokio::test]
async fn a_chunk_that_is_being_written_is_not_given_up_for_the_next_message() {
    let court = Court::new().await;
    let holding = Holding::over(&court.metadata);
    let mut store = court.store_over(holding.clone());
    let clock = Arc::new(ManualClock::new());
    store.clock = clock.clone();
    let (mut appender, _) = store.append_logs(&court.application, &main_of(1)).await.unwrap();
    appender.take(&[chunk(4, "one\n")], false).await.unwrap();
    holding.hold(true);
    clock.advance(Duration::from_secs(5));
    soon(async {
        tokio::select! {
            durable = appender.durable() => panic!("the commit is held, and came to {durable:?}"),
            () = holding.has_held(1) => {}
        }
    })
    .await;
    // A message comes, and the record is slow.
    appender.take(&[chunk(8, "two\n")], false).await.unwrap();
    holding.hold(false);
    soon(async {
        while appender.acknowledged() < 4 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    settled().await;
    assert_eq!(appender.acknowledged(), 4, "a line that came meanwhile waits for its own time");
    soon(appender.finish()).await.unwrap();
}

/// Lets all tasks come as far as they can.
async fn settled() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn streams_whose_lines_are_due_together_make_one_chunk_of_them() {
    let court = Court::new().await;
    let holding = Holding::over(&court.metadata);
    let mut store = court.store_over(holding.clone());
    let clock = Arc::new(ManualClock::new());
    store.clock = clock.clone();
    let (mut first, _) = store.append_logs(&court.application, &main_of(1)).await.unwrap();
    let (mut second, _) = store.append_logs(&court.application, &worker()).await.unwrap();
    first.take(&[chunk(4, "one\n")], false).await.unwrap();
    second.take(&[chunk(4, "uno\n")], false).await.unwrap();
    holding.hold(true);
    clock.advance(Duration::from_secs(5));
    {
        let mut both = std::pin::pin!(join(first.durable(), second.durable()));
        for _ in 0..10 {
            assert!(futures::poll!(&mut both).is_pending());
            tokio::task::yield_now().await;
        }
    }
    soon(holding.has_held(1)).await;
    first.take(&[chunk(8, "two\n")], false).await.unwrap();
    holding.hold(false);
    settled().await;
    assert_eq!((first.acknowledged(), second.acknowledged()), (4, 4));
    soon(join(first.finish(), second.finish())).await.0.unwrap();
}
