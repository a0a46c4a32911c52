//! `host.json`: what a running host is made of. Written whole when everything is ready, gone when the host is.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use chassis::transport::Endpoint;
use client::process_tree::Process;
use serde::{Deserialize, Serialize};

/// Endpoints of services that somebody else runs, by the service's name: they are used and never started or ended.
pub(crate) type Given = BTreeMap<String, Endpoint>;

/// What `up` says about itself and its services.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HostFile {
    /// Version of the build of `up`.
    pub(crate) version: String,
    /// The build itself.
    pub(crate) build: String,
    /// Version of the protocol between processes.
    pub(crate) protocol: u32,
    /// Process id of `up`.
    pub(crate) pid: u32,
    /// When it was started, in clock ticks since boot.
    pub(crate) start_ticks: u64,
    /// Whom main() and clusters run as, where that is not the host's own user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) run_as: Option<String>,
    /// The four services by name.
    pub(crate) services: BTreeMap<String, ServiceEntry>,
}

/// Who starts a service and ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KeptBy {
    /// `up` started it, keeps it running, and ends it.
    #[default]
    Up,
    /// Somebody started it by hand for this state directory: it is used, and `up` takes its place once it has ended.
    Hand,
    /// Somebody gave its endpoint: it is used, wherever and whatever it is.
    Given,
}

/// One service that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServiceEntry {
    /// Where it serves.
    pub(crate) endpoint: String,
    /// Its process id; 0 of one whose endpoint was given.
    pub(crate) pid: u32,
    /// When it was started, in clock ticks since boot.
    pub(crate) start_ticks: u64,
    /// Its build; empty where it is not known.
    pub(crate) build: String,
    /// Whose it is.
    #[serde(default)]
    pub(crate) kept_by: KeptBy,
}

impl ServiceEntry {
    /// Of a service whose endpoint was given: its process is nobody's business here.
    pub(crate) fn given(endpoint: &Endpoint) -> Self {
        let endpoint = endpoint.to_string();
        Self { endpoint, pid: 0, start_ticks: 0, build: String::new(), kept_by: KeptBy::Given }
    }
}

impl HostFile {
    /// The file's content; `None` if there is none. One that cannot be read was damaged, since it is replaced in one step.
    pub(crate) fn read(path: &Path) -> io::Result<Option<Self>> {
        let about =
            |kind, why: &dyn std::fmt::Display| io::Error::new(kind, format!("{} {why}", path.display()));
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

    /// The `up` that wrote it, while it lives and can be seen from here.
    pub(crate) fn process(&self) -> Option<Process> {
        Process::of(self.pid)
            .filter(|process| process.start_ticks == self.start_ticks && !process.is_zombie())
    }

    /// The endpoints that were given to the `up` that wrote it.
    pub(crate) fn given(&self) -> Given {
        let given = self.services.iter().filter(|(_, entry)| entry.kept_by == KeptBy::Given);
        given.filter_map(|(name, entry)| Some((name.clone(), entry.endpoint.parse().ok()?))).collect()
    }

    /// Replaces the file in one step. It need not be durable: what it tells of ends with the machine.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let new = path.with_extension("json.new");
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
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

    /// Who has just taken the lock over from one that was killed has not said so yet: the lock and this file still name the dead one.
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
        assert_eq!(of(this.pid, this.start_ticks + 1).process(), None, "another one has the number now");
        assert_eq!(of(u32::MAX, this.start_ticks).process(), None);
    }
}
