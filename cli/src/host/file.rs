//! `host.json` says what a running host is made of. `up` writes the file whole when everything is
//! ready, and removes it when the host ends.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use chassis::transport::Endpoint;
use client::process_tree::Process;
use serde::{Deserialize, Serialize};

/// The endpoints of services that run elsewhere, by the service's name. The host uses such a
/// service and never starts or ends it.
pub(crate) type Given = BTreeMap<String, Endpoint>;

/// What `up` says about itself and its services.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HostFile {
    /// The version of the build of `up`.
    pub(crate) version: String,
    /// The build of `up`.
    pub(crate) build: String,
    /// The version of the protocol between processes.
    pub(crate) protocol: u32,
    /// The process id of `up`.
    pub(crate) pid: u32,
    /// When `up` was started, in clock ticks since boot.
    pub(crate) start_ticks: u64,
    /// The user that main() and clusters run as, where that is not the host's own user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) run_as: Option<String>,
    /// The four services, by name.
    pub(crate) services: BTreeMap<String, ServiceEntry>,
}

/// Which party starts a service and ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KeptBy {
    /// `up` started it, keeps it running, and ends it.
    #[default]
    Up,
    /// The operator started it by hand for this state directory. `up` uses it, and starts a service
    /// of its own in its place once it has ended.
    Hand,
    /// The operator named its endpoint. `up` uses it, at any place and of any build.
    Given,
}

/// One service that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServiceEntry {
    /// The endpoint at which it serves.
    pub(crate) endpoint: String,
    /// Its process id; 0 if its endpoint was given.
    pub(crate) pid: u32,
    /// When it was started, in clock ticks since boot.
    pub(crate) start_ticks: u64,
    /// Its build; empty where the build is not known.
    pub(crate) build: String,
    /// The party that starts and ends it.
    #[serde(default)]
    pub(crate) kept_by: KeptBy,
}

impl ServiceEntry {
    /// The entry of a service whose endpoint was given. The host does not know its process and has
    /// nothing to do with it.
    pub(crate) fn given(endpoint: &Endpoint) -> Self {
        let endpoint = endpoint.to_string();
        Self { endpoint, pid: 0, start_ticks: 0, build: String::new(), kept_by: KeptBy::Given }
    }
}

impl HostFile {
    /// The file's content; `None` if there is no file. A file that cannot be parsed was damaged
    /// from outside, because `up` replaces the file in one step.
    pub(crate) fn read(path: &Path) -> io::Result<Option<Self>> {
        let about = |kind, why: &dyn std::fmt::Display| {
            io::Error::new(kind, format!("{} {why}", path.display()))
        };
        match fs::read(path) {
            Ok(text) => {
                let damaged = |error: serde_json::Error| {
                    about(io::ErrorKind::InvalidData, &format!("is damaged: {error}"))
                };
                serde_json::from_slice(&text).map(Some).map_err(damaged)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(about(error.kind(), &format!("cannot be read: {error}"))),
        }
    }

    /// The `up` that wrote the file, while that process lives and is visible from here.
    pub(crate) fn process(&self) -> Option<Process> {
        Process::of(self.pid)
            .filter(|process| process.start_ticks == self.start_ticks && !process.is_zombie())
    }

    /// The endpoints that were given to the `up` that wrote the file.
    pub(crate) fn given(&self) -> Given {
        let given = self.services.iter().filter(|(_, entry)| entry.kept_by == KeptBy::Given);
        given
            .filter_map(|(name, entry)| Some((name.clone(), entry.endpoint.parse().ok()?)))
            .collect()
    }

    /// Replaces the file in one step. The file is not synced to the disk, because the processes
    /// that it names end with the machine.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let new = path.with_extension("json.new");
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&new, path)
    }

    /// Removes the file; it is no error if there is none.
    pub(crate) fn remove(path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_was_written_reads_back_and_nonsense_is_damage() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("host.json");
        let elsewhere = Endpoint::Tcp("127.0.0.1".into(), 7);
        let service = ServiceEntry {
            endpoint: "unix:/s".into(),
            pid: 2,
            start_ticks: 3,
            build: "b".into(),
            kept_by: KeptBy::Up,
        };
        let host = HostFile {
            version: "0.1.0".into(),
            build: "b".into(),
            protocol: 1,
            pid: 1,
            start_ticks: 2,
            run_as: None,
            services: BTreeMap::from([
                ("lifecycle".into(), service),
                ("leader-elector".into(), ServiceEntry::given(&elsewhere)),
            ]),
        };
        assert_eq!(HostFile::read(&path).unwrap(), None);
        host.write(&path).unwrap();
        assert_eq!(HostFile::read(&path).unwrap().as_ref(), Some(&host));
        assert_eq!(host.given(), Given::from([("leader-elector".to_owned(), elsewhere)]));
        for nonsense in ["", "{", "{}"] {
            fs::write(&path, nonsense).unwrap();
            let said = HostFile::read(&path).unwrap_err().to_string();
            assert!(said.contains("host.json is damaged"), "{said}");
        }
        HostFile::remove(&path).unwrap();
        HostFile::remove(&path).unwrap();
    }

    /// An `up` that takes the lock over from a killed one does not write its own id in the same
    /// instant: until then the lock and this file still name the dead one.
    #[test]
    fn a_file_outlives_its_process() {
        let this = Process::of(std::process::id()).unwrap();
        let of = |pid, start_ticks| HostFile {
            version: "0.1.0".into(),
            build: "b".into(),
            protocol: 1,
            pid,
            start_ticks,
            run_as: None,
            services: BTreeMap::new(),
        };
        assert_eq!(of(this.pid, this.start_ticks).process(), Some(this));
        assert_eq!(
            of(this.pid, this.start_ticks + 1).process(),
            None,
            "another one has the number now"
        );
        assert_eq!(of(u32::MAX, this.start_ticks).process(), None);
    }
}
