//! Changing the file of contexts: one command at a time, and whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use chassis::disk;
use proto::Reason;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::file::{Contexts, read};
use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};

/// What the file begins with, because a change keeps none of the comments that were there.
const HEAD: &str = "# Contexts of mainspring (docs/guides/contexts.md). `mainspring context` rewrites this file.\n";

/// Reads the file, changes what it holds, and writes it anew with mode 0600. The change is made on
/// what the file holds at that moment, and no other command changes the file meanwhile.
pub(crate) fn update(
    path: &Path,
    change: impl FnOnce(&mut Contexts) -> OrFailure<()>,
) -> OrFailure<()> {
    let unusable = |error: io::Error| {
        Failure::usage(format!("the file of contexts {}: {error}", path.display())).help(
            "make its directory yours and writable, or name another file in MAINSPRING_CONFIG",
        )
    };
    let path = target(path).map_err(unusable)?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    disk::make_directories(directory, 0o700).map_err(unusable)?;
    let _lock = lock(directory, &path)?;
    let mut contexts = read(&path)?;
    change(&mut contexts)?;
    contexts.check().map_err(Failure::usage)?;
    let text = serde_saphyr::to_string(&contexts)
        .map_err(|error| Failure::internal(format!("the contexts are no YAML: {error}")))?;
    write(&path, &format!("{HEAD}{text}")).map_err(unusable)
}

/// The file itself where the path is a link to it: a link stays a link.
fn target(path: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(path.to_owned()),
        target => target,
    }
}

/// Holds the file's directory until it is dropped, so that of two commands none undoes what the
/// other has written.
fn lock(directory: &Path, path: &Path) -> OrFailure<File> {
    let held = File::open(directory)?;
    match flock(&held, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(held),
        Err(Errno::WOULDBLOCK) => {
            let text = format!("another command is changing {}", path.display());
            Err(Failure::new(Exit::REFUSED, Reason::RequestInvalid, text).help("try again"))
        }
        Err(error) => Err(io::Error::from(error).into()),
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("yaml.new");
    // The lock is held, so that a file of this name is what a killed command has left.
    remove(&new)?;
    let written = whole(&new, text).and_then(|()| disk::replace(&new, path));
    if written.is_err() {
        // The error that is returned says what went wrong, so that this one has nothing to add.
        let _ = remove(&new);
    }
    written
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn whole(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::context::file::{Context, CredentialSource};

    fn context(name: &str) -> Context {
        Context {
            name: name.to_owned(),
            endpoints: vec!["tcp://h1:7070".parse().unwrap()],
            tls: None,
            insecure: true,
            credential: CredentialSource { file: Some("/key".into()), command: None },
        }
    }

    fn add(path: &Path, name: &str) -> OrFailure<()> {
        update(path, |contexts| {
            contexts.contexts.push(context(name));
            Ok(())
        })
    }

    #[test]
    fn a_change_is_made_whole_on_what_is_there_and_is_its_owners_alone() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("mainspring/config.yaml");
        add(&path, "prod").unwrap();
        add(&path, "test").unwrap();
        // What a killed command has left is in no later one's way.
        fs::write(path.with_extension("yaml.new"), "half a fi").unwrap();
        add(&path, "lab").unwrap();
        let names = || -> Vec<String> {
            read(&path).unwrap().contexts.into_iter().map(|context| context.name).collect()
        };
        assert_eq!(names(), ["prod", "test", "lab"]);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert!(add(&path, "prod").is_err(), "two of one name");
        assert!(update(&path, |_| Err(Failure::usage("no"))).is_err());
        assert_eq!(names(), ["prod", "test", "lab"], "a change that is refused changes nothing");
        let files = fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(files, 1, "something is left beside the file");
    }

    #[test]
    fn two_commands_do_not_change_it_at_once() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("config.yaml");
        let mut inner = None;
        let outer = update(&path, |contexts| {
            inner = Some(add(&path, "test"));
            contexts.contexts.push(context("prod"));
            Ok(())
        });
        assert!(outer.is_ok(), "{outer:?}");
        let refused = inner.unwrap().unwrap_err();
        assert!(refused.message.contains("another command is changing"), "{}", refused.message);
        assert_eq!(read(&path).unwrap().contexts.len(), 1);
    }

    #[test]
    fn a_link_stays_a_link() {
        let home = tempfile::tempdir().unwrap();
        let (file, link) = (home.path().join("dotfiles.yaml"), home.path().join("config.yaml"));
        add(&file, "prod").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        add(&link, "test").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(read(&file).unwrap().contexts.len(), 2);
    }
}
