//! Which build a process runs, so that a host left over from another build is recognised.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

/// The version of this build.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Identifies the executable that this process runs, in 12 hex digits; two builds of one version
/// differ.
pub(crate) fn ours() -> String {
    of(Path::new("/proc/self/exe")).unwrap_or_else(|| "unknown".to_owned())
}

/// Identifies the executable that a process runs, even if its file has been replaced since.
pub(crate) fn of_process(pid: u32) -> Option<String> {
    of(Path::new(&format!("/proc/{pid}/exe")))
}

fn of(executable: &Path) -> Option<String> {
    std::fs::metadata(executable).ok().map(|metadata| digest(&metadata))
}

/// A digest of the file's size and time of change, because reading 200 MB at each start would cost
/// more than starting. A copy of the same build counts as another build, which costs no more than a
/// restart of an idle host.
fn digest(metadata: &Metadata) -> String {
    let mut hasher = Sha256::new();
    for number in [metadata.len().cast_signed(), metadata.mtime(), metadata.mtime_nsec()] {
        hasher.update(number.to_be_bytes());
    }
    hex::encode(&hasher.finalize()[..6])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_of_the_build_that_it_runs() {
        assert_eq!(of_process(std::process::id()), Some(ours()));
        assert_ne!(of(Path::new("/proc/self/exe")), of(Path::new("/bin/sh")));
    }
}
