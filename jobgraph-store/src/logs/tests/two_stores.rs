//! Two stores with one record: the output of one application, whose processes are on two hosts.

use std::pin::pin;
use std::sync::atomic::AtomicU64;

use ::record::{ApplicationEnd, Holder, Record as _};
use futures::future::join;
use futures::{Stream, StreamExt as _};
use proto::{Epoch, EpochFence};

use super::court::{Breaking, Court, Holding, shown, soon, text, worker};
use super::*;
use crate::error::Error;
use crate::keys::payload;
use crate::store::Change;

#[tokio::test]
async fn stores_that_write_at_the_same_time_overwrite_no_line_of_each_other() {
    let court = Court::new().await;
    let holding = Holding::over(&court.metadata);
    let (left, right) = (court.store_over(holding.clone()), court.store());
    let (at_left, _) = left.append_logs(&court.application, &main_of(1)).await.unwrap();
    let (at_right, _) = right.append_logs(&court.application, &worker()).await.unwrap();
    at_left.take(&[chunk(3, "l1\n")], false).await.unwrap();
    at_right.take(&[chunk(6, "r1\nr2\n")], false).await.unwrap();
    // Each store has a line 1 of its own, which it shows at once.
    let (seen, cursor) = shown(&left, "").await;
    assert_eq!(seen, ["l1"]);
    holding.hold(true);
    let right_is_first = async {
        holding.has_held(1).await;
        at_right.flush().await.unwrap();
        holding.hold(false);
    };
    soon(join(at_left.flush(), right_is_first)).await.0.unwrap();
    assert_eq!((at_left.acknowledged(), at_right.acknowledged()), (3, 6));
    for store in [&left, &right, &court.store()] {
        assert_eq!(shown(store, "").await.0, ["r1", "r2", "l1"]);
        assert_eq!(shown(store, &cursor).await.0, ["r1", "r2"], "l1 was shown before");
    }
}

#[tokio::test]
async fn a_chunk_whose_commit_was_not_heard_of_is_not_written_twice() {
    let court = Court::new().await;
    let breaking = Breaking::over(&court.metadata);
    let store = court.store_over(breaking.clone());
    let (appender, _) = store.append_logs(&court.application, &main_of(1)).await.unwrap();
    appender.take(&[chunk(8, "one\ntwo\n")], false).await.unwrap();
    let (seen, cursor) = shown(&store, "").await;
    assert_eq!(seen, ["one", "two"]);
    breaking.breaks.store(true, Ordering::Relaxed);
    assert!(matches!(appender.flush().await, Err(Error::Unknown(_))));
    appender.take(&[chunk(14, "three\n")], false).await.unwrap();
    assert_eq!(shown(&store, &cursor).await.0, ["three"]);
    appender.flush().await.unwrap();
    assert_eq!(appender.acknowledged(), 14);
    for store in [&store, &court.store()] {
        assert_eq!(shown(store, "").await.0, ["one", "two", "three"]);
        assert_eq!(shown(store, &cursor).await.0, ["three"]);
    }
}

#[tokio::test]
async fn a_source_that_went_to_another_store_and_comes_back_goes_on_where_it_is_by_then() {
    let court = Court::new().await;
    let (left, right) = (court.store(), court.store());
    let (first, _) = left.append_logs(&court.application, &main_of(1)).await.unwrap();
    first.take(&[chunk(4, "one\n")], false).await.unwrap();
    first.flush().await.unwrap();
    first.take(&[chunk(8, "two\n")], false).await.unwrap();
    // The left store has not noticed yet that its stream is broken.
    let (second, from) = right.append_logs(&court.application, &main_of(1)).await.unwrap();
    assert_eq!(from, 4);
    second.take(&[chunk(14, "two\nthree\n")], false).await.unwrap();
    second.flush().await.unwrap();
    assert_eq!(second.acknowledged(), 14);
    let (third, from) = left.append_logs(&court.application, &main_of(1)).await.unwrap();
    assert_eq!(from, 14, "what was acknowledged may be gone where it came from");
    third.take(&[chunk(19, "four\n")], false).await.unwrap();
    assert!(!first.take(&[chunk(19, "four\n")], false).await.unwrap());
    third.flush().await.unwrap();
    for store in [&left, &right, &court.store()] {
        assert_eq!(shown(store, "").await.0, ["one", "two", "three", "four"]);
    }
}

