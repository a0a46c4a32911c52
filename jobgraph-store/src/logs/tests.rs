#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod at_once;
mod court;
mod due;
mod histories;
mod meeting;
mod two_stores;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chassis::clock::{ManualClock, SystemClock, timeout};
use futures::TryStreamExt as _;
use proto::{api, jobgraph};

use super::*;
use crate::blobs::Blobs as _;
use crate::blobs::memory::MemoryBlobs;
use crate::service::Service;
use crate::service::sample::submitted;
use crate::store::memory::MemoryMetadata;
use crate::store::over::Over;
use crate::store::{Commit, Metadata, Read, StoreError, Transaction, View};

/// A backend that counts the entries that it gives out and the commits that it takes. It takes
/// nothing while its disk is full.
struct Watched {
    inner: Arc<MemoryMetadata>,
    entries: AtomicUsize,
    commits: AtomicUsize,
    is_full: AtomicBool,
}

impl Watched {
    fn over(inner: &Arc<MemoryMetadata>) -> Arc<Self> {
        let (entries, commits) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let is_full = AtomicBool::new(false);
        Arc::new(Self { inner: inner.clone(), entries, commits, is_full })
    }
}

#[async_trait]
impl Over for Watched {
    fn below(&self) -> &dyn Metadata {
        &*self.inner
    }

    async fn read(&self, reads: Vec<Read>, at: Option<u64>) -> Result<View, StoreError> {
        let view = self.inner.read(reads, at).await?;
        self.entries.fetch_add(view.answers.iter().map(Vec::len).sum(), Ordering::Relaxed);
        Ok(view)
    }

    async fn commit(&self, transaction: Transaction) -> Result<Commit, StoreError> {
        if self.is_full.load(Ordering::Relaxed) {
            return Err(StoreError::Full("no room".into()));
        }
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.inner.commit(transaction).await
    }
}

struct Bench {
    service: Service,
    blobs: MemoryBlobs,
    metadata: Arc<MemoryMetadata>,
    clock: Arc<ManualClock>,
    application: ApplicationRef,
}

async fn bench(kept_bytes: u64) -> Bench {
    let (metadata, blobs, clock) =
        (Arc::new(MemoryMetadata::default()), MemoryBlobs::default(), Arc::new(ManualClock::new()));
    let mut service = Service::new(metadata.clone(), Arc::new(blobs.clone()), clock.clone());
    service.logs = Logs::keeping(kept_bytes);
    let application = submitted(&service, "logs").await;
    Bench { service, blobs, metadata, clock, application }
}

fn main_of(number: u64) -> jobgraph::LogSource {
    jobgraph::LogSource { role: "main".into(), number, ..Default::default() }
}

fn chunk(next_offset: u64, text: &str) -> jobgraph::OutputChunk {
    let data = Bytes::copy_from_slice(text.as_bytes());
    jobgraph::OutputChunk {
        next_offset,
        stream: "stdout".into(),
        data,
        unix_nanos: 1,
        lost_before: 0,
    }
}

async fn read(service: &Service, after: &str) -> Vec<api::LogLine> {
    let id = "logs".parse().unwrap();
    let batches: Vec<_> = service
        .read_logs(&id, 0, after, LogFilter::default())
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    batches.concat()
}

#[tokio::test]
async fn the_oldest_output_makes_room_and_what_was_dropped_is_said() {
    let bench = bench(40_000).await;
    let (appender, _) = bench.service.append_logs(&bench.application, &main_of(1)).await.unwrap();
    let mut written = 0;
    for n in 0..100_u64 {
        let line = format!("{n:04} {}\n", "x".repeat(994));
        written += line.len() as u64 - 1;
        let mut chunk = chunk((n + 1) * 1000, &line);
        if n == 3 {
            // These bytes were lost before the chunk came; the line that tells of them is dropped
            // later.
            chunk.lost_before = 5000;
            written += 5000;
        }
        appender.take(&[chunk], false).await.unwrap();
        appender.flush().await.unwrap();
    }
    appender.take(&[], true).await.unwrap();
    assert!(bench.blobs.list().await.unwrap().len() <= 41, "payloads of dropped lines are kept");
    appender.finish().await.unwrap();
    let lines = read(&bench.service, "").await;
    assert!(lines.len() < 45 && lines.len() > 30, "{} lines are kept", lines.len());
    assert!(lines.last().unwrap().text.starts_with(b"0099"));
    let kept: u64 = lines.iter().map(|line| line.text.len() as u64).sum();
    let lost: u64 = lines.iter().map(|line| line.lost_before).sum();
    assert_eq!(
        (lines[0].lost_before, kept + lost),
        (lost, written),
        "every byte is there or said to be lost"
    );
    // A reader that stood among the dropped lines is told as well; a reader beyond them is not.
    assert_eq!(read(&bench.service, "5").await[0].lost_before, lost);
    assert_eq!(read(&bench.service, &lines[0].cursor).await[0].lost_before, 0);
}

