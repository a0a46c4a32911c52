//! The files that certificates are in, and how a change of them is noticed.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Where the certificates of a process are, as PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificates of the CAs that the other side may be of.
    pub ca: PathBuf,
    /// The process's own certificate with its chain, and its private key; a client of a server that
    /// demands none needs none.
    pub own: Option<(PathBuf, PathBuf)>,
}

/// What tells one content of the files from the next, without reading them: device, inode, size,
/// mode and time of change of each.
pub(super) type Stamp = Vec<Option<(u64, u64, u64, u32, i64, i64)>>;

impl TlsFiles {
    /// The files of a directory as `mainspring certs` and Kubernetes' secrets of certificates name
    /// them: `ca.crt`, `tls.crt`, `tls.key`.
    pub fn of_directory(directory: &Path) -> Self {
        let [ca, certificate, key] =
            ["ca.crt", "tls.crt", "tls.key"].map(|name| directory.join(name));
        Self { ca, own: Some((certificate, key)) }
    }

    fn all(&self) -> impl Iterator<Item = &Path> {
        let own = self.own.iter().flat_map(|(certificate, key)| [certificate, key]);
        std::iter::once(&self.ca).chain(own).map(PathBuf::as_path)
    }

    /// The stamp of what the files hold now. A file that is not there has none.
    pub(super) fn stamp(&self) -> Stamp {
        let stamp = |path| {
            let of = fs::metadata(path).ok()?;
            Some((of.dev(), of.ino(), of.size(), of.mode(), of.mtime(), of.mtime_nsec()))
        };
        self.all().map(stamp).collect()
    }
}

/// The bytes of a file that every user may read.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path).map_err(|error| about(path, error.kind(), error))
}

/// The bytes of a private key. A file that others than its owner may touch is refused. Root's file
/// may be read by the group of a process that is not root's, because that is how Kubernetes hands a
/// secret to such a process.
pub(super) fn read_private(path: &Path) -> io::Result<Vec<u8>> {
    let metadata = fs::metadata(path).map_err(|error| about(path, error.kind(), error))?;
    let is_handed_down = metadata.uid() == 0 && !rustix::process::geteuid().is_root();
    let (refused, remedy) = if is_handed_down { (0o037, "640") } else { (0o077, "600") };
    let mode = metadata.mode() & 0o777;
    if mode & refused != 0 {
        let why = format!(
            "mode {mode:04o} lets others use the private key: chmod {remedy} it, and have the \
             certificate issued anew if another user may have read it"
        );
        return Err(about(path, ErrorKind::PermissionDenied, why));
    }
    read(path)
}

/// An error that names its file.
pub(super) fn about(path: &Path, kind: ErrorKind, why: impl std::fmt::Display) -> io::Error {
    io::Error::new(kind, format!("{}: {why}", path.display()))
}
