//! The files of the CA and of what it issues, and how they are written.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use chassis::disk;

/// The directory of the CA, below that of all certificates.
pub(super) const CA: &str = "ca";

/// The certificate of the CA, in its own directory and in each that is issued.
pub(super) const CA_CERTIFICATE: &str = "ca.crt";

/// The private key of the CA, which no other directory has.
pub(super) const CA_KEY: &str = "ca.key";

/// A process's own certificate.
pub(super) const CERTIFICATE: &str = "tls.crt";

/// A process's private key.
pub(super) const KEY: &str = "tls.key";

/// The mode of what every user may read.
pub(super) const OPEN: u32 = 0o644;

/// The mode of private keys.
pub(super) const PRIVATE: u32 = 0o600;

/// Puts a file in place of an older one, in one step.
pub(super) fn put(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    written(path, text, mode).and_then(|new| disk::replace(&new, path)).map_err(about(path))
}

/// Makes a file unless there is one; `false` if there is.
pub(super) fn put_if_absent(path: &Path, text: &str, mode: u32) -> io::Result<bool> {
    written(path, text, mode).and_then(|new| disk::place(&new, path)).map_err(about(path))
}

/// Makes a directory that others than its owner cannot enter; one that is there keeps its mode.
pub(super) fn make_directory(path: &Path) -> io::Result<()> {
    disk::make_directories(path, 0o700).map_err(about(path))
}

/// A complete and durable file beside the path.
fn written(path: &Path, text: &str, mode: u32) -> io::Result<PathBuf> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".new-{}", std::process::id()));
    let new = PathBuf::from(name);
    // An earlier process of the same number may have left its file; otherwise there is none.
    let _ = fs::remove_file(&new);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(new)
}

fn about(path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("cannot write {}: {error}", path.display()))
}