#[tokio::test]
async fn empty_lines_take_room_too() {
    let bench = bench(40_000).await;
    let (appender, _) = bench.service.append_logs(&bench.application, &main_of(1)).await.unwrap();
    for n in 0..40_u64 {
        appender.take(&[chunk((n + 1) * 1000, &"\n".repeat(1000))], false).await.unwrap();
        appender.flush().await.unwrap();
    }
    appender.finish().await.unwrap();
    assert!(read(&bench.service, "").await.len() < 40_000);
}

#[tokio::test]
async fn lines_become_durable_by_themselves_after_a_while_and_survive_the_process() {
    let bench = bench(KEPT_BYTES).await;
    let (mut appender, offset) =
        bench.service.append_logs(&bench.application, &main_of(1)).await.unwrap();
    assert_eq!(offset, 0);
    appender.take(&[chunk(4, "one\n"), chunk(12, "two\nhalf")], false).await.unwrap();
    assert_eq!(appender.acknowledged(), 0);
    let durable = tokio::spawn(async move {
        appender.durable().await.unwrap();
        appender
    });
    bench.clock.wait_for_sleepers(1).await;
    bench.clock.advance(Duration::from_secs(5));
    let appender = durable.await.unwrap();
    assert_eq!(appender.acknowledged(), 4, "the half line is not acknowledged");
    // The process is gone with what was in its memory; another process goes on.
    drop(appender);
    let again =
        Service::new(bench.metadata.clone(), Arc::new(bench.blobs.clone()), bench.clock.clone());
    let (appender, offset) = again.append_logs(&bench.application, &main_of(1)).await.unwrap();
    assert_eq!(offset, 4);
    appender.take(&[chunk(12, "two\nhalf"), chunk(13, "\n")], true).await.unwrap();
    appender.finish().await.unwrap();
    let lines = read(&again, "").await;
    let texts: Vec<&[u8]> = lines.iter().map(|line| &line.text[..]).collect();
    assert_eq!(texts, [&b"one"[..], b"two", b"half"]);
    let (_, offset) = again.append_logs(&bench.application, &main_of(1)).await.unwrap();
    assert_eq!(offset, 13);
}

#[tokio::test]
async fn a_cursor_in_the_middle_of_anything_goes_on_with_the_next_line() {
    let bench = bench(KEPT_BYTES).await;
    for (number, lines) in [(1, ["a", "b", "c"]), (2, ["d", "e", "f"]), (3, ["g", "h", "i"])] {
        let (appender, _) =
            bench.service.append_logs(&bench.application, &main_of(number)).await.unwrap();
        for (n, line) in (1..).zip(lines) {
            appender.take(&[chunk(2 * n, &format!("{line}\n"))], n == 3).await.unwrap();
        }
        appender.finish().await.unwrap();
    }
    // The lines are read from memory, and from payloads alone.
    for service in [
        &bench.service,
        &Service::new(bench.metadata.clone(), Arc::new(bench.blobs.clone()), bench.clock.clone()),
    ] {
        for after in 0..=9_u8 {
            let lines = read(service, &format!("{after:x}")).await;
            let texts: Vec<u8> = lines.iter().map(|line| line.text[0]).collect();
            assert_eq!(texts, (b'a' + after..=b'i').collect::<Vec<u8>>(), "after {after}");
        }
    }
}

/// What a reader of main()'s output gets, as text, and the cursor at which the reader stands then.
async fn of_main(service: &Service, after: &str) -> (Vec<String>, String) {
    let id = "logs".parse().unwrap();
    let filter = LogFilter { roles: vec!["main".into()], ..LogFilter::default() };
    let batches: Vec<_> =
        service.read_logs(&id, 0, after, filter).await.unwrap().try_collect().await.unwrap();
    let lines = batches.concat();
    let cursor = lines.last().map_or(after.to_owned(), |line| line.cursor.clone());
    (lines.iter().map(|line| String::from_utf8(line.text.to_vec()).unwrap()).collect(), cursor)
}

#[tokio::test]
async fn a_reader_misses_and_repeats_nothing_although_the_store_dies_and_lines_come_in_another_order()
 {
    let bench = bench(KEPT_BYTES).await;
    let worker = jobgraph::LogSource { role: "worker".into(), number: 1, ..Default::default() };
    let said: Vec<String> = (0..40).map(|n| format!("{n:03}\n")).collect();
    let upto = |count: usize| chunk(4 * count as u64, &said[..count].concat());
    let (mut service, mut cursor, mut shown) = (bench.service.clone(), String::new(), Vec::new());
    // In each life of the store the shippers of main() and of a worker come in turns, and the
    // worker's has more to say.
    for life in 1..=10_usize {
        let (main, from) = service.append_logs(&bench.application, &main_of(1)).await.unwrap();
        let (other, others_from) = service.append_logs(&bench.application, &worker).await.unwrap();
        let (skip, others_skip) =
            (usize::try_from(from).unwrap(), usize::try_from(others_from).unwrap());
        let first = upto(2 * life);
        let mains = jobgraph::OutputChunk { data: first.data.slice(skip..), ..first };
        let words = upto(3 * life);
        let others = jobgraph::OutputChunk { data: words.data.slice(others_skip..), ..words };
        if life % 2 == 0 {
            other.take(&[others], false).await.unwrap();
            main.take(&[mains], false).await.unwrap();
        } else {
            main.take(&[mains], false).await.unwrap();
            other.take(&[others], false).await.unwrap();
        }
        let new;
        (new, cursor) = of_main(&service, &cursor).await;
        shown.extend(new);
        if life % 3 == 0 {
            main.flush().await.unwrap();
        }
        // The process is gone with what was in its memory.
        service = Service::new(
            bench.metadata.clone(),
            Arc::new(bench.blobs.clone()),
            bench.clock.clone(),
        );
    }
    let said: Vec<&str> = said[..20].iter().map(|line| line.trim_end()).collect();
    assert_eq!(shown, said);
}

