//! The verbs of the fetcher: one transfer per artifact whoever asks for it, verified, kept, placed.

mod transfer;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use chassis::clock::SharedClock;
use chassis::tasks::Tasks;
use proto::{ApplicationRef, Digest};
use tokio::sync::watch;

use crate::cache::{self, Cache, Facts};
use crate::error::FetchError;
use crate::model::{Location, masked};
use crate::source::Sources;

pub use transfer::Progress;

/// What a caller wants.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// For whom it is held; `None` for tooling.
    pub application: Option<ApplicationRef>,
    /// Where it is.
    pub uri: String,
    /// What it has to be, if that is known.
    pub expected: Option<Digest>,
    /// Where to place it.
    pub link_to: Option<PathBuf>,
    /// Place it as an executable.
    pub executable: bool,
}

/// A verified artifact.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// What is known of it.
    pub facts: Facts,
    /// The verified file.
    pub path: PathBuf,
    /// No byte was moved for this call.
    pub from_cache: bool,
}

/// Where a transfer is.
#[derive(Debug, Clone)]
enum State {
    Moving(Progress),
    Done(Result<Facts, FetchError>),
}

/// What one transfer is for: callers with the same key share it.
type Key = (Location, Option<Digest>);

/// The fetcher of one host. Cheap to clone.
#[derive(Clone)]
pub struct Fetcher {
    inner: Arc<Inner>,
}

struct Inner {
    cache: Arc<Cache>,
    sources: Sources,
    tasks: Tasks,
    clock: SharedClock,
    flights: Mutex<HashMap<Key, watch::Receiver<State>>>,
}

impl Fetcher {
    /// A fetcher over a cache; transfers run as tasks of the process.
    pub fn new(cache: Arc<Cache>, sources: Sources, tasks: Tasks, clock: SharedClock) -> Self {
        Self { inner: Arc::new(Inner { cache, sources, tasks, clock, flights: Mutex::default() }) }
    }

    /// Makes an artifact present, verified, held and placed. `progress` hears how far the transfer is.
    pub async fn fetch(
        &self,
        wanted: &Wanted,
        mut progress: impl FnMut(Progress),
    ) -> Result<Fetched, FetchError> {
        let location = Location::parse(&wanted.uri)?;
        if let Location::Local(path) = &location {
            return self.digest_in_place(path.clone(), wanted).await;
        }
        if let Some(facts) = self.cached(wanted.expected).await? {
            return self.give(facts, wanted, true).await;
        }
        let mut state = self.board(location, wanted.expected);
        loop {
            let now = state.borrow_and_update().clone();
            match now {
                State::Done(outcome) => return self.give(outcome?, wanted, false).await,
                State::Moving(now) => progress(now),
            }
            state.changed().await.map_err(|_| FetchError::GoingDown)?;
        }
    }

    /// One cached artifact.
    pub async fn stat(&self, digest: Digest) -> Result<Fetched, FetchError> {
        let facts = self.cached(Some(digest)).await?.ok_or(FetchError::NotCached(digest))?;
        Ok(Fetched { path: self.inner.cache.path(digest), facts, from_cache: true })
    }

    /// All cached artifacts with their users (`id@generation`), most recently used first.
    pub async fn list(&self) -> Result<Vec<(Facts, Vec<String>)>, FetchError> {
        self.blocking(Cache::list).await
    }

    /// Evicts the named ones; which were, which are held.
    pub async fn evict(&self, digests: Vec<Digest>) -> Result<(Vec<Digest>, Vec<Digest>), FetchError> {
        self.blocking(move |cache| {
            let (mut evicted, mut kept) = (Vec::new(), Vec::new());
            for digest in digests {
                if cache.evict_one(digest)? { evicted.push(digest) } else { kept.push(digest) }
            }
            Ok((evicted, kept))
        })
        .await
    }

    /// Evicts least recently used ones until at most `bytes` are left.
    pub async fn evict_to(&self, bytes: u64) -> Result<Vec<Digest>, FetchError> {
        self.blocking(move |cache| cache.evict(bytes)).await
    }