#[tokio::test]
async fn of_two_streams_of_a_source_at_two_stores_each_line_is_kept_once() {
    let court = Court::new().await;
    let (left, right) = (court.store(), court.store());
    let (at_left, _) = left.append_logs(&court.application, &main_of(1)).await.unwrap();
    let (at_right, _) = right.append_logs(&court.application, &main_of(1)).await.unwrap();
    let said: String = (0..40).map(|n| format!("{n:03}\n")).collect();
    let part = |from: usize, to: usize| {
        let to = to.min(said.len());
        chunk(to as u64, &said[from.min(to)..to])
    };
    for n in 1..=23 {
        at_left.take(&[part(7 * n - 7, 7 * n)], false).await.unwrap();
        at_right.take(&[part(11 * n - 11, 11 * n)], false).await.unwrap();
        if n % 2 == 0 {
            at_left.flush().await.unwrap();
        }
        if n % 3 == 0 {
            at_right.flush().await.unwrap();
        }
    }
    for appender in [at_left, at_right] {
        appender.take(&[], true).await.unwrap();
        appender.finish().await.unwrap();
    }
    let said: Vec<&str> = said.lines().collect();
    for store in [&left, &right, &court.store()] {
        assert_eq!(shown(store, "").await.0, said);
    }
}

#[tokio::test]
async fn chunks_that_two_stores_wrote_in_turns_are_merged_without_a_gap() {
    let court = Court::new().await;
    let (left, right) = (court.store(), court.store());
    let (at_left, _) = left.append_logs(&court.application, &main_of(1)).await.unwrap();
    let (at_right, _) = right.append_logs(&court.application, &worker()).await.unwrap();
    let mut said = Vec::new();
    for n in 1..=150_u64 {
        for (appender, name) in [(&at_left, 'l'), (&at_right, 'r')] {
            let line = format!("{name}{n:03}");
            appender.take(&[chunk(5 * n, &format!("{line}\n"))], false).await.unwrap();
            appender.flush().await.unwrap();
            said.push(line);
        }
    }
    let chunks = left.known_chunks(&court.application).await.unwrap().chunks;
    assert!(chunks.len() < 60, "{} chunks", chunks.len());
    for store in [&left, &right, &court.store()] {
        assert_eq!(shown(store, "").await.0, said);
        for after in [1, 16, 31, 33, 200, 299] {
            assert_eq!(shown(store, &format!("{after:x}")).await.0, said[after..], "after {after}");
        }
    }
}

#[tokio::test]
async fn the_oldest_output_is_dropped_once_although_two_stores_make_room_at_the_same_time() {
    let court = Court::new().await;
    let holding = Holding::over(&court.metadata);
    let [left, right] = [court.store_over(holding.clone()), court.store()].map(|mut store| {
        store.logs = Logs::keeping(40_000);
        store
    });
    let (at_left, _) = left.append_logs(&court.application, &main_of(1)).await.unwrap();
    let (at_right, _) = right.append_logs(&court.application, &worker()).await.unwrap();
    let mut written = 0;
    for n in 1..=50_u64 {
        for appender in [&at_left, &at_right] {
            let line = format!("{n:04} {}\n", "x".repeat(994));
            written += line.len() as u64 - 1;
            appender.take(&[chunk(n * 1000, &line)], false).await.unwrap();
        }
        holding.hold(true);
        let right_is_first = async {
            holding.has_held(usize::try_from(n).unwrap()).await;
            at_right.flush().await.unwrap();
            holding.hold(false);
        };
        soon(join(at_left.flush(), right_is_first)).await.0.unwrap();
    }
    let lines = read(&court.store(), "").await;
    assert!(lines.len() < 45 && lines.len() > 30, "{} lines are kept", lines.len());
    let kept: u64 = lines.iter().map(|line| line.text.len() as u64).sum();
    let lost: u64 = lines.iter().map(|line| line.lost_before).sum();
    assert_eq!(kept + lost, written, "every byte is there or said to be lost");
}

