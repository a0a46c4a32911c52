//! A file that is being received.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use proto::Digest;
use sha2::{Digest as _, Sha256};

/// A file below `incoming/`, digested while it is written; removed when it is dropped unfinished.
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

    /// Adds bytes.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.size_bytes += bytes.len() as u64;
        Ok(())
    }

    /// Begins again from nothing.
    pub fn restart(&mut self) -> io::Result<()> {
        self.file = File::create(&self.path)?;
        self.hasher = Sha256::new();
        self.size_bytes = 0;
        Ok(())
    }

    /// Bytes so far.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The digest of the bytes so far.
    pub fn digest(&self) -> Digest {
        Digest::from_bytes(self.hasher.clone().finalize().into())
    }

    /// Makes it read-only and durable, then gives it its name.
    pub(super) fn finish(self, target: &Path) -> io::Result<()> {
        self.file.set_permissions(fs::Permissions::from_mode(0o444))?;
        self.file.sync_all()?;
        fs::rename(&self.path, target)?;
        let directory = target.parent().expect("a blob lies in a directory");
        File::open(directory)?.sync_all()
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // After a rename there is nothing at this path any more.
        let _ = fs::remove_file(&self.path);
    }
}
