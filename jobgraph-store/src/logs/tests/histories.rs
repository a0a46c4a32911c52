//! Random histories of two stores with one record: whatever happens to stores, shippers and
//! readers, each line of each source is shown once, in order, and is in the record in the end.

use std::collections::BTreeMap;
use std::pin::Pin;

use futures::{FutureExt as _, Stream, StreamExt as _};
use proptest::prelude::*;

use super::court::{Breaking, Court, shown, soon, text};
use super::*;
use crate::error::Error;

const STORES: usize = 2;
const SOURCES: usize = 3;
const READERS: usize = 2;

/// A step of a random history.
#[derive(Debug, Clone)]
enum Step {
    /// A process says so many lines.
    Say { source: usize, lines: usize },
    /// A source's shipper begins a stream at a store. Whatever stream it had there breaks, and one
    /// that it had at the other store lives on.
    Begin { store: usize, source: usize },
    /// The stream brings so many bytes of what it has not brought yet.
    Bring { store: usize, source: usize, bytes: usize },
    /// The stream ends as the wire ends one.
    Finish { store: usize, source: usize },
    /// The store makes its lines durable, and hears whether they are or not.
    Flush { store: usize, is_heard: bool },
    /// The store dies with what is in its memory, and another one takes its place.
    Kill { store: usize },
    /// A reader goes on with its cursor at a store.
    Read { reader: usize, store: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let stream = || (0..STORES, 0..SOURCES);
    let step = prop_oneof![
        4 => (0..SOURCES, 1..4_usize).prop_map(|(source, lines)| Step::Say { source, lines }),
        2 => stream().prop_map(|(store, source)| Step::Begin { store, source }),
        8 => (stream(), 1..40_usize)
            .prop_map(|((store, source), bytes)| Step::Bring { store, source, bytes }),
        1 => stream().prop_map(|(store, source)| Step::Finish { store, source }),
        6 => (0..STORES, proptest::bool::weighted(0.9))
            .prop_map(|(store, is_heard)| Step::Flush { store, is_heard }),
        1 => (0..STORES).prop_map(|store| Step::Kill { store }),
        4 => (0..READERS, 0..STORES).prop_map(|(reader, store)| Step::Read { reader, store }),
    ];
    proptest::collection::vec(step, 1..150)
}

fn source(number: usize) -> jobgraph::LogSource {
    jobgraph::LogSource { role: "main".into(), number: number as u64, ..Default::default() }
}

/// One of the two stores, and the backend that it reaches the record through.
struct Store {
    service: Service,
    breaking: Arc<Breaking>,
}

/// What a reader was shown, of each source.
#[derive(Default)]
struct Seen {
    cursor: String,
    lines: [Vec<String>; SOURCES],
}

type Following = Pin<Box<dyn Stream<Item = Result<Vec<api::LogLine>, Error>> + Send>>;

struct World {
    court: Court,
    stores: Vec<Store>,
    /// What each process has said.
    said: [String; SOURCES],
    /// The streams, by store and source, each with how much it has brought.
    streams: BTreeMap<(usize, usize), (Appender, usize)>,
    /// Up to where the output of each source was acknowledged, and may be gone.
    acknowledged: [u64; SOURCES],
    readers: [Seen; READERS],
    /// A follower at each store. When the store dies, it goes on at the one that takes its place.
    followers: Vec<(Following, Seen)>,
}

impl Seen {
    /// Takes note of lines, which have to be the next ones of their sources.
    fn see(&mut self, lines: &[api::LogLine], said: &[String; SOURCES]) {
        for line in lines {
            let source = usize::try_from(line.number).unwrap();
            let expected = said[source].lines().nth(self.lines[source].len());
            let line_text = text(line);
            assert_eq!(Some(&line_text[..]), expected, "of source {source}, at {:?}", self.cursor);
            self.lines[source].push(line_text);
            self.cursor.clone_from(&line.cursor);
        }
    }

    fn has_all(&self, said: &[String; SOURCES]) -> bool {
        self.lines.iter().zip(said).all(|(seen, said)| seen.len() == said.lines().count())
    }
}

impl World {
    async fn new() -> Self {
        let court = Court::new().await;
        let stores: Vec<Store> = (0..STORES).map(|_| Store::of(&court)).collect();
        let mut followers = Vec::new();
        for store in &stores {
            followers.push((store.following("").await, Seen::default()));
        }
        Self {
            court,
            stores,
            said: Default::default(),
            streams: BTreeMap::new(),
            acknowledged: [0; SOURCES],
            readers: Default::default(),
            followers,
        }
    }

