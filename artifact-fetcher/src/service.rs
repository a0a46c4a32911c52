//! The verbs of the fetcher. However many callers ask for an artifact, one transfer brings it,
//! verified, kept and placed.

mod brought;
mod flights;
mod reading;
mod transfer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chassis::clock::SharedClock;
use chassis::tasks::Tasks;
use chassis::telemetry::metrics::Count;
use proto::{ApplicationRef, Digest, Uri};

use crate::cache::{self, ArtifactFacts, Cache, Found, Kept};
use crate::error::FetchError;
use crate::model::Location;
use crate::source::Sources;

use brought::Brought;
use flights::{Flights, State};
pub use transfer::Progress;

static FETCHED: Count = Count::new(
    "mainspring.fetched.bytes",
    "Bytes of artifacts that callers were given, by whether they came from the cache or the source",
);

/// What a caller wants.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The application that the artifact is held for; `None` for tooling.
    pub application: Option<ApplicationRef>,
    /// Where the artifact is.
    pub uri: Uri,
    /// The digest that the artifact has to have, if the caller knows it.
    pub expected: Option<Digest>,
    /// The path where the artifact is to be placed, if the caller wants it placed.
    pub link_to: Option<PathBuf>,
    /// Whether the placed file has to be executable.
    pub executable: bool,
}

/// A verified artifact.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// What is known of the artifact, which is not evicted while this value lives.
    pub kept: Kept,
    /// The verified file.
    pub path: PathBuf,
    /// Whether no byte was moved for this call.
    pub from_cache: bool,
}

/// The fetcher of one host.
///
/// Every verb is a method here; the wire calls them, and each clone stands for the same fetcher.
/// Transfers are tasks of the process and not of their callers: a caller that leaves ends no
/// transfer that another caller waits for.
#[derive(Clone)]
pub struct Fetcher {
    inner: Arc<Inner>,
}

struct Inner {
    cache: Arc<Cache>,
    sources: Sources,
    tasks: Tasks,
    clock: SharedClock,
    flights: Flights,
    brought: Brought,
}

impl Fetcher {
    /// A fetcher over a cache; transfers run as tasks of the process.
    pub fn new(cache: Arc<Cache>, sources: Sources, tasks: Tasks, clock: SharedClock) -> Self {
        let (flights, brought) = (Flights::default(), Brought::default());
        Self { inner: Arc::new(Inner { cache, sources, tasks, clock, flights, brought }) }
    }

    /// Makes an artifact present, verified, held and placed. `progress` hears how far the transfer
    /// is.
    pub async fn fetch(
        &self,
        wanted: &Wanted,
        mut progress: impl FnMut(Progress),
    ) -> Result<Fetched, FetchError> {
        let location = Location::parse(&wanted.uri)?;
        if let Location::Local(path) = &location {
            return self.digest_in_place(path.clone(), wanted).await;
        }
        let mut own_only = false;
        loop {
            let before = || self.inner.brought.to(wanted.application.as_ref()?, &location);
            if let Some(kept) = self.cached(wanted.expected.or_else(before)).await?.whole() {
                return self.give(kept, &location, wanted, true).await;
            }
            let mut seat = self.inner.board((location.clone(), wanted.expected), own_only);
            let outcome = loop {
                let now = seat.state.borrow_and_update().clone();
                match now {
                    State::Done(outcome) => break outcome,
                    // Before the first try there is nothing to tell.
                    State::Moving(now) if now.attempt > 0 => progress(now),
                    State::Moving(_) => {}
                }
                seat.state.changed().await.map_err(|_| FetchError::GoingDown)?;
            };
            match outcome {
                Ok(kept) => {
                    return self.give(as_expected(kept, wanted)?, &location, wanted, false).await;
                }
                Err(error) if seat.own => return Err(error),
                // The error answers another caller's request, so the fetcher asks once more for
                // this caller's own.
                Err(_) => own_only = true,
            }
        }
    }

    /// Finds one cached artifact and verifies it.
    pub async fn stat(&self, digest: Digest) -> Result<Fetched, FetchError> {
        match self.cached(Some(digest)).await? {
            Found::Whole(kept) => {
                Ok(Fetched { path: self.inner.cache.path(digest), kept, from_cache: true })
            }
            Found::Damaged(path) => Err(FetchError::Damaged { path, digest }),
            Found::Nothing => Err(FetchError::NotCached(digest)),
        }
    }

    /// The live applications (`id@generation`) that hold an artifact.
    pub async fn users(&self, digest: Digest) -> Result<Vec<String>, FetchError> {
        self.blocking(move |cache| cache.users(digest)).await
    }

