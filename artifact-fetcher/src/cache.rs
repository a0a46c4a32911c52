//! The verified bytes of this host, by digest.
//!
//! `blobs/<64 hex>` is an artifact, read-only; it appears by renaming a file of `incoming/` that is complete, verified and
//! on disk. `facts/<64 hex>.json` says where it came from and what the file looked like: a blob that was changed
//! behind our back is digested again before it is given out. `holds/<id>@<generation>/<64 hex>` are the live users.

mod incoming;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use chassis::clock::SharedClock;
use proto::{ApplicationRef, Digest};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::model::{Candidate, evictions};

pub use incoming::Incoming;

/// The cache of one host. All methods block: call them off the runtime.
pub struct Cache {
    directory: PathBuf,
    limit_bytes: u64,
    clock: SharedClock,
    next: AtomicU64,
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
}

impl Facts {
    /// A file that stays where it is.
    pub fn of_local(digest: Digest, size_bytes: u64, uri: String) -> Self {
        Self { digest, size_bytes, uri, fetched_at: 0, used_at: 0, verified_mtime: 0 }
    }
}

impl Cache {
    /// Opens the cache, and removes what an earlier process has left half-written.
    pub fn open(directory: &Path, limit_bytes: u64, clock: SharedClock) -> io::Result<Self> {
        for below in ["blobs", "facts", "holds", "incoming"] {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(directory.join(below))?;
        }
        for leftover in fs::read_dir(directory.join("incoming"))? {
            fs::remove_file(leftover?.path())?;
        }
        Ok(Self { directory: directory.to_owned(), limit_bytes, clock, next: AtomicU64::new(0) })
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

    /// Keeps a complete file under its digest, on disk when this returns.
    pub fn keep(&self, incoming: Incoming, uri: &str) -> io::Result<Facts> {
        let path = self.path(incoming.digest());
        let (digest, size_bytes) = (incoming.digest(), incoming.size_bytes());
        incoming.finish(&path)?;
        let now = self.now();
        let facts = Facts {
            digest,
            size_bytes,
            uri: uri.to_owned(),
            fetched_at: now,
            used_at: now,
            verified_mtime: modified(&fs::metadata(&path)?),
        };
        self.write(&facts)?;
        self.evict(self.limit_bytes)?;
        Ok(facts)
    }

    /// A cached artifact, marked as used; `None` if there is none or its bytes are not what they were.
    pub fn find(&self, digest: Digest) -> io::Result<Option<Facts>> {
        let Some(mut facts) = self.read(digest)? else { return Ok(None) };
        let metadata = match fs::metadata(self.path(digest)) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if modified(&metadata) != facts.verified_mtime || metadata.len() != facts.size_bytes {
            if digest_of(&self.path(digest))? != digest {
                tracing::warn!(%digest, "a cached artifact was changed on disk and is dropped");
                self.remove(digest)?;
                return Ok(None);
            }
            facts.verified_mtime = modified(&metadata);
        }
        facts.used_at = self.now();
        self.write(&facts)?;
        Ok(Some(facts))
    }

    /// Places a cached artifact at `target`, replacing what is there: as a hard link, or as a copy where a link cannot be
    /// or the file has to be executable (a mode belongs to all links of a file).
    pub fn place(&self, digest: Digest, target: &Path, executable: bool) -> io::Result<()> {
        place(&self.path(digest), target, executable)
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

    /// Evicts what was used least recently until at most `limit_bytes` are left; what is held stays.
    pub fn evict(&self, limit_bytes: u64) -> io::Result<Vec<Digest>> {
        let candidate = |(facts, users): (Facts, Vec<String>)| Candidate {
            digest: facts.digest,
            size_bytes: facts.size_bytes,
            used_at: facts.used_at,
            held: !users.is_empty(),
        };
        let evicted = evictions(self.list()?.into_iter().map(candidate).collect(), limit_bytes);
        for digest in &evicted {
            self.remove(*digest)?;
        }
        Ok(evicted)
    }

    /// Forgets one artifact unless it is held; whether it did.
    pub fn evict_one(&self, digest: Digest) -> io::Result<bool> {
        let hex = digest.to_hex();
        if self.all_holds()?.iter().any(|(held, _)| *held == hex) {
            return Ok(false);
        }
        self.remove(digest)?;
        Ok(true)
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

/// Links or copies a file.
pub fn place(source: &Path, target: &Path, executable: bool) -> io::Result<()> {
    match fs::remove_file(target) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    if !executable && fs::hard_link(source, target).is_ok() {
        return Ok(());
    }
    fs::copy(source, target)?;
    fs::set_permissions(target, fs::Permissions::from_mode(if executable { 0o755 } else { 0o644 }))
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