    /// The application needs its artifacts no longer.
    pub async fn release(&self, application: ApplicationRef) -> Result<(), FetchError> {
        self.blocking(move |cache| cache.release(&application)).await
    }

    /// How much the cache may hold, in bytes.
    pub fn limit_bytes(&self) -> u64 {
        self.inner.cache.limit_bytes()
    }

    /// Joins the transfer of this artifact that is under way, or begins one.
    fn board(&self, location: Location, expected: Option<Digest>) -> watch::Receiver<State> {
        let key = (location, expected);
        let mut flights = self.inner.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(under_way) = flights.get(&key) {
            return under_way.clone();
        }
        let (sender, receiver) = watch::channel(State::Moving(Progress::default()));
        flights.insert(key.clone(), receiver.clone());
        drop(flights);
        let inner = self.inner.clone();
        self.inner.tasks.spawn_job(format!("fetch {}", key.0), async move {
            let outcome = transfer::run(&inner, &key, &sender).await;
            inner.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            sender.send_replace(State::Done(outcome));
            Ok::<(), std::convert::Infallible>(())
        });
        receiver
    }

    async fn cached(&self, digest: Option<Digest>) -> Result<Option<Facts>, FetchError> {
        let Some(digest) = digest else { return Ok(None) };
        self.blocking(move |cache| cache.find(digest)).await
    }

    /// Holds and places a cached artifact for the caller.
    async fn give(&self, facts: Facts, wanted: &Wanted, from_cache: bool) -> Result<Fetched, FetchError> {
        let digest = facts.digest;
        if let Some(application) = wanted.application.clone() {
            self.blocking(move |cache| cache.hold(&application, digest)).await?;
        }
        let path = self.inner.cache.path(digest);
        if let Some(target) = wanted.link_to.clone() {
            place(path.clone(), target, wanted.executable).await?;
        }
        Ok(Fetched { facts, path, from_cache })
    }

    /// `local:` files are not moved, still digested.
    async fn digest_in_place(&self, path: PathBuf, wanted: &Wanted) -> Result<Fetched, FetchError> {
        let uri = masked(&wanted.uri);
        let digested = path.clone();
        let outcome = tokio::task::spawn_blocking(move || {
            let metadata = std::fs::metadata(&digested)?;
            if !metadata.is_file() {
                return Err(std::io::Error::other("it is no regular file"));
            }
            Ok((cache::digest_of(&digested)?, metadata.len()))
        });
        let (digest, size_bytes) = match outcome.await.map_err(|_| FetchError::GoingDown)? {
            Ok(found) => found,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(FetchError::NotFound { uri, why: "no such file".into() });
            }
            Err(error) => return Err(FetchError::NotReadable { uri, why: error.to_string() }),
        };
        if let Some(expected) = wanted.expected.filter(|expected| *expected != digest) {
            return Err(FetchError::DigestMismatch { uri, expected, actual: digest });
        }
        if let Some(target) = wanted.link_to.clone() {
            place(path.clone(), target, wanted.executable).await?;
        }
        let facts = Facts::of_local(digest, size_bytes, uri);
        Ok(Fetched { facts, path, from_cache: true })
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Cache) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, FetchError> {
        let cache = self.inner.cache.clone();
        let outcome =
            tokio::task::spawn_blocking(move || work(&cache)).await.map_err(|_| FetchError::GoingDown)?;
        outcome.map_err(|error| FetchError::Cache(Arc::new(error)))
    }
}

async fn place(source: PathBuf, target: PathBuf, executable: bool) -> Result<(), FetchError> {
    let placed = target.clone();
    let placing = tokio::task::spawn_blocking(move || cache::place(&source, &placed, executable));
    let refused = |error| FetchError::Link { path: Path::to_owned(&target), error: Arc::new(error) };
    placing.await.map_err(|_| FetchError::GoingDown)?.map_err(refused)
}
