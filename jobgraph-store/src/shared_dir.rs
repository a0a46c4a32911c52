//! The directory that all hosts of the deployment see: whether this host sees it and may write
//! there, and whose it is.
//!
//! Two hosts that each have a directory of their own under one path would run each application in
//! two places. So the directory has a file that says whose it is, and the record knows what has to
//! stand there.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use chassis::clock::{SharedClock, timeout};
use chassis::disk;

/// What the hosts keep there, each in a directory of this name.
const BELOW: [&str; 3] = ["outputs", "checkpoints", "artifacts"];

/// The file that says whose the directory is.
pub(crate) const OWNER: &str = "mainspring.deployment";

/// How long a look may take at the start: less than a host waits for its store, so that the store
/// itself says what is wrong.
const SEEN_WITHIN: Duration = Duration::from_secs(10);

/// Makes what the hosts keep in the directory, and looks whether this host may write there. A
/// directory that is not there is a mount that is absent, so none is made.
pub(crate) async fn open(directory: &Path, clock: &SharedClock) -> anyhow::Result<()> {
    let seen = timeout(clock, SEEN_WITHIN, look(directory)).await;
    let seen = seen.unwrap_or_else(|elapsed| Err(anyhow!(elapsed)));
    seen.and_then(|()| make_below(directory)).with_context(|| {
        format!(
            "cannot use {}, which MAINSPRING_SHARED_DIR names as the directory that all hosts see",
            directory.display()
        )
    })
}

async fn look(directory: &Path) -> anyhow::Result<()> {
    match tokio::fs::metadata(directory).await {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => bail!("it is no directory"),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!(
                "there is no such directory: mount what all hosts see there, and make the \
                 directory once"
            )
        }
        Err(error) => Err(error.into()),
    }
}

fn make_below(directory: &Path) -> anyhow::Result<()> {
    for below in BELOW {
        let below = directory.join(below);
        let written = disk::make_directories(&below, 0o700).and_then(|()| write_and_remove(&below));
        written.with_context(|| {
            format!(
                "this host has to be able to write to {}: let mainspring run with the same user \
                 number on all hosts",
                below.display()
            )
        })?;
    }
    Ok(())
}

fn write_and_remove(directory: &Path) -> io::Result<()> {
    let file = directory.join(format!(".probe-{:016x}", rand::random::<u64>()));
    File::create_new(&file)?;
    fs::remove_file(&file)
}

/// The deployment that the directory says it is of; `None` if it names none.
pub(crate) fn owner(directory: &Path) -> anyhow::Result<Option<String>> {
    let path = directory.join(OWNER);
    match fs::read_to_string(&path) {
        Ok(owner) => Ok(Some(owner.trim_end().to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Has the directory say whose it is, unless it says so already. Of several hosts that do this at
/// once, one wins.
pub(crate) fn set_owner(directory: &Path, owner: &str) -> anyhow::Result<()> {
    let path = directory.join(OWNER);
    let new = path.with_extension(format!("new-{:016x}", rand::random::<u64>()));
    let whole = File::create_new(&new).and_then(|mut file| {
        file.write_all(format!("{owner}\n").as_bytes())?;
        file.sync_all()
    });
    let placed = whole.and_then(|()| disk::place(&new, &path));
    placed.map(drop).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Arc;

    use chassis::clock::SystemClock;

    use super::*;

    async fn opened(directory: &Path) -> Result<(), String> {
        let clock: SharedClock = Arc::new(SystemClock);
        open(directory, &clock).await.map_err(|refused| format!("{refused:#}"))
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn what_the_hosts_keep_is_made_for_their_user_alone_and_the_look_leaves_nothing() {
        let shared = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            opened(shared.path()).await.unwrap();
            assert_eq!(names(shared.path()), ["artifacts", "checkpoints", "outputs"]);
        }
        for below in BELOW.map(|below| shared.path().join(below)) {
            assert_eq!(names(&below), Vec::<String>::new());
            assert_eq!(fs::metadata(&below).unwrap().permissions().mode() & 0o777, 0o700);
        }
    }

    #[tokio::test]
    async fn a_directory_that_is_absent_or_no_directory_is_refused_and_none_is_made() {
        let root = tempfile::tempdir().unwrap();
        let (absent, file) = (root.path().join("absent"), root.path().join("file"));
        fs::write(&file, "").unwrap();
        for (path, says) in [(&absent, "mount what all hosts see"), (&file, "no directory")] {
            let refused = opened(path).await.unwrap_err();
            for named in [says, &*path.to_string_lossy(), "MAINSPRING_SHARED_DIR"] {
                assert!(refused.contains(named), "{refused}");
            }
        }
        assert!(!absent.exists(), "a mount point was made");
    }

    #[tokio::test]
    async fn a_directory_that_this_host_cannot_write_is_refused_by_name() {
        let shared = tempfile::tempdir().unwrap();
        // A file in the place of a directory stops also root, who may write everywhere.
        fs::write(shared.path().join("checkpoints"), "").unwrap();
        let refused = opened(shared.path()).await.unwrap_err();
        for named in ["checkpoints", "same user number"] {
            assert!(refused.contains(named), "{refused}");
        }
    }

    #[test]
    fn a_directory_keeps_its_first_owner() {
        let shared = tempfile::tempdir().unwrap();
        assert_eq!(owner(shared.path()).unwrap(), None);
        for said in ["first", "second"] {
            set_owner(shared.path(), said).unwrap();
            assert_eq!(owner(shared.path()).unwrap().as_deref(), Some("first"));
        }
        assert_eq!(names(shared.path()), [OWNER], "nothing is left beside it");
    }
}
