//! Opening a cache, however the process before has ended.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use proto::Digest;
use rustix::fs::{FlockOperation, flock};

use super::{ArtifactFacts, modified};

/// Takes the directory for this process, and makes the directory if it is not there.
pub(super) fn lock(directory: &Path) -> io::Result<File> {
    for below in ["blobs", "facts", "holds", "incoming"] {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory.join(below))?;
    }
    let lock = File::options().create(true).append(true).open(directory.join("lock"))?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| io::Error::new(io::ErrorKind::ResourceBusy, "another fetcher has it open"))?;
    Ok(lock)
}

/// Removes half-written files and the facts of blobs that are gone. A blob without readable facts
/// gets new ones.
pub(super) fn recover(directory: &Path) -> io::Result<()> {
    for leftover in fs::read_dir(directory.join("incoming"))? {
        fs::remove_file(leftover?.path())?;
    }
    let blobs = directory.join("blobs");
    for entry in fs::read_dir(directory.join("facts"))? {
        let path = entry?.path();
        let whole = path.extension() == Some(OsStr::new("json"));
        let blob = path.file_stem().is_some_and(|hex| blobs.join(hex).exists());
        let readable = || {
            fs::read(&path)
                .is_ok_and(|bytes| serde_json::from_slice::<ArtifactFacts>(&bytes).is_ok())
        };
        if !(whole && blob && readable()) {
            fs::remove_file(&path)?;
        }
    }
    for entry in fs::read_dir(&blobs)? {
        let entry = entry?;
        let name = entry.file_name();
        let digest: Option<Digest> =
            name.to_str().and_then(|hex| format!("sha256:{hex}").parse().ok());
        let Some(digest) = digest else { continue };
        let facts = directory.join("facts").join(format!("{}.json", digest.to_hex()));
        if !facts.exists() {
            let metadata = entry.metadata()?;
            let written = u128::try_from(modified(&metadata)).unwrap_or(0);
            let adopted = ArtifactFacts {
                digest,
                size_bytes: metadata.len(),
                uri: String::new(),
                fetched_at: written,
                used_at: written,
            };
            tracing::info!(%digest, "a cached artifact without facts is taken up again");
            fs::write(facts, serde_json::to_vec(&adopted)?)?;
        }
    }
    Ok(())
}