#[tokio::test]
async fn a_stream_that_says_a_word_now_and_then_makes_a_few_keys_and_payloads() {
    let bench = bench(KEPT_BYTES).await;
    let (appender, _) = bench.service.append_logs(&bench.application, &main_of(1)).await.unwrap();
    let line = |n: u64| format!("{n:05} {}", "x".repeat(93));
    for n in 0..2000 {
        appender.take(&[chunk((n + 1) * 100, &format!("{}\n", line(n)))], false).await.unwrap();
        appender.flush().await.unwrap();
        let payloads = bench.blobs.list().await.unwrap().len();
        assert!(n >= 50 || payloads == 0, "{payloads} payloads for {n} lines");
    }
    let chunks = bench.service.known_chunks(&bench.application).await.unwrap().chunks;
    assert!(chunks.len() < 60, "{} chunks", chunks.len());
    assert!(bench.blobs.list().await.unwrap().len() < 20);
    appender.finish().await.unwrap();
    // The reader is a service that has nothing in memory.
    let again =
        Service::new(bench.metadata.clone(), Arc::new(bench.blobs.clone()), bench.clock.clone());
    for after in [0, 1, 15, 16, 700, 1203, 1999] {
        let lines = read(&again, &format!("{after:x}")).await;
        assert_eq!(lines.len(), 2000 - after, "after {after}");
        let first = String::from_utf8(lines[0].text.to_vec()).unwrap();
        assert_eq!(first, line(after as u64), "after {after}");
    }
}

#[tokio::test]
async fn a_reader_within_a_chunk_reads_no_other_chunks_to_find_it() {
    let bench = bench(KEPT_BYTES).await;
    let (appender, _) = bench.service.append_logs(&bench.application, &main_of(1)).await.unwrap();
    // Each chunk is too large to be merged with others.
    let lines = format!("{}\n", "x".repeat(999)).repeat(70);
    for n in 1..=60 {
        appender.take(&[chunk(n * 70_000, &lines)], false).await.unwrap();
        appender.flush().await.unwrap();
    }
    appender.finish().await.unwrap();
    let chunks = bench.service.known_chunks(&bench.application).await.unwrap().chunks;
    assert_eq!(chunks.len(), 60);
    let metadata = Watched::over(&bench.metadata);
    let again = Service::new(metadata.clone(), Arc::new(bench.blobs.clone()), bench.clock.clone());
    // The reader begins in the middle of the last chunk but one.
    assert_eq!(read(&again, &format!("{:x}", 58 * 70 + 35)).await.len(), 35 + 70);
    let entries = metadata.entries.load(Ordering::Relaxed);
    assert!(entries < 50, "{entries} entries were read for two chunks");
}

#[tokio::test]
async fn what_a_full_disk_did_not_take_is_tried_again_by_itself_and_dropped_with_its_stream() {
    let bench = bench(KEPT_BYTES).await;
    let metadata = Watched::over(&bench.metadata);
    let service =
        Service::new(metadata.clone(), Arc::new(bench.blobs.clone()), bench.clock.clone());
    let (mut appender, _) = service.append_logs(&bench.application, &main_of(1)).await.unwrap();
    appender.take(&[chunk(4, "one\n")], false).await.unwrap();
    metadata.is_full.store(true, Ordering::Relaxed);
    appender.flush().await.unwrap_err();
    metadata.is_full.store(false, Ordering::Relaxed);
    // No other line comes.
    let durable = tokio::spawn(async move {
        appender.durable().await.unwrap();
        appender
    });
    for _ in 0..1000 {
        bench.clock.advance(Duration::from_secs(5));
        tokio::task::yield_now().await;
    }
    assert!(durable.is_finished(), "it waits for another line");
    let appender = durable.await.unwrap();
    assert_eq!(appender.acknowledged(), 4);

    appender.take(&[chunk(8, "two\n")], false).await.unwrap();
    metadata.is_full.store(true, Ordering::Relaxed);
    appender.finish().await.unwrap_err();
    assert!(service.logs.get(&bench.application).is_none(), "it stays in memory for good");
    metadata.is_full.store(false, Ordering::Relaxed);
    let (_, offset) = service.append_logs(&bench.application, &main_of(1)).await.unwrap();
    assert_eq!(offset, 4, "its shipper brings it again");
}
