//! Files that are there whole or not at all, also after the machine has lost its power. A name is
//! durable only once the directory that holds it has reached the disk, which neither a rename nor a
//! link does by itself.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// Makes the names in a directory durable.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    let about = |error: io::Error| {
        io::Error::new(
            error.kind(),
            format!("cannot make {} durable: {error}", directory.display()),
        )
    };
    File::open(directory).and_then(|open| open.sync_all()).map_err(about)?;
    #[cfg(any(test, feature = "testing"))]
    watched::note(directory);
    Ok(())
}

/// Gives a complete file its name in place of an older one; the name is durable when this returns.
/// The caller has made the bytes of `new` durable before.
pub fn replace(new: &Path, path: &Path) -> io::Result<()> {
    fs::rename(new, path)?;
    sync_directory(directory_of(path))
}

/// Gives a complete file its name, unless the name is taken; the name is durable when this returns.
/// `false`: a file had the name, and that file stays. The first name is gone in both cases. Of
/// several processes that do this at once, one wins.
pub fn place(new: &Path, path: &Path) -> io::Result<bool> {
    // A link appears whole or not at all, and never replaces a file.
    let linked = fs::hard_link(new, path);
    fs::remove_file(new)?;
    match linked {
        Ok(()) => sync_directory(directory_of(path)).map(|()| true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes a directory of this mode, with all that is missing above it. Each name that this call made
/// is durable when it returns. Directories that are there already keep their mode.
pub fn make_directories(path: &Path, mode: u32) -> io::Result<()> {
    let missing: Vec<PathBuf> =
        path.ancestors().take_while(|directory| !directory.exists()).map(Path::to_owned).collect();
    DirBuilder::new().recursive(true).mode(mode).create(path)?;
    for made in missing.iter().rev() {
        match sync_directory(directory_of(made)) {
            // The parent may be written and not read, and then it cannot be opened to be made
            // durable.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => sync_file_system(made)?,
            synced => synced?,
        }
    }
    Ok(())
}

/// Makes everything durable that the file system of a path holds: for whole trees that another
/// process has written.
pub fn sync_file_system(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(path)?)?)
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    }
}

/// Which directories were made durable, for tests: a lost sync shows in nothing else but a machine
/// that lost its power.
#[cfg(any(test, feature = "testing"))]
pub mod watched {
    use std::path::{Path, PathBuf};
    use std::sync::{Mutex, PoisonError};

    /// `None` while no test watches, which is always so outside tests.
    static SYNCED: Mutex<Option<Vec<PathBuf>>> = Mutex::new(None);

    /// Begins to watch. All tests of one process watch together, so a test asks for a directory of
    /// its own.
    pub fn begin() {
        SYNCED.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default();
    }

    /// How often this directory was made durable since the watch began.
    pub fn syncs_of(directory: &Path) -> usize {
        let synced = SYNCED.lock().unwrap_or_else(PoisonError::into_inner);
        synced.iter().flatten().filter(|synced| *synced == directory).count()
    }

    pub(super) fn note(directory: &Path) {
        if let Some(synced) = SYNCED.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            synced.push(directory.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_name_is_durable_when_a_file_has_it() {
        let directory = tempfile::tempdir().unwrap();
        let (new, path) = (directory.path().join("new"), directory.path().join("file"));
        watched::begin();
        fs::write(&new, "one").unwrap();
        assert!(place(&new, &path).unwrap());
        assert_eq!((watched::syncs_of(directory.path()), new.exists()), (1, false));
        fs::write(&new, "two").unwrap();
        assert!(!place(&new, &path).unwrap(), "a file that was there was replaced");
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), new.exists()), ("one", false));
        fs::write(&new, "three").unwrap();
        replace(&new, &path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "three");
        assert_eq!(watched::syncs_of(directory.path()), 2);
    }

    #[test]
    fn a_directory_is_durable_with_all_that_was_made_above_it() {
        let root = tempfile::tempdir().unwrap();
        watched::begin();
        make_directories(&root.path().join("a/b/c"), 0o700).unwrap();
        for holds in ["", "a", "a/b"] {
            assert_eq!(watched::syncs_of(&root.path().join(holds)), 1, "{holds:?}");
        }
        make_directories(&root.path().join("a/b/c"), 0o700).unwrap();
        assert_eq!(watched::syncs_of(&root.path().join("a/b")), 1, "nothing was made");
    }
}