    async fn takes(&mut self, step: Step) {
        match step {
            Step::Say { source, lines } => {
                for _ in 0..lines {
                    let number = self.said[source].lines().count();
                    self.said[source] += &format!("{source} says {number}\n");
                }
            }
            Step::Begin { store, source } => self.begin(store, source).await,
            Step::Bring { store, source, bytes } => self.bring(store, source, bytes).await,
            Step::Finish { store, source } => {
                if let Some((appender, _)) = self.streams.remove(&(store, source)) {
                    appender.finish().await.unwrap();
                }
            }
            Step::Flush { store, is_heard } => {
                let Store { service, breaking } = &self.stores[store];
                breaking.breaks.store(!is_heard, Ordering::Relaxed);
                let flushed = service.flush_logs().await;
                let broke = !is_heard && !breaking.breaks.swap(false, Ordering::Relaxed);
                assert_eq!(flushed.is_err(), broke, "{flushed:?}");
            }
            Step::Kill { store } => {
                self.streams.retain(|(of, _), _| *of != store);
                self.stores[store] = Store::of(&self.court);
                let (following, seen) = &mut self.followers[store];
                *following = self.stores[store].following(&seen.cursor).await;
            }
            Step::Read { reader, store } => {
                let seen = &mut self.readers[reader];
                let lines = read(&self.stores[store].service, &seen.cursor).await;
                seen.see(&lines, &self.said);
            }
        }
        for ((_, source), (appender, _)) in &self.streams {
            let acknowledged = &mut self.acknowledged[*source];
            *acknowledged = (*acknowledged).max(appender.acknowledged());
        }
        self.follow().await;
    }

    async fn begin(&mut self, store: usize, source_number: usize) {
        self.streams.remove(&(store, source_number));
        let service = &self.stores[store].service;
        let begun = service.append_logs(&self.court.application, &source(source_number)).await;
        let (appender, from) = begun.unwrap();
        let acknowledged = self.acknowledged[source_number];
        assert!(from >= acknowledged, "goes on at {from}, and {acknowledged} was acknowledged");
        let from = usize::try_from(from).unwrap();
        self.streams.insert((store, source_number), (appender, from));
    }

    async fn bring(&mut self, store: usize, source: usize, bytes: usize) {
        if !self.streams.contains_key(&(store, source)) {
            self.begin(store, source).await;
        }
        let (appender, brought) = self.streams.get_mut(&(store, source)).unwrap();
        let said = &self.said[source];
        let to = (*brought + bytes).min(said.len());
        if to > *brought {
            let part = chunk(to as u64, &said[*brought..to]);
            assert!(appender.take(&[part], false).await.unwrap(), "the latest stream writes");
            *brought = to;
        }
    }

    /// Lets the followers come to what there is.
    async fn follow(&mut self) {
        for (following, seen) in &mut self.followers {
            for _ in 0..20 {
                tokio::task::yield_now().await;
                if let Some(batch) = following.next().now_or_never() {
                    let lines = batch.expect("a follower goes on").unwrap();
                    seen.see(&lines, &self.said);
                }
            }
        }
    }

    /// All that was said comes into the record, at one store or the other, and to all readers.
    async fn ends(mut self) {
        for source in 0..SOURCES {
            let store = source % STORES;
            self.begin(store, source).await;
            self.bring(store, source, usize::MAX / 2).await;
            let (appender, _) = self.streams.remove(&(store, source)).unwrap();
            appender.take(&[], true).await.unwrap();
            appender.finish().await.unwrap();
        }
        for (following, seen) in &mut self.followers {
            while !seen.has_all(&self.said) {
                let lines = soon(following.next()).await.expect("a follower goes on").unwrap();
                seen.see(&lines, &self.said);
            }
        }
        for (reader, seen) in self.readers.iter_mut().enumerate() {
            let lines = read(&self.stores[reader % STORES].service, &seen.cursor).await;
            seen.see(&lines, &self.said);
            assert!(seen.has_all(&self.said), "lines are missing");
        }
        let (first, last) = (shown(&self.stores[0].service, "").await.0, self.court.store());
        assert_eq!(first, shown(&last, "").await.0, "all stores have one order");
        let mut fresh = Seen::default();
        fresh.see(&read(&last, "").await, &self.said);
        assert!(fresh.has_all(&self.said), "lines are missing");
    }
}

impl Store {
    fn of(court: &Court) -> Self {
        let breaking = Breaking::over(&court.metadata);
        Self { service: court.store_over(breaking.clone()), breaking }
    }

    async fn following(&self, after: &str) -> Following {
        let filter = LogFilter { follow: true, ..LogFilter::default() };
        let id = "logs".parse().unwrap();
        Box::pin(self.service.read_logs(&id, 0, after, filter).await.unwrap())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn each_line_is_shown_once_and_in_order_whatever_happens(history in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for step in history {
                world.takes(step).await;
            }
            world.ends().await;
        });
    }
}
