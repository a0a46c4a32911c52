//! A file that is being received.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use bytes::Bytes;
use proto::Digest;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

/// How many chunks may be written and not digested yet.
const QUEUE_CHUNKS: usize = 16;

/// A file below `incoming/` that is digested while it is written. A file that is dropped unfinished
/// is removed.
#[derive(Debug)]
pub struct Incoming {
    path: PathBuf,
    file: File,
    hasher: Sha256,
    size_bytes: u64,
}

impl Incoming {
    pub(super) fn create(path: PathBuf) -> io::Result<Self> {
        let file = File::create_new(&path)?;
        Ok(Self { path, file, hasher: Sha256::new(), size_bytes: 0 })
    }

    /// Takes the room for so many bytes all at once, where the file system can. A file that does
    /// not fit then fails before it has filled the disk, which would make every other incoming file
    /// fail too.
    pub fn reserve(&self, size_bytes: u64) -> io::Result<()> {
        match fallocate(&self.file, FallocateFlags::KEEP_SIZE, 0, size_bytes.max(1)) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            reserved => Ok(reserved?),
        }
    }

    /// Adds all of these bytes. Digesting takes longer than writing, so each has a thread. After an
    /// error the file is of no use.
    pub fn receive(&mut self, chunks: impl IntoIterator<Item = Bytes>) -> io::Result<()> {
        let Self { file, hasher, size_bytes, .. } = self;
        thread::scope(|scope| {
            let (written, queue) = mpsc::sync_channel::<Bytes>(QUEUE_CHUNKS);
            scope.spawn(move || queue.into_iter().for_each(|chunk| hasher.update(&chunk)));
            for chunk in chunks {
                file.write_all(&chunk)?;
                *size_bytes += chunk.len() as u64;
                // Sending fails only when the digesting thread has panicked, and then the scope
                // panics too.
                let _ = written.send(chunk);
            }
            Ok(())
        })
    }

    /// Begins the file again from nothing.
    pub fn restart(&mut self) -> io::Result<()> {
        self.file = File::create(&self.path)?;
        self.hasher = Sha256::new();
        self.size_bytes = 0;
        Ok(())
    }

    /// How many bytes have been received so far.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The digest of the bytes so far.
    pub fn digest(&self) -> Digest {
        Digest::from_bytes(self.hasher.clone().finalize().into())
    }

    /// Makes the file read-only, then gives it its name.
    pub(super) fn finish(self, target: &Path) -> io::Result<()> {
        self.file.set_permissions(fs::Permissions::from_mode(0o444))?;
        fs::rename(&self.path, target)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // After a rename there is nothing at this path any more.
        let _ = fs::remove_file(&self.path);
    }
}
