//! Gives staged files their final names once the job's end is in the record, and removes staging
//! directories that no job will commit.
//!
//! Both are idempotent, because a leader may die at any point, after which its successor calls them
//! again.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use chassis::disk;

use crate::error::{PublishError, Taken};
use crate::manifest::{Output, STAGING, job_of_part, stays_below};

/// What a publish did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Files that were renamed now.
    pub published: u32,
    /// Files that an earlier try had put in place already.
    pub found: u32,
}

/// Renames the staged files of `outputs` to their final names, then makes each output's
/// [marker](Output::marker) and removes the staging directories. A reader of many files may see
/// some of them before the others; the marker comes after all of them.
///
/// `own_job_ids` are all of this (application, generation). A part of any other job in a target
/// that is not appended to refuses the whole call, before anything is renamed.
pub fn publish(
    outputs: &[Output],
    own_job_ids: &HashSet<String>,
) -> Result<Published, PublishError> {
    for output in outputs.iter().filter(|o| !o.append) {
        let foreign = foreign_part(&output.location, own_job_ids)
            .map_err(PublishError::io(&output.location))?;
        if let Some(taken) = foreign {
            return Err(taken.into());
        }
    }
    let mut done = Published::default();
    for output in outputs {
        publish_one(output, &mut done)?;
    }
    Ok(done)
}

fn publish_one(output: &Output, done: &mut Published) -> Result<(), PublishError> {
    let names = output.files.iter().flat_map(|f| [&f.staged, &f.r#final]).chain([&output.staging]);
    if let Some(path) = names.into_iter().find(|name| !stays_below(name)) {
        return Err(PublishError::Escapes { path: path.clone() });
    }
    let staging = output.location.join(&output.staging);
    let mut touched = BTreeSet::from([output.location.clone()]);
    for file in &output.files {
        let (staged, r#final) = (staging.join(&file.staged), output.location.join(&file.r#final));
        let directory = r#final.parent().unwrap_or(&output.location).to_owned();
        // The directories that are made here have to last as well, so that each parent up to the
        // target is flushed.
        for parent in directory.ancestors().take_while(|p| p.starts_with(&output.location)) {
            touched.insert(parent.to_owned());
        }
        match fs::symlink_metadata(&staged) {
            Ok(_) => {
                fs::create_dir_all(&directory).map_err(PublishError::io(&directory))?;
                fs::rename(&staged, &r#final).map_err(PublishError::io(&r#final))?;
                done.published += 1;
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                if !r#final.try_exists().map_err(PublishError::io(&r#final))? {
                    return Err(PublishError::Lost { staged, r#final });
                }
                done.found += 1;
            }
            Err(e) => return Err(PublishError::io(staged)(e)),
        }
    }
    for directory in touched {
        sync(&directory)?;
    }
    // The marker comes after everything else, on the disk too, so that a reader who sees the marker
    // sees every part.
    let marker = output.location.join(output.marker());
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(&marker)
        .map_err(PublishError::io(&marker))?;
    sync(&output.location)?;
    remove_tree(&staging)?;
    remove_if_empty(&output.location.join(STAGING))
}

fn sync(directory: &Path) -> Result<(), PublishError> {
    disk::sync_directory(directory).map_err(PublishError::io(directory))
}

/// Removes, below each target of `locations`, the staging directories of each (job, incarnation)
/// pair up to the given incarnation. Answers how many directories were removed.
pub fn sweep(locations: &[PathBuf], owners: &[(String, u64)]) -> Result<u32, PublishError> {
    let mut removed = 0;
    for location in locations {
        let staging = location.join(STAGING);
        let entries = match fs::read_dir(&staging) {
            Ok(entries) => entries,
            Err(e)
                if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
            {
                continue;
            }
            Err(e) => return Err(PublishError::io(staging)(e)),
        };
        for entry in entries {
            let entry = entry.map_err(PublishError::io(&staging))?;
            let name = entry.file_name();
            let owner = name.to_str().and_then(|n| n.rsplit_once('-'));
            let Some((job, incarnation)) =
                owner.and_then(|(job, n)| Some((job, n.parse::<u64>().ok()?)))
            else {
                continue;
            };
            if owners.iter().any(|(id, up_to)| id == job && incarnation <= *up_to) {
                remove_tree(&entry.path())?;
                removed += 1;
            }
        }
        remove_if_empty(&staging)?;
        // A target that holds nothing but its staging directory was made by the job.
        remove_if_empty(location)?;
    }
    Ok(removed)
}

/// The first part in `location` whose job is not among `own`; partition directories are searched
/// too.
pub fn foreign_part(location: &Path, own: &HashSet<String>) -> io::Result<Option<Taken>> {
    let mut open = vec![location.to_owned()];
    while let Some(directory) = open.pop() {
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e),
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if entry.file_type()?.is_dir() {
                // Only a directory that a partitioned job can have made is searched.
                if name.contains('=') {
                    open.push(entry.path());
                }
            } else if job_of_part(name).is_some_and(|job| !own.contains(job)) {
                return Ok(Some(Taken { location: location.to_owned(), part: name.to_owned() }));
            }
        }
    }
    Ok(None)
}

fn remove_tree(path: &Path) -> Result<(), PublishError> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(PublishError::io(path)(e)),
        _ => Ok(()),
    }
}

fn remove_if_empty(path: &Path) -> Result<(), PublishError> {
    match fs::remove_dir(path) {
        Err(e)
            if !matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) =>
        {
            Err(PublishError::io(path)(e))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
