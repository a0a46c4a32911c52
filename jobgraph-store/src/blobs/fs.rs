//! Payloads as files, through OpenDAL: each is written beside its place, synced, and renamed to
//! its [place](BlobName::place). A directory is made at its first payload. A payload is durable
//! once its directory is synced, and the directory's own name is durable once the directory above
//! is synced.
//!
//! The directory belongs to one store, or it is on a mount that several stores share.

mod mount;

use std::error::Error as _;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use chassis::disk;
use futures::{StreamExt as _, TryFutureExt as _, TryStreamExt as _};
use opendal::{Entry, Operator, Writer, services};

use super::{BlobEntries, BlobError, BlobInfo, BlobName, BlobStream, BlobWriter, Blobs};

/// A payload is read in parts of this size, in bytes.
const PART_BYTES: usize = 1024 * 1024;

/// Where payloads are written before they have their names, below the root.
const UNFINISHED: &str = "unfinished";

/// Payloads as files below one directory.
#[derive(Debug, Clone)]
pub struct FsBlobs {
    operator: Operator,
    root: PathBuf,
    /// The directories whose names have reached the disk, by their number. A directory that is
    /// there need not be durable, because the process that made it may have died before it synced
    /// the name.
    durable: Arc<[AtomicBool; 256]>,
    /// A shared root stays open, because a mount with an open file is not taken away by an
    /// `umount`, and the payloads would go on below the empty mount point.
    _mount: Option<Arc<File>>,
}

impl FsBlobs {
    /// Opens the payloads below `root` for this store alone. The directory is made if it is not
    /// there, and payloads that an earlier process left half-written are removed.
    pub fn open(root: &Path) -> Result<Self, BlobError> {
        let beside = root.join(UNFINISHED);
        match std::fs::remove_dir_all(&beside) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(about(root, &error)),
            _ => disk::make_directories(&beside, 0o700).map_err(|error| about(root, &error))?,
        }
        Self::over(root, &beside, None)
    }

    fn over(root: &Path, beside: &Path, mount: Option<Arc<File>>) -> Result<Self, BlobError> {
        let service = services::Fs::default()
            .root(&root.to_string_lossy())
            .atomic_write_dir(&beside.to_string_lossy());
        let operator = Operator::new(service).map_err(|error| failed(&error))?;
        Ok(Self {
            operator,
            root: root.to_owned(),
            durable: Arc::new([const { AtomicBool::new(false) }; 256]),
            _mount: mount,
        })
    }
}

fn about(root: &Path, error: &std::io::Error) -> BlobError {
    match full(error.kind()) {
        true => BlobError::Full(format!("{}: {error}", root.display())),
        false => BlobError::Failed(format!("{}: {error}", root.display())),
    }
}

fn full(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::StorageFull
            | ErrorKind::QuotaExceeded
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::FileTooLarge
    )
}

fn failed(error: &opendal::Error) -> BlobError {
    let mut cause = error.source();
    while let Some(at) = cause {
        if let Some(io) = at.downcast_ref::<std::io::Error>()
            && full(io.kind())
        {
            return BlobError::Full(io.to_string());
        }
        cause = at.source();
    }
    BlobError::Failed(error.to_string())
}

#[async_trait]
impl Blobs for FsBlobs {
    async fn writer(&self, name: BlobName) -> Result<Box<dyn BlobWriter>, BlobError> {
        let path = name.place();
        let writer = self.operator.writer(&path).await.map_err(|error| failed(&error))?;
        let directory = self.root.join(&path[..2]);
        let number = usize::from_str_radix(&path[..2], 16)
            .expect("a digest in hex begins with two hex digits");
        let (root, durable) = (self.root.clone(), self.durable.clone());
        Ok(Box::new(FsWriter { writer, root, directory, number, durable }))
    }

