//! The output of processes that is not in the record yet although the process's directory has to
//! go. It is moved here, below the state directory, and stays until lifecycle has shipped it, even
//! if the application is clean by then. Nothing else removes it.
//!
//! A directory of the outbox is a tether's output directory as it was, called
//! `<id>@<generation>.<role>.<number>.<replica>.<start>`. The name alone says which source the
//! output belongs to, and taking a directory in is one rename, which succeeds on a full disk too.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use proto::ApplicationRef;
use proto::jobgraph::LogSource;

use crate::places::Places;
use crate::tether::output::segments;

/// The outbox of one host; cheap to clone.
#[derive(Debug, Clone)]
pub struct Outbox {
    directory: PathBuf,
}

impl Outbox {
    /// The outbox of these places.
    pub fn new(places: &Places) -> Self {
        Self { directory: places.state().join("outbox") }
    }

    /// The directory of the outbox.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Makes the directory, which is best done before the disk is full.
    pub fn make(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)
    }

    /// Takes in the output that a tether has kept in `output`. The tether must have gone, or write
    /// nothing more. The answer is `false` if there is no output.
    pub fn take(&self, source: &LogSource, output: &Path) -> io::Result<bool> {
        if segments(output)?.is_empty() {
            return Ok(false);
        }
        self.make()?;
        fs::rename(output, self.directory_of(source)?)?;
        Ok(true)
    }

    /// The sources whose output waits here, in the order of their directories' names.
    pub fn sources(&self) -> io::Result<Vec<LogSource>> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry?.file_name().into_string().ok());
        }
        names.sort();
        Ok(names.iter().filter_map(|name| source_of(name)).collect())
    }

    /// The directory where a source's output waits, or would wait.
    pub fn directory_of(&self, source: &LogSource) -> io::Result<PathBuf> {
        let application: Result<ApplicationRef, _> = source.application.clone().try_into();
        let application = application.map_err(io::Error::other)?;
        let LogSource { role, number, replica, start, .. } = source;
        Ok(self.directory.join(format!("{application}.{role}.{number}.{replica}.{start}")))
    }

    /// Removes a source's output, because all of it is in the record, or because it will never be
    /// asked for.
    pub fn remove(&self, source: &LogSource) -> io::Result<()> {
        match fs::remove_dir_all(self.directory_of(source)?) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn source_of(name: &str) -> Option<LogSource> {
    let (id, rest) = name.split_once('@')?;
    let (generation, rest) = rest.split_once('.')?;
    let mut from_the_end = rest.rsplitn(4, '.');
    let start = from_the_end.next()?.parse().ok()?;
    let replica = from_the_end.next()?.parse().ok()?;
    let number = from_the_end.next()?.parse().ok()?;
    let role = from_the_end.next()?.to_owned();
    let generation = proto::Generation(generation.parse().ok()?);
    let application = ApplicationRef { id: id.parse().ok()?, generation };
    let host = String::new();
    Some(LogSource { application: Some(application.into()), role, replica, number, start, host })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_taken_in_is_found_by_its_name_and_stays_until_it_is_removed() {
        let state = tempfile::tempdir().unwrap();
        let outbox = Outbox::new(&Places::new(state.path()));
        assert_eq!(outbox.sources().unwrap(), Vec::new());
        let application =
            ApplicationRef { id: "orders-7k".parse().unwrap(), generation: proto::Generation(4) };
        let source = |role: &str| LogSource {
            application: Some(application.clone().into()),
            role: role.into(),
            number: 7,
            replica: 1,
            start: 2,
            host: String::new(),
        };
        let output = state.path().join("work/main");
        fs::create_dir_all(&output).unwrap();
        assert!(!outbox.take(&source("main"), &output).unwrap(), "there is no output in it");
        fs::write(output.join("output-00000000000000000000.seg"), "x").unwrap();
        assert!(outbox.take(&source("main"), &output).unwrap());
        assert!(!output.exists());
        fs::create_dir_all(&output).unwrap();
        fs::write(output.join("output-00000000000000000000.seg"), "y").unwrap();
        assert!(outbox.take(&source("task.manager"), &output).unwrap());
        assert_eq!(outbox.sources().unwrap(), [source("main"), source("task.manager")]);
        outbox.remove(&source("main")).unwrap();
        outbox.remove(&source("main")).unwrap();
        assert_eq!(outbox.sources().unwrap(), [source("task.manager")]);
    }
}
