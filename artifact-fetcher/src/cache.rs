//! The verified bytes of this host, by digest.
//!
//! `blobs/<64 hex>` is an artifact, read-only. A blob appears when a file of `incoming/` that is
//! complete and verified is renamed. `facts/<64 hex>.json` says where the blob came from.
//! `holds/<id>@<generation>/<64 hex>` are its live users.
//!
//! The cache digests a blob each time before giving it out, because neither size nor times tell
//! whether the bytes are still those that were fetched. Nothing here waits for the disk for the
//! same reason: what a machine that lost its power has kept only in part is noticed at the next
//! look, and what a process wrote survives the process. The blobs are the truth: facts that a crash
//! has cut off are made again from them.

mod incoming;
mod pins;
mod place;
mod recovery;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use chassis::clock::SharedClock;
use proto::{ApplicationRef, Digest};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::model::{Candidate, evictions};

pub use incoming::Incoming;
pub use pins::Pin;
use pins::Pins;
pub use place::{place, point_to};

/// Uses closer together than this are noted as one. Replacing a file can wait for the disk's
/// journal, and a caller that is given a cached artifact should not wait for that.
const USE_NOTED_EVERY: Duration = Duration::from_secs(60);

/// The cache of one host.
///
/// The fetcher's verbs are the only callers. All methods block, so they are called off the runtime.
/// An artifact that a [`Kept`] stands for, or that a live application holds, is never evicted.
pub struct Cache {
    directory: PathBuf,
    limit_bytes: u64,
    clock: SharedClock,
    next: AtomicU64,
    pins: Arc<Pins>,
    /// Locked while room is made and filled, so that two transfers do not count on the same room.
    room: Mutex<()>,
    /// Locked while the cache lives: two fetchers in one directory would remove each other's files.
    _lock: fs::File,
}

/// An artifact that stays in the cache for as long as this value lives.
#[derive(Debug, Clone)]
pub struct Kept {
    /// What is known of the artifact.
    pub facts: ArtifactFacts,
    /// `None` for a file that is not in the cache.
    _pin: Option<Arc<Pin>>,
}

impl Kept {
    /// A file that stays where it is.
    pub fn in_place(facts: ArtifactFacts) -> Self {
        Self { facts, _pin: None }
    }
}

/// What the search for an artifact came to.
#[derive(Debug)]
pub enum Found {
    /// The artifact is there as it was fetched.
    Whole(Kept),
    /// The artifact was there and is dropped now: this file was not what it had been.
    Damaged(PathBuf),
    /// The cache has no such artifact.
    Nothing,
}

impl Found {
    /// The artifact, if it can be given out.
    pub fn whole(self) -> Option<Kept> {
        match self {
            Self::Whole(kept) => Some(kept),
            Self::Damaged(_) | Self::Nothing => None,
        }
    }
}

/// Why a complete file is not kept.
#[derive(Debug)]
pub enum NotKept {
    /// The new artifact and those that live applications use are over the limit together.
    NoRoom {
        /// How much cannot be evicted, in bytes.
        used_bytes: u64,
        /// How large the new artifact is, in bytes.
        size_bytes: u64,
    },
    /// The disk refused.
    Disk(io::Error),
}

impl From<io::Error> for NotKept {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

/// What is known of one cached artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactFacts {
    /// The digest of its bytes.
    pub digest: Digest,
    /// How large it is.
    pub size_bytes: u64,
    /// Where it came from last, with secrets masked.
    pub uri: String,
    /// When it was fetched, in nanoseconds since the Unix epoch; 0 for a file that stays where it
    /// is.
    pub fetched_at: u128,
    /// When it was used last, in nanoseconds since the Unix epoch; 0 for a file that stays where it
    /// is.
    pub used_at: u128,
}

impl ArtifactFacts {
    /// The facts of a file that stays where it is.
    pub fn of_local(digest: Digest, size_bytes: u64, uri: String) -> Self {
        Self { digest, size_bytes, uri, fetched_at: 0, used_at: 0 }
    }
}

impl Cache {
    /// Opens the cache, and puts in order what an earlier process has left. Refused while another
    /// process has the cache open.
    pub fn open(directory: &Path, limit_bytes: u64, clock: SharedClock) -> io::Result<Self> {
        let lock = recovery::lock(directory)?;
        recovery::recover(directory)?;
        Ok(Self {
            directory: directory.to_owned(),
            limit_bytes,
            clock,
            next: AtomicU64::new(0),
            pins: Arc::default(),
            room: Mutex::default(),
            _lock: lock,
        })
    }