    /// All cached artifacts with their users (`id@generation`), most recently used first.
    pub async fn list(&self) -> Result<Vec<(ArtifactFacts, Vec<String>)>, FetchError> {
        self.blocking(Cache::list).await
    }

    /// Evicts the named artifacts. Answers with those that were evicted and those that are held.
    pub async fn evict(
        &self,
        digests: Vec<Digest>,
    ) -> Result<(Vec<Digest>, Vec<Digest>), FetchError> {
        self.blocking(move |cache| {
            let (mut evicted, mut kept) = (Vec::new(), Vec::new());
            for digest in digests {
                if cache.evict_one(digest)? { evicted.push(digest) } else { kept.push(digest) }
            }
            Ok((evicted, kept))
        })
        .await
    }

    /// Evicts the least recently used artifacts until at most `bytes` are left.
    pub async fn evict_to(&self, bytes: u64) -> Result<Vec<Digest>, FetchError> {
        self.blocking(move |cache| cache.evict(bytes)).await
    }

    /// Notes that the application needs its artifacts no longer.
    pub async fn release(&self, application: ApplicationRef) -> Result<(), FetchError> {
        self.inner.brought.forget(&application);
        self.blocking(move |cache| cache.release(&application)).await
    }

    /// How much the cache may hold, in bytes.
    pub fn limit_bytes(&self) -> u64 {
        self.inner.cache.limit_bytes()
    }

    async fn cached(&self, digest: Option<Digest>) -> Result<Found, FetchError> {
        let Some(digest) = digest else { return Ok(Found::Nothing) };
        self.blocking(move |cache| cache.find(digest)).await
    }

    /// Holds and places a cached artifact for the caller.
    async fn give(
        &self,
        kept: Kept,
        location: &Location,
        wanted: &Wanted,
        from_cache: bool,
    ) -> Result<Fetched, FetchError> {
        let digest = kept.facts.digest;
        let from = if from_cache { "cache" } else { "source" };
        FETCHED.add(kept.facts.size_bytes, &[("from", from)]);
        if let Some(application) = wanted.application.clone() {
            self.inner.brought.note(&application, location.clone(), digest);
            self.blocking(move |cache| cache.hold(&application, digest)).await?;
        }
        let path = self.inner.cache.path(digest);
        if let Some(target) = wanted.link_to.clone() {
            self.place(path.clone(), target, wanted.executable, cache::place).await?;
        }
        Ok(Fetched { kept, path, from_cache })
    }

    /// Digests a `local:` file, which is not moved.
    async fn digest_in_place(&self, path: PathBuf, wanted: &Wanted) -> Result<Fetched, FetchError> {
        let uri = wanted.uri.to_string();
        let digested = path.clone();
        let outcome = tokio::task::spawn_blocking(move || {
            let metadata = std::fs::metadata(&digested)?;
            if !metadata.is_file() {
                let what = if metadata.is_dir() {
                    "it is a directory: name one file"
                } else {
                    "it is no regular file"
                };
                return Err(std::io::Error::other(what));
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
            self.place(path.clone(), target, wanted.executable, cache::point_to).await?;
        }
        let kept = Kept::in_place(ArtifactFacts::of_local(digest, size_bytes, uri));
        Ok(Fetched { kept, path, from_cache: true })
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Cache) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, FetchError> {
        let cache = self.inner.cache.clone();
        let outcome = tokio::task::spawn_blocking(move || work(&cache))
            .await
            .map_err(|_| FetchError::GoingDown)?;
        outcome.map_err(|error| {
            FetchError::disk(self.inner.cache.directory(), "its own records", error)
        })
    }

    async fn place(
        &self,
        source: PathBuf,
        target: PathBuf,
        executable: bool,
        how: fn(&Path, &Path, bool) -> std::io::Result<()>,
    ) -> Result<(), FetchError> {
        let placed = target.clone();
        let placing = tokio::task::spawn_blocking(move || how(&source, &placed, executable));
        let outcome = placing.await.map_err(|_| FetchError::GoingDown)?;
        outcome.map_err(|error| FetchError::placing(&target, error))
    }
}

/// Checks that the bytes of a shared transfer are what this caller asked for.
fn as_expected(kept: Kept, wanted: &Wanted) -> Result<Kept, FetchError> {
    let actual = kept.facts.digest;
    match wanted.expected.filter(|expected| *expected != actual) {
        Some(expected) => {
            Err(FetchError::DigestMismatch { uri: wanted.uri.to_string(), expected, actual })
        }
        None => Ok(kept),
    }
}
