//! `host.lock` decides which process is `up`. The lock is an `flock`, which the kernel frees when
//! its holder is gone, however the holder ended.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use chassis::clock::{Clock as _, SharedClock};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// How often an `up` tries to take the lock, because a process that only looks at the lock holds it
/// for an instant too.
const TRIES: u32 = 50;
const BETWEEN_TRIES: Duration = Duration::from_millis(10);

/// The lock, held until it is dropped. Only the process that holds it starts and ends the services
/// of the state directory, so that two hosts never work on one record.
#[derive(Debug)]
pub(crate) struct HostLock {
    _file: File,
}

impl HostLock {
    /// Takes the lock and writes this process's id into its file; `None` if another process holds
    /// the lock.
    pub(crate) async fn take(path: &Path, clock: &SharedClock) -> io::Result<Option<Self>> {
        let mut file = open(path)?;
        for _ in 0..TRIES {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {
                    file.set_len(0)?;
                    file.rewind()?;
                    writeln!(file, "{}", std::process::id())?;
                    return Ok(Some(Self { _file: file }));
                }
                Err(Errno::WOULDBLOCK) => clock.sleep(BETWEEN_TRIES).await,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }
}

/// Which process holds the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    /// No process holds it.
    Free,
    /// The process with this id; `None` while the process is about to write its id.
    Held(Option<u32>),
}

/// Looks at the lock without taking it.
pub(crate) fn holder(path: &Path) -> io::Result<Holder> {
    let mut file = match OpenOptions::new().read(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Holder::Free),
        Err(error) => return Err(error),
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(Holder::Free),
        Err(Errno::WOULDBLOCK) => {
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            Ok(Holder::Held(text.trim().parse().ok()))
        }
        Err(error) => Err(error.into()),
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use chassis::clock::SystemClock;

    use super::*;

    #[tokio::test]
    async fn one_holds_it_and_the_others_see_who() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("host.lock");
        let clock: SharedClock = Arc::new(SystemClock);
        assert_eq!(holder(&path).unwrap(), Holder::Free);
        let lock = HostLock::take(&path, &clock).await.unwrap().unwrap();
        assert_eq!(holder(&path).unwrap(), Holder::Held(Some(std::process::id())));
        assert!(HostLock::take(&path, &clock).await.unwrap().is_none());
        drop(lock);
        assert_eq!(holder(&path).unwrap(), Holder::Free);
        assert!(HostLock::take(&path, &clock).await.unwrap().is_some());
    }
}