    /// The directory of the cache.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// How many bytes the cache may hold.
    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    /// How many bytes the cache holds.
    pub fn size_bytes(&self) -> io::Result<u64> {
        let blobs = fs::read_dir(self.directory.join("blobs"))?;
        // An artifact that is evicted meanwhile holds nothing any more.
        Ok(blobs.filter_map(|blob| blob.ok()?.metadata().ok()).map(|blob| blob.len()).sum())
    }

    /// The file of a cached artifact, whether it is there or not.
    pub fn path(&self, digest: Digest) -> PathBuf {
        self.directory.join("blobs").join(digest.to_hex())
    }

    /// A new file to stream into.
    pub fn incoming(&self) -> io::Result<Incoming> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Incoming::create(self.directory.join("incoming").join(number.to_string()))
    }

    /// Keeps a complete file under its digest. The least recently used artifacts make room for it.
    pub fn keep(&self, incoming: Incoming, uri: &str) -> Result<Kept, NotKept> {
        let (digest, size_bytes) = (incoming.digest(), incoming.size_bytes());
        let pin = self.pins.pin(digest);
        let path = self.path(digest);
        {
            let _room = self.room();
            if !path.exists() {
                self.make_room(size_bytes)?;
            }
            incoming.finish(&path)?;
        }
        let now = self.now();
        let facts = ArtifactFacts {
            digest,
            size_bytes,
            uri: uri.to_owned(),
            fetched_at: now,
            used_at: now,
        };
        self.write(&facts)?;
        Ok(Kept { facts, _pin: Some(Arc::new(pin)) })
    }

    /// Finds a cached artifact, verifies it and marks it as used. A damaged artifact is dropped, so
    /// that it can be fetched again.
    pub fn find(&self, digest: Digest) -> io::Result<Found> {
        let Some(kept) = self.unverified(digest)? else { return Ok(Found::Nothing) };
        let path = self.path(digest);
        let is = match digest_of(&path) {
            Ok(is) => is,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => return Err(error),
        };
        if is != digest {
            self.drop_damaged(digest)?;
            return Ok(Found::Damaged(path));
        }
        let mut facts = kept.facts.clone();
        if self.now().saturating_sub(facts.used_at) >= USE_NOTED_EVERY.as_nanos() {
            facts.used_at = self.now();
            if let Err(error) = self.write(&facts) {
                // A full or read-only disk is no reason to withhold an artifact that is there.
                tracing::debug!(%digest, "the use of a cached artifact could not be noted: {error}");
            }
        }
        Ok(Found::Whole(Kept { facts, ..kept }))
    }

    /// Finds a cached artifact without digesting its bytes, for a caller that digests what it
    /// reads.
    pub fn unverified(&self, digest: Digest) -> io::Result<Option<Kept>> {
        let pin = self.pins.pin(digest);
        Ok(self.read(digest)?.map(|facts| Kept { facts, _pin: Some(Arc::new(pin)) }))
    }

    /// Forgets an artifact whose bytes are not what they were. An artifact in use is forgotten too,
    /// because no application can use such bytes.
    pub fn drop_damaged(&self, digest: Digest) -> io::Result<()> {
        let path = self.path(digest);
        tracing::warn!(%digest, "the cached artifact {} is not what it was and is dropped", path.display());
        self.remove(digest)
    }

    /// Notes that the application uses this artifact until it is released.
    pub fn hold(&self, application: &ApplicationRef, digest: Digest) -> io::Result<()> {
        let directory = self.holds(application);
        fs::create_dir_all(&directory)?;
        fs::write(directory.join(digest.to_hex()), b"")
    }

    /// Notes that the application needs its artifacts no longer.
    pub fn release(&self, application: &ApplicationRef) -> io::Result<()> {
        match fs::remove_dir_all(self.holds(application)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The live applications (`id@generation`) that hold an artifact.
    pub fn users(&self, digest: Digest) -> io::Result<Vec<String>> {
        let hex = digest.to_hex();
        Ok(self
            .all_holds()?
            .into_iter()
            .filter(|(held, _)| *held == hex)
            .map(|(_, user)| user)
            .collect())
    }

    /// All artifacts with their users, most recently used first.
    pub fn list(&self) -> io::Result<Vec<(ArtifactFacts, Vec<String>)>> {
        let holds = self.all_holds()?;
        let mut all = Vec::new();
        for entry in fs::read_dir(self.directory.join("blobs"))? {
            let name = entry?.file_name();
            let Some(digest) = name.to_str().and_then(|hex| format!("sha256:{hex}").parse().ok())
            else {
                continue;
            };
            if let Some(facts) = self.read(digest)? {
                let hex = digest.to_hex();
                let users = holds
                    .iter()
                    .filter(|(held, _)| *held == hex)
                    .map(|(_, user)| user.clone())
                    .collect();
                all.push((facts, users));
            }
        }
        all.sort_by_key(|(facts, _)| (std::cmp::Reverse(facts.used_at), facts.digest));
        Ok(all)
    }

    /// Evicts the least recently used artifacts until at most `limit_bytes` are left. What is in
    /// use stays.
    pub fn evict(&self, limit_bytes: u64) -> io::Result<Vec<Digest>> {
        let _room = self.room();
        let mut evicted = Vec::new();
        for digest in evictions(self.candidates()?, limit_bytes) {
            if self.remove_unless_pinned(digest)? {
                evicted.push(digest);
            }
        }
        Ok(evicted)
    }

    /// Forgets one artifact unless it is in use. `true` if it was forgotten.
    pub fn evict_one(&self, digest: Digest) -> io::Result<bool> {
        let _room = self.room();
        if !self.users(digest)?.is_empty() {
            return Ok(false);
        }
        self.remove_unless_pinned(digest)
    }

    /// Whether an artifact of this size could be kept at all, before its bytes are moved.
    pub fn could_keep(&self, size_bytes: u64) -> Result<(), NotKept> {
        let used_bytes =
            self.candidates()?.iter().filter(|one| one.held).map(|one| one.size_bytes).sum();
        if size_bytes <= self.limit_bytes.saturating_sub(used_bytes) {
            return Ok(());
        }
        Err(NotKept::NoRoom { used_bytes, size_bytes })
    }

    /// Evicts until so many bytes fit. Nothing is evicted for a file that would not fit anyway.
    fn make_room(&self, size_bytes: u64) -> Result<(), NotKept> {
        self.could_keep(size_bytes)?;
        for digest in evictions(self.candidates()?, self.limit_bytes.saturating_sub(size_bytes)) {
            self.remove_unless_pinned(digest)?;
        }
        Ok(())
    }

    fn candidates(&self) -> io::Result<Vec<Candidate>> {
        let candidate = |(facts, users): (ArtifactFacts, Vec<String>)| Candidate {
            digest: facts.digest,
            size_bytes: facts.size_bytes,
            used_at: facts.used_at,
            held: !users.is_empty() || self.pins.is_pinned(facts.digest),
        };
        Ok(self.list()?.into_iter().map(candidate).collect())
    }

    fn room(&self) -> MutexGuard<'_, ()> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remove_unless_pinned(&self, digest: Digest) -> io::Result<bool> {
        self.pins
            .unless_pinned(digest, || self.remove(digest))
            .transpose()
            .map(|removed| removed.is_some())
    }

    fn remove(&self, digest: Digest) -> io::Result<()> {
        for path in [self.path(digest), self.facts_path(digest)] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn read(&self, digest: Digest) -> io::Result<Option<ArtifactFacts>> {
        match fs::read(self.facts_path(digest)) {
            // Facts that cannot be read were cut off by a crash, so the artifact is fetched again.
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write(&self, facts: &ArtifactFacts) -> io::Result<()> {
        let path = self.facts_path(facts.digest);
        let new = path.with_extension(format!("new-{}", self.next.fetch_add(1, Ordering::Relaxed)));
        fs::write(&new, serde_json::to_vec(facts)?)?;
        fs::rename(new, path)
    }

    fn facts_path(&self, digest: Digest) -> PathBuf {
        self.directory.join("facts").join(format!("{}.json", digest.to_hex()))
    }

    fn holds(&self, application: &ApplicationRef) -> PathBuf {
        self.directory.join("holds").join(application.to_string())
    }

    /// Every hold as `(64 hex digits, application)`.
    fn all_holds(&self) -> io::Result<BTreeSet<(String, String)>> {
        let mut holds = BTreeSet::new();
        for user in fs::read_dir(self.directory.join("holds"))? {
            let user = user?;
            for held in fs::read_dir(user.path())? {
                let name = (
                    held?.file_name().to_string_lossy().into_owned(),
                    user.file_name().to_string_lossy().into(),
                );
                holds.insert(name);
            }
        }
        Ok(holds)
    }

    fn now(&self) -> u128 {
        self.clock
            .wall()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO)
            .as_nanos()
    }
}

/// How many bytes are digested at once. Reads gain nothing beyond this size, and an allocator that
/// has seen a larger buffer freed keeps as much for as long as the process lives.
const DIGESTED_BYTES: usize = 64 * 1024;

/// The digest of a file's bytes.
pub fn digest_of(path: &Path) -> io::Result<Digest> {
    let mut file = fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; DIGESTED_BYTES];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
    }
    Ok(Digest::from_bytes(hasher.finalize().into()))
}

fn modified(metadata: &fs::Metadata) -> i128 {
    i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec())
}

#[cfg(test)]
mod tests;
