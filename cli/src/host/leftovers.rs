//! What generations leave beside the record, below the state directory or the directory that hosts
//! share: outputs in the default place, checkpoints, work, and shared artifacts. These directories
//! are removed once the record has forgotten their generation.

use std::collections::HashSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use client::places::Places;
use proto::ApplicationRef;

use crate::application::Named;

/// The directories of one generation. Artifacts have one of their own where hosts share it; else
/// they are below the work directory.
fn directories(places: &Places, application: &ApplicationRef) -> Vec<PathBuf> {
    let mut directories = vec![
        places.outputs(application),
        places.checkpoints(application),
        places.application_work(application),
    ];
    directories.extend(places.are_shared().then(|| places.artifacts(application)));
    directories
}

/// Removes what a generation has left. The caller passes a generation only once the record has
/// forgotten it, after which no later generation gets its name.
pub(crate) fn remove(places: &Places, application: &ApplicationRef) -> io::Result<()> {
    for directory in directories(places, application) {
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(io::Error::new(
                    error.kind(),
                    format!("{}: {error}", directory.display()),
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The generations that have left something, without the known ones.
pub(crate) fn of_others(
    places: &Places,
    known: &HashSet<ApplicationRef>,
) -> io::Result<HashSet<ApplicationRef>> {
    let mut others = HashSet::new();
    let any = ApplicationRef {
        id: "a".parse().map_err(io::Error::other)?,
        generation: proto::Generation(1),
    };
    for directory in directories(places, &any) {
        let Some(all) = directory.parent() else { continue };
        let entries = match fs::read_dir(all) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            others.extend(
                entry?.file_name().to_str().and_then(generation).filter(|of| !known.contains(of)),
            );
        }
    }
    Ok(others)
}

/// The generation that a directory is named after.
fn generation(name: &str) -> Option<ApplicationRef> {
    let Named { id, generation } = name.parse().ok()?;
    Some(ApplicationRef { id, generation: generation? })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_generations_left_is_found_by_its_name_and_removed_alone() {
        let state = tempfile::tempdir().unwrap();
        let places = Places::new(state.path());
        let [gone, kept] = ["gone@3", "kept@1"].map(|name| generation(name).unwrap());
        assert_eq!(of_others(&places, &HashSet::new()).unwrap(), HashSet::new());
        let left = |of: &ApplicationRef| {
            [places.outputs(of), places.checkpoints(of), places.application_work(of)]
                .map(|directory| directory.join("below"))
        };
        for directory in [&gone, &kept].into_iter().flat_map(left) {
            fs::create_dir_all(directory).unwrap();
        }
        fs::create_dir_all(state.path().join("outputs/somebody's")).unwrap();
        let known = HashSet::from([kept.clone()]);
        assert_eq!(of_others(&places, &known).unwrap(), HashSet::from([gone.clone()]));
        remove(&places, &gone).unwrap();
        remove(&places, &gone).unwrap();
        assert_eq!(of_others(&places, &HashSet::new()).unwrap(), known);
        assert!(left(&kept).iter().all(|directory| directory.exists()));
        assert!(!left(&gone).iter().any(|directory| directory.exists()), "something is left of it");
        assert!(state.path().join("outputs/somebody's").exists());
    }

    #[test]
    fn what_a_generation_left_where_hosts_share_it_is_found_and_removed() {
        let (state, shared) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let places = Places::new(state.path()).sharing(Some(shared.path().to_owned()));
        let gone = generation("gone@3").unwrap();
        fs::create_dir_all(places.artifacts(&gone)).unwrap();
        assert!(places.artifacts(&gone).starts_with(shared.path()));
        let known = HashSet::new();
        assert_eq!(of_others(&places, &known).unwrap(), HashSet::from([gone.clone()]));
        fs::create_dir_all(places.outputs(&gone)).unwrap();
        remove(&places, &gone).unwrap();
        assert_eq!(of_others(&places, &known).unwrap(), HashSet::new());
    }

    #[test]
    fn what_cannot_be_removed_is_named() {
        let state = tempfile::tempdir().unwrap();
        let (places, gone) = (Places::new(state.path()), generation("gone@3").unwrap());
        let in_the_way = places.checkpoints(&gone);
        fs::create_dir_all(in_the_way.parent().unwrap()).unwrap();
        fs::write(&in_the_way, "no directory").unwrap();
        let error = remove(&places, &gone).unwrap_err();
        assert!(error.to_string().starts_with(&*in_the_way.to_string_lossy()), "{error}");
    }
}