    async fn stat(&self, name: BlobName) -> Result<Option<u64>, BlobError> {
        match self.operator.stat(&name.place()).await {
            Ok(found) => Ok(Some(found.content_length())),
            Err(error) if error.kind() == opendal::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&error)),
        }
    }

    async fn read(&self, name: BlobName, offset: u64) -> Result<BlobStream, BlobError> {
        let size = self.stat(name).await?.ok_or(BlobError::Missing(name.digest))?;
        if offset >= size {
            return Ok(futures::stream::empty().boxed());
        }
        let reader = self
            .operator
            .reader_with(&name.place())
            .chunk(PART_BYTES)
            .await
            .map_err(|error| failed(&error))?;
        let bytes = reader.into_bytes_stream(offset..size).await.map_err(|error| failed(&error))?;
        let broken = move |error: std::io::Error| match error.kind() {
            // The payload was removed between the two calls.
            ErrorKind::NotFound => BlobError::Missing(name.digest),
            _ => BlobError::Failed(error.to_string()),
        };
        Ok(bytes.map_err(broken).boxed())
    }

    fn place(&self, name: BlobName) -> String {
        self.root.join(name.place()).display().to_string()
    }

    async fn remove(&self, name: BlobName) -> Result<(), BlobError> {
        self.operator.delete(&name.place()).await.map_err(|error| failed(&error))
    }

    fn entries(&self) -> BlobEntries {
        let operator = self.operator.clone();
        let listing = async move {
            let entries = operator
                .lister_with("")
                .recursive(true)
                .await
                .map_err(|error| failed(&error))?
                .map_err(|error| failed(&error));
            Ok::<_, BlobError>(entries.try_filter_map(move |entry| found(operator.clone(), entry)))
        };
        listing.try_flatten_stream().boxed()
    }
}

/// The payload of an entry of a listing, if it is one and is still there. A directory tells names
/// only, so the file is asked for its time.
async fn found(operator: Operator, entry: Entry) -> Result<Option<BlobInfo>, BlobError> {
    let Some(name) = BlobName::at(entry.path()) else { return Ok(None) };
    match operator.stat(entry.path()).await {
        Ok(found) => {
            let modified = found.last_modified().map(SystemTime::from);
            Ok(Some(BlobInfo { name, modified }))
        }
        Err(error) if error.kind() == opendal::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(&error)),
    }
}

struct FsWriter {
    writer: Writer,
    root: PathBuf,
    directory: PathBuf,
    number: usize,
    durable: Arc<[AtomicBool; 256]>,
}

#[async_trait]
impl BlobWriter for FsWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), BlobError> {
        self.writer.write(bytes).await.map_err(|error| failed(&error))
    }

    async fn finish(mut self: Box<Self>) -> Result<(), BlobError> {
        if let Err(error) = self.writer.close().await {
            let error = failed(&error);
            self.abort().await;
            return Err(error);
        }
        // The rename is durable only once the directory is synced, and a new directory only once
        // the one above it is.
        let synced = tokio::task::spawn_blocking(move || {
            disk::sync_directory(&self.directory)?;
            let durable = &self.durable[self.number];
            if !durable.load(Ordering::Acquire) {
                disk::sync_directory(&self.root)?;
                durable.store(true, Ordering::Release);
            }
            Ok::<_, std::io::Error>(())
        })
        .await;
        match synced {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(BlobError::Failed(error.to_string())),
            Err(error) => Err(BlobError::Failed(error.to_string())),
        }
    }

    async fn abort(mut self: Box<Self>) {
        // A file that cannot be removed now is removed by a process that opens the directory later.
        if let Err(error) = self.writer.abort().await {
            tracing::debug!(%error, "an unfinished payload stays for now");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proto::Digest;

    use super::*;

    /// A payload that was acknowledged survives a machine that loses its power: the file, its name,
    /// and the name of its directory.
    #[tokio::test]
    async fn a_payload_is_durable_with_every_name_on_the_way_to_it() {
        let above = tempfile::tempdir().unwrap();
        let root = above.path().join("payloads");
        disk::watched::begin();
        let blobs = FsBlobs::open(&root).unwrap();
        let put = async |bytes: &'static [u8]| {
            let digest = Digest::of(bytes);
            let mut writer = blobs.writer(digest.into()).await.unwrap();
            writer.write(bytes.into()).await.unwrap();
            writer.finish().await.unwrap();
            root.join(&digest.to_hex()[..2])
        };
        let opened = disk::watched::syncs_of(&root);
        assert_eq!(disk::watched::syncs_of(above.path()), 1, "the directory of all payloads");
        let directory = put(b"bytes").await;
        assert_eq!(disk::watched::syncs_of(&directory), 1, "the payload's name");
        assert_eq!(disk::watched::syncs_of(&root), opened + 1, "its directory's name");
        assert_eq!(put(b"bytes").await, directory);
        assert_eq!(
            (disk::watched::syncs_of(&directory), disk::watched::syncs_of(&root)),
            (2, opened + 1)
        );
        // An earlier process has made this directory and may not have made its name durable.
        let again = FsBlobs::open(&root).unwrap();
        let opened = disk::watched::syncs_of(&root);
        let mut writer = again.writer(Digest::of(b"bytes").into()).await.unwrap();
        writer.write(Bytes::from_static(b"bytes")).await.unwrap();
        writer.finish().await.unwrap();
        assert_eq!(disk::watched::syncs_of(&root), opened + 1);
    }
}
