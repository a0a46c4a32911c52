//! Whether the process that locked a file is gone.

use std::fs::File;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

/// Looks at the lock files of holders.
///
/// A lock belongs to the holder's process, and the kernel frees it when the process ends. A free
/// lock is therefore proof, before the lease ends, that a holder is gone.
pub trait Locks: Send + Sync + 'static {
    /// `true` only when it is certain that no process has the file locked.
    fn is_free(&self, path: &Path) -> bool;
}

/// `flock` on files of this host.
#[derive(Debug, Clone, Copy, Default)]
pub struct FileLocks;

impl Locks for FileLocks {
    /// A file that is not there proves nothing: the holder may see another file system than this
    /// process.
    fn is_free(&self, path: &Path) -> bool {
        let Ok(file) = File::open(path) else { return false };
        // Closing the file at the end of the scope gives the lock back.
        flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_lock_is_free_only_when_the_file_is_there_and_nobody_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("main.lock");
        assert!(!FileLocks.is_free(&path), "nothing there");
        let holder = File::create(&path).unwrap();
        flock(&holder, FlockOperation::LockExclusive).unwrap();
        assert!(!FileLocks.is_free(&path), "held");
        drop(holder);
        assert!(FileLocks.is_free(&path));
        assert!(FileLocks.is_free(&path), "looking does not keep it");
    }
}
