//! A directory that several stores write to at the same time, such as a mount that all hosts have.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use chassis::disk;
use rustix::fs::{Access, access};

use super::{FsBlobs, UNFINISHED, about};
use crate::blobs::BlobError;
use crate::blobs::layout::{OWNER, Shared};

/// What has not changed for so long was left by a store that is gone. No payload takes as long to
/// be written.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

impl FsBlobs {
    /// Opens the payloads below a directory that other stores write to as well. A directory that is
    /// not there is a mount that is absent, so none is made.
    ///
    /// Each opener writes its unfinished payloads into a directory of its own, and removes those of
    /// others only when nothing has changed in them for a day.
    pub async fn open_shared(root: PathBuf) -> Result<Self, BlobError> {
        let opened = move || {
            let mount = there(&root)?;
            let beside = own_directory(&root).map_err(|error| about(&root, &error))?;
            Self::over(&root, &beside, Some(Arc::new(mount)))
        };
        let opened = tokio::task::spawn_blocking(opened).await;
        opened.unwrap_or_else(|error| Err(BlobError::Failed(error.to_string())))
    }

    /// Who the payloads below such a directory belong to, for a look that makes nothing there. A
    /// directory that this user may not write to is refused.
    pub(crate) async fn owner_of(root: PathBuf) -> Result<Option<String>, BlobError> {
        let looked = move || {
            there(&root)?;
            access(&root, Access::WRITE_OK | Access::EXEC_OK)
                .map_err(|error| about(&root, &error.into()))?;
            read_owner(&root)
        };
        let looked = tokio::task::spawn_blocking(looked).await;
        looked.unwrap_or_else(|error| Err(BlobError::Failed(error.to_string())))
    }
}

/// Opens a shared root, which has to be there.
fn there(root: &Path) -> Result<File, BlobError> {
    File::open(root).map_err(|error| match error.kind() {
        ErrorKind::NotFound => BlobError::Failed(format!(
            "there is no directory {}: mount what all hosts share there, and make the directory \
             once",
            root.display()
        )),
        _ => about(root, &error),
    })
}

fn read_owner(root: &Path) -> Result<Option<String>, BlobError> {
    match fs::read_to_string(root.join(OWNER)) {
        Ok(owner) => Ok(Some(owner.trim_end().to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(about(root, &error)),
    }
}

/// Makes a directory for what this opener has not finished, and removes what is abandoned.
fn own_directory(root: &Path) -> io::Result<PathBuf> {
    let all = root.join(UNFINISHED);
    let own = all.join(hex::encode(rand::random::<[u8; 8]>()));
    disk::make_directories(&own, 0o700)?;
    // The new directory tells the time by the clock of the file system, which all hosts share and
    // which the other times are of.
    remove_abandoned(&all, fs::metadata(&own)?.modified()?)?;
    Ok(own)
}

fn remove_abandoned(all: &Path, now: SystemTime) -> io::Result<()> {
    for entry in fs::read_dir(all)? {
        let path = entry?.path();
        let removed = last_change(&path).and_then(|changed| {
            match now.duration_since(changed).is_ok_and(|age| age > ABANDONED) {
                false => Ok(()),
                true if path.is_dir() => fs::remove_dir_all(&path),
                true => fs::remove_file(&path),
            }
        });
        // Several stores may clear up at the same time, and what stays disturbs none of them.
        if let Err(error) = removed
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %path.display(), "an unfinished payload stays");
        }
    }
    Ok(())
}

/// When a file, or a directory of files, was last written to. A long payload changes its file and
/// not the directory.
fn last_change(path: &Path) -> io::Result<SystemTime> {
    let metadata = fs::symlink_metadata(path)?;
    let mut last = metadata.modified()?;
    if metadata.is_dir() {
        for file in fs::read_dir(path)? {
            last = last.max(file?.metadata()?.modified()?);
        }
    }
    Ok(last)
}

#[async_trait]
impl Shared for FsBlobs {
    async fn owner(&self) -> Result<Option<String>, BlobError> {
        let root = self.root.clone();
        let read = tokio::task::spawn_blocking(move || read_owner(&root));
        read.await.unwrap_or_else(|error| Err(BlobError::Failed(error.to_string())))
    }

    async fn set_owner(&self, owner: &str) -> Result<(), BlobError> {
        let (root, text) = (self.root.clone(), format!("{owner}\n"));
        let written = tokio::task::spawn_blocking(move || {
            let name = format!("{OWNER}.{}", hex::encode(rand::random::<[u8; 8]>()));
            let new = root.join(UNFINISHED).join(name);
            let whole = File::create(&new).and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                file.sync_all()
            });
            // Of several stores that do this at once, one wins.
            let placed = whole.and_then(|()| disk::place(&new, &root.join(OWNER)));
            placed.map(drop).map_err(|error| about(&root, &error))
        });
        written.await.unwrap_or_else(|error| Err(BlobError::Failed(error.to_string())))
    }
}

#[cfg(test)]
mod tests;
