//! The verified bytes of this host, by digest.
//!
//! `blobs/<64 hex>` is an artifact, read-only; it appears by renaming a file of `incoming/` that is complete and verified.
//! `facts/<64 hex>.json` says where it came from, what the file looked like and in which life of the machine it was verified: a blob that was
//! changed behind our back, or may have been cut off with the machine, is digested again before it is given out. So nothing here waits
//! for the disk: what survives only as long as the machine does need not be durable, and what a process wrote survives the process.
//! `holds/<id>@<generation>/<64 hex>` are the live users. The blobs are the truth: facts that a crash has cut off are made again from them.

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

/// Uses closer together than this are noted as one: replacing a file can wait for the disk's journal, and nobody who is given a
/// cached artifact should.
const USE_NOTED_EVERY: Duration = Duration::from_secs(60);

/// The cache of one host. All methods block: call them off the runtime.
pub struct Cache {
    directory: PathBuf,
    limit_bytes: u64,
    clock: SharedClock,
    /// Which life of the machine this is; empty, and everything is digested again, where that is not known.
    boot: String,
    next: AtomicU64,
    pins: Arc<Pins>,
    /// Held while room is made and filled, so that two transfers do not count on the same room.
    room: Mutex<()>,
    /// Locked while this lives: two fetchers in one directory would remove each other's files.
    _lock: fs::File,
}

/// An artifact that stays in the cache for as long as this lives.
#[derive(Debug, Clone)]
pub struct Kept {
    /// What is known of it.
    pub facts: Facts,
    /// `None` for a file that is not in the cache.
    _pin: Option<Arc<Pin>>,
}

impl Kept {
    /// A file that stays where it is.
    pub fn in_place(facts: Facts) -> Self {
        Self { facts, _pin: None }
    }
}

/// Why a complete file is not kept.
#[derive(Debug)]
pub enum NotKept {
    /// What live applications use and this one together are over the limit.
    NoRoom {
        /// What cannot be evicted, in bytes.
        used_bytes: u64,
        /// How large the new one is.
        size_bytes: u64,
    },
    /// The disk said no.
    Disk(io::Error),
}

impl From<io::Error> for NotKept {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

/// One cached artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// What it is.
    pub digest: Digest,
    /// How large.
    pub size_bytes: u64,
    /// Where it came from last, secrets masked.
    pub uri: String,
    /// When it was fetched, nanoseconds since the Unix epoch.
    pub fetched_at: u128,
    /// When it was used last, nanoseconds since the Unix epoch.
    pub used_at: u128,
    /// Modification time of the blob when it was verified, nanoseconds since the Unix epoch.
    verified_mtime: i128,
    /// The life of the machine in which it was verified.
    #[serde(default)]
    verified_boot: String,
}

impl Facts {
    /// A file that stays where it is.
    pub fn of_local(digest: Digest, size_bytes: u64, uri: String) -> Self {
        Self {
            digest,
            size_bytes,
            uri,
            fetched_at: 0,
            used_at: 0,
            verified_mtime: 0,
            verified_boot: String::new(),
        }
    }
}

impl Cache {
    /// Opens the cache, and puts in order what an earlier process has left. Refused while another process has it open.
    pub fn open(directory: &Path, limit_bytes: u64, clock: SharedClock) -> io::Result<Self> {
        let lock = recovery::lock(directory)?;
        recovery::recover(directory)?;
        Ok(Self {
            directory: directory.to_owned(),
            limit_bytes,
            clock,
            boot: recovery::boot(),
            next: AtomicU64::new(0),
            pins: Arc::default(),
            room: Mutex::default(),
            _lock: lock,
        })
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// How much it may hold.
    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    /// The file of a cached artifact.
    pub fn path(&self, digest: Digest) -> PathBuf {
        self.directory.join("blobs").join(digest.to_hex())
    }

    /// A new file to stream into.
    pub fn incoming(&self) -> io::Result<Incoming> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Incoming::create(self.directory.join("incoming").join(number.to_string()))
    }