/// The next lines of a follower, so many.
async fn next(
    following: &mut (impl Stream<Item = Result<Vec<api::LogLine>, Error>> + Unpin),
    count: usize,
) -> Vec<String> {
    let mut lines = Vec::new();
    while lines.len() < count {
        let batch = soon(following.next()).await.expect("the follower goes on").unwrap();
        lines.extend(batch.iter().map(text));
    }
    lines
}

#[tokio::test]
async fn a_follower_at_another_store_is_shown_each_line_once_and_all_before_the_end() {
    let court = Court::new().await;
    let (left, right) = (court.store(), court.store());
    let (at_left, _) = left.append_logs(&court.application, &main_of(1)).await.unwrap();
    let (at_right, _) = right.append_logs(&court.application, &worker()).await.unwrap();
    let filter = LogFilter { follow: true, ..LogFilter::default() };
    let following = right.read_logs(&court.application.id, 0, "", filter).await.unwrap();
    let mut following = pin!(following);
    for n in 1..=5_u64 {
        at_left.take(&[chunk(3 * n, &format!("l{n}\n"))], false).await.unwrap();
        at_left.flush().await.unwrap();
        assert_eq!(next(&mut following, 1).await, [format!("l{n}")]);
        at_right.take(&[chunk(3 * n, &format!("r{n}\n"))], false).await.unwrap();
        assert_eq!(next(&mut following, 1).await, [format!("r{n}")]);
        if n % 2 == 0 {
            at_right.flush().await.unwrap();
        }
    }
    at_left.take(&[chunk(25, "last words")], true).await.unwrap();
    let fence = EpochFence { application: court.application.clone(), epoch: Epoch(1) };
    left.begin_attempt(&fence, &Holder::new("runner-0", 1), "").await.unwrap();
    let end = ApplicationEnd::new(api::Outcome::Failed, "MAIN_EXITED", "main() exited with 3");
    left.end(&fence, end, 0).await.unwrap();
    left.mark_clean(&fence, Vec::new()).await.unwrap();
    let rest: Vec<_> = soon(following.try_collect()).await.unwrap();
    assert_eq!(rest.concat().iter().map(text).collect::<Vec<_>>(), ["last words"]);
}

#[tokio::test]
async fn a_reader_who_comes_from_another_store_misses_no_line_that_is_not_durable_here() {
    let court = Court::new().await;
    let (left, right) = (court.store(), court.store());
    let (at_left, _) = left.append_logs(&court.application, &main_of(1)).await.unwrap();
    let (at_right, _) = right.append_logs(&court.application, &worker()).await.unwrap();
    at_left.take(&[chunk(9, "l1\nl2\nl3\n")], false).await.unwrap();
    at_left.flush().await.unwrap();
    at_right.take(&[chunk(15, "r1\nr2\nr3\nr4\nr5\n")], false).await.unwrap();
    let (seen, cursor) = shown(&left, "").await;
    assert_eq!(seen, ["l1", "l2", "l3"]);
    let (seen, cursor) = shown(&right, &cursor).await;
    assert_eq!(seen, ["r1", "r2", "r3", "r4", "r5"]);
    at_right.flush().await.unwrap();
    for store in [&left, &right] {
        assert_eq!(shown(store, &cursor).await.0, [""; 0]);
    }
}

/// A backend that shows no later revision than the one it was opened at, as that of a store does
/// whose watch lags.
struct Lagging {
    inner: Arc<MemoryMetadata>,
    shown: watch::Sender<u64>,
}

