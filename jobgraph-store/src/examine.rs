//! A look at the files of a record, and at what the record has elsewhere, for a program that wants
//! to know whether they are whole and can be used. The look changes nothing, and a store may be at
//! work there meanwhile.

mod elsewhere;

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chassis::clock::{Clock as _, SharedClock};
use proto::Digest;
use redb_file::FileError;
use sha2::{Digest as _, Sha256};

use crate::blobs::BlobName;

pub use elsewhere::{Found, elsewhere};

/// The metadata's file in the store's directory.
pub const RECORD: &str = "record.redb";

/// The file in the store's directory that says which record on etcd the directory belongs to.
pub const PLACE: &str = "record.etcd";

/// The payloads' directory in the store's directory.
pub const PAYLOADS: &str = "payloads";

/// How many damaged payloads are named; the others are counted.
const NAMED: usize = 3;

/// What a look came to: `Ok` says what is there, `Err` says what is wrong with it and what to do.
pub type Looked = Result<String, String>;

/// Looks at the record of the store in this directory; `None` if there never was a record, or if
/// it is on etcd, which [`elsewhere()`] looks at.
pub async fn record(state: &Path, clock: &SharedClock) -> Option<Looked> {
    if state.join(PLACE).exists() {
        return None;
    }
    let path = state.join(RECORD);
    if let Err(lost) = not_lost(state) {
        return Some(Err(lost));
    }
    if !path.exists() {
        return None;
    }
    Some(match redb_file::examine_patiently(&path, clock).await {
        Ok(Some(bytes)) => Ok(format!("{} is whole ({bytes} bytes)", path.display())),
        Ok(None) => Ok(format!(
            "{} is written to all the time: look again at a quiet moment",
            path.display()
        )),
        Err(error @ FileError::Damaged { .. }) => Err(with_remedy(&error, state)),
        Err(error) => Err(error.to_string()),
    })
}

/// Looks at all payloads of the store in this directory, or at as many as can be digested within so
/// long; `None` if there are no payloads.
pub async fn payloads(state: &Path, clock: &SharedClock, within: Duration) -> Option<Looked> {
    let (directory, clock) = (state.join(PAYLOADS), clock.clone());
    let looked =
        tokio::task::spawn_blocking(move || look_at_payloads(&directory, &clock, within)).await;
    match looked {
        Ok(Ok(looked)) => looked,
        Ok(Err(error)) => Some(Err(error.to_string())),
        Err(error) => Some(Err(format!("the payloads could not be looked at: {error}"))),
    }
}

/// Refuses a directory that has payloads and neither a record nor the file that says where on etcd
/// the record is. Another record beside payloads of an earlier one would say that nothing ever ran,
/// and would sweep them.
pub(crate) fn not_lost(state: &Path) -> Result<(), String> {
    let record = state.join(RECORD);
    let is_there = |file: &str| state.join(file).try_exists().unwrap_or(true);
    if is_there(RECORD) || is_there(PLACE) {
        return Ok(());
    }
    let kept = files(&state.join(PAYLOADS)).map_err(|error| error.to_string())?.len();
    if kept == 0 {
        return Ok(());
    }
    Err(format!(
        "the record {} is gone, and beside it lie {kept} payloads that it knew (of a record on \
         etcd, {PLACE} is gone, which says where it is); {}",
        record.display(),
        remedy(state)
    ))
}

/// What is wrong with a record, and the way out.
pub(crate) fn with_remedy(error: &impl std::fmt::Display, state: &Path) -> String {
    format!("the record {error}; {}", remedy(state))
}

fn remedy(state: &Path) -> String {
    format!("restore it from a copy, or move {} away to begin with nothing", state.display())
}

fn look_at_payloads(
    directory: &Path,
    clock: &SharedClock,
    within: Duration,
) -> io::Result<Option<Looked>> {
    let all = files(directory)?;
    if all.is_empty() {
        return Ok(None);
    }
    let end = clock.boot() + within;
    let (mut bytes, mut looked_at, mut damaged) = (0, 0, Vec::new());
    for (digest, path) in &all {
        if clock.boot() >= end {
            break;
        }
        match digest_of(path) {
            Ok((is, size)) => {
                bytes += size;
                looked_at += 1;
                if is != *digest {
                    damaged.push(path);
                }
            }
            // The payload was swept meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Ok(Some(Err(format!("{}: {error}", path.display())))),
        }
    }
    let of_all = match all.len() {
        count if looked_at < count => {
            format!("{looked_at} of {count} payloads ({bytes} bytes; no time for more)")
        }
        count => format!("{count} payloads ({bytes} bytes)"),
    };
    if damaged.is_empty() {
        return Ok(Some(Ok(format!("{of_all} in {} are whole", directory.display()))));
    }
    let mut names: Vec<String> =
        damaged.iter().take(NAMED).map(|path| path.display().to_string()).collect();
    if damaged.len() > NAMED {
        names.push(format!("{} more", damaged.len() - NAMED));
    }
    Ok(Some(Err(format!(
        "of {of_all} {} are damaged: {}; restore them from a copy, or submit anew what needs them",
        damaged.len(),
        names.join(", ")
    ))))
}

/// All payloads below a directory, without those that are being written.
pub(crate) fn files(directory: &Path) -> io::Result<Vec<(Digest, PathBuf)>> {
    let entries = |directory: &Path| match fs::read_dir(directory) {
        Ok(entries) => entries.collect::<io::Result<Vec<_>>>(),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => {
            Err(io::Error::new(error.kind(), format!("{}: {error}", directory.display())))
        }
    };
    let mut files = Vec::new();
    for below in entries(directory)? {
        if below.file_name().len() != 2 {
            continue;
        }
        for file in entries(&below.path())? {
            let name = file.file_name();
            let name = name.to_str().and_then(BlobName::parse);
            files.extend(name.map(|name| (name.digest, file.path())));
        }
    }
    Ok(files)
}

fn digest_of(path: &Path) -> io::Result<(Digest, u64)> {
    let mut file = File::open(path)?;
    let (mut hasher, mut size, mut part) = (Sha256::new(), 0, vec![0; 1024 * 1024]);
    loop {
        match file.read(&mut part)? {
            0 => return Ok((Digest::from_bytes(hasher.finalize().into()), size)),
            read => {
                hasher.update(&part[..read]);
                size += read as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests;