    /// Keeps a complete file under its digest. What was used least recently makes room for it.
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
        let facts = Facts {
            digest,
            size_bytes,
            uri: uri.to_owned(),
            fetched_at: now,
            used_at: now,
            verified_mtime: modified(&fs::metadata(&path)?),
            verified_boot: self.boot.clone(),
        };
        self.write(&facts)?;
        Ok(Kept { facts, _pin: Some(Arc::new(pin)) })
    }

    /// A cached artifact, marked as used; `None` if there is none or its bytes are not what they were.
    pub fn find(&self, digest: Digest) -> io::Result<Option<Kept>> {
        let pin = self.pins.pin(digest);
        let Some(mut facts) = self.read(digest)? else { return Ok(None) };
        let metadata = match fs::metadata(self.path(digest)) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let as_verified = !self.boot.is_empty()
            && facts.verified_boot == self.boot
            && facts.verified_mtime == modified(&metadata)
            && facts.size_bytes == metadata.len();
        let mut worth_noting = self.now().saturating_sub(facts.used_at) >= USE_NOTED_EVERY.as_nanos();
        if !as_verified {
            if digest_of(&self.path(digest))? != digest {
                tracing::warn!(%digest, "a cached artifact is not what it was and is dropped");
                self.remove(digest)?;
                return Ok(None);
            }
            facts.verified_mtime = modified(&metadata);
            facts.size_bytes = metadata.len();
            facts.verified_boot.clone_from(&self.boot);
            worth_noting = true;
        }
        if worth_noting {
            facts.used_at = self.now();
        }
        if worth_noting && let Err(error) = self.write(&facts) {
            // A full or read-only disk is no reason to withhold what is there.
            tracing::debug!(%digest, "its use could not be noted: {error}");
        }
        Ok(Some(Kept { facts, _pin: Some(Arc::new(pin)) }))
    }

    /// The application uses this artifact until it is released.
    pub fn hold(&self, application: &ApplicationRef, digest: Digest) -> io::Result<()> {
        let directory = self.holds(application);
        fs::create_dir_all(&directory)?;
        fs::write(directory.join(digest.to_hex()), b"")
    }

    /// The application is done.
    pub fn release(&self, application: &ApplicationRef) -> io::Result<()> {
        match fs::remove_dir_all(self.holds(application)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The live applications (`id@generation`) that hold an artifact.
    pub fn users(&self, digest: Digest) -> io::Result<Vec<String>> {
        let hex = digest.to_hex();
        Ok(self.all_holds()?.into_iter().filter(|(held, _)| *held == hex).map(|(_, user)| user).collect())
    }

    /// All artifacts with their users, most recently used first.
    pub fn list(&self) -> io::Result<Vec<(Facts, Vec<String>)>> {
        let holds = self.all_holds()?;
        let mut all = Vec::new();
        for entry in fs::read_dir(self.directory.join("blobs"))? {
            let name = entry?.file_name();
            let Some(digest) = name.to_str().and_then(|hex| format!("sha256:{hex}").parse().ok()) else {
                continue;
            };
            if let Some(facts) = self.read(digest)? {
                let hex = digest.to_hex();
                let users =
                    holds.iter().filter(|(held, _)| *held == hex).map(|(_, user)| user.clone()).collect();
                all.push((facts, users));
            }
        }
        all.sort_by_key(|(facts, _)| (std::cmp::Reverse(facts.used_at), facts.digest));
        Ok(all)
    }

    /// Evicts what was used least recently until at most `limit_bytes` are left; what is in use stays.
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

    /// Forgets one artifact unless it is in use; whether it did.
    pub fn evict_one(&self, digest: Digest) -> io::Result<bool> {
        let _room = self.room();
        if !self.users(digest)?.is_empty() {
            return Ok(false);
        }
        self.remove_unless_pinned(digest)
    }

    /// Whether an artifact of this size could be kept at all, before its bytes are moved.
    pub fn could_keep(&self, size_bytes: u64) -> Result<(), NotKept> {
        let used_bytes = self.candidates()?.iter().filter(|one| one.held).map(|one| one.size_bytes).sum();
        if size_bytes <= self.limit_bytes.saturating_sub(used_bytes) {
            return Ok(());
        }
        Err(NotKept::NoRoom { used_bytes, size_bytes })
    }

    /// Evicts until so many bytes fit. Nothing is evicted for what does not fit anyway.
    fn make_room(&self, size_bytes: u64) -> Result<(), NotKept> {
        self.could_keep(size_bytes)?;
        for digest in evictions(self.candidates()?, self.limit_bytes.saturating_sub(size_bytes)) {
            self.remove_unless_pinned(digest)?;
        }
        Ok(())
    }

    fn candidates(&self) -> io::Result<Vec<Candidate>> {
        let candidate = |(facts, users): (Facts, Vec<String>)| Candidate {
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
        self.pins.unless_pinned(digest, || self.remove(digest)).transpose().map(|removed| removed.is_some())
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

    fn read(&self, digest: Digest) -> io::Result<Option<Facts>> {
        match fs::read(self.facts_path(digest)) {
            // What cannot be read was cut off by a crash: the artifact is fetched again.
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write(&self, facts: &Facts) -> io::Result<()> {
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

    /// `(64 hex digits, application)` of every hold.
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
        self.clock.wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_nanos()
    }
}

/// Digests a file.
pub fn digest_of(path: &Path) -> io::Result<Digest> {
    let mut file = fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1024 * 1024];
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