#[async_trait]
impl Metadata for Lagging {
    async fn read(&self, reads: Vec<Read>, at: Option<u64>) -> Result<View, StoreError> {
        self.inner.read(reads, at).await
    }

    async fn commit(&self, transaction: Transaction) -> Result<Commit, StoreError> {
        self.inner.commit(transaction).await
    }

    async fn changes(&self, after: u64, limit: usize) -> Result<Vec<Change>, StoreError> {
        self.inner.changes(after, limit).await
    }

    async fn compact(&self, before: u64) -> Result<(), StoreError> {
        self.inner.compact(before).await
    }

    fn revisions(&self) -> watch::Receiver<u64> {
        self.shown.subscribe()
    }
}

#[tokio::test]
async fn a_follower_is_shown_what_a_source_said_at_another_store_before_what_it_says_here() {
    let court = Court::new().await;
    let shown = watch::Sender::new(*court.metadata.revisions().borrow());
    let lagging = Lagging { inner: court.metadata.clone(), shown };
    let (left, right) = (court.store(), court.store_over(Arc::new(lagging)));
    let filter = LogFilter { follow: true, ..LogFilter::default() };
    let following = right.read_logs(&court.application.id, 0, "", filter).await.unwrap();
    let mut following = pin!(following);
    for _ in 0..10 {
        assert!(futures::poll!(following.next()).is_pending());
        tokio::task::yield_now().await;
    }
    assert!(right.logs.get(&court.application).is_some(), "the follower has opened the log");
    let (at_left, _) = left.append_logs(&court.application, &main_of(1)).await.unwrap();
    at_left.take(&[chunk(4, "one\n")], false).await.unwrap();
    at_left.flush().await.unwrap();
    let (at_right, from) = right.append_logs(&court.application, &main_of(1)).await.unwrap();
    assert_eq!(from, 4);
    at_right.take(&[chunk(8, "two\n")], false).await.unwrap();
    assert_eq!(next(&mut following, 2).await, ["one", "two"]);
}

/// A backend of a store whose payloads take long: each time the store turns to one, another store
/// writes a line.
struct Overtaken {
    inner: Arc<MemoryMetadata>,
    other: Appender,
    lines: AtomicU64,
}

#[async_trait]
impl Over for Overtaken {
    fn below(&self) -> &dyn Metadata {
        &*self.inner
    }

    async fn read(&self, reads: Vec<Read>, at: Option<u64>) -> Result<View, StoreError> {
        let is_of_a_payload =
            |read: &Read| matches!(read, Read::Key(key) if key.strip(&payload::prefix()).is_some());
        if reads.iter().any(is_of_a_payload) {
            let n = self.lines.fetch_add(1, Ordering::Relaxed) + 1;
            self.other.take(&[chunk(2 * n, "x\n")], false).await.unwrap();
            self.other.flush().await.unwrap();
        }
        self.inner.read(reads, at).await
    }
}

#[tokio::test]
async fn a_store_whose_payloads_take_long_comes_to_its_turn_beside_one_that_always_writes() {
    let court = Court::new().await;
    let other = court.store();
    let (appender, _) = other.append_logs(&court.application, &worker()).await.unwrap();
    let overtaken =
        Overtaken { inner: court.metadata.clone(), other: appender, lines: AtomicU64::new(0) };
    let overtaken = Arc::new(overtaken);
    let slow = court.store_over(overtaken.clone());
    let (appender, _) = slow.append_logs(&court.application, &main_of(1)).await.unwrap();
    let long = "y".repeat(20_000);
    appender.take(&[chunk(20_001, &format!("{long}\n"))], false).await.unwrap();
    soon(appender.flush()).await.unwrap();
    assert_eq!(appender.acknowledged(), 20_001);
    let others = usize::try_from(overtaken.lines.load(Ordering::Relaxed)).unwrap();
    assert!(others > 0, "no other store wrote meanwhile");
    let said = [vec!["x".to_owned(); others], vec![long]].concat();
    for store in [&slow, &other, &court.store()] {
        assert_eq!(shown(store, "").await.0, said);
    }
}
