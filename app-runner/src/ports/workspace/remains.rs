//! What attempts left on this host: output that is not in the record is kept, all else is removed.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use client::outbox::Outbox;
use client::places::{Kind, Places};
use client::tether::output;
use proto::{ApplicationRef, Epoch, EpochFence};

use super::places::{ATTEMPT, AttemptPlaces, CONTROL, source};

/// Saves the output of main()s that is not in the record from the removal of their directories.
/// With `below` only attempts below that epoch are meant. None of these attempts lives. The answer
/// names what went wrong, one line each, and such output is where it was.
pub(in crate::ports) fn rescue_output(
    places: &Places,
    application: &ApplicationRef,
    below: Option<Epoch>,
) -> Vec<String> {
    let outbox = Outbox::new(places);
    let mut errors = Vec::new();
    for entry in fs::read_dir(places.application_work(application)).into_iter().flatten().flatten()
    {
        let name = entry.file_name();
        let epoch = name
            .to_str()
            .and_then(|name| name.strip_prefix(ATTEMPT)?.strip_suffix(CONTROL)?.parse().ok());
        let Some(epoch) = epoch.map(Epoch).filter(|epoch| below.is_none_or(|below| *epoch < below))
        else {
            continue;
        };
        let fence = EpochFence { application: application.clone(), epoch };
        let output = AttemptPlaces::new(places, &fence).output();
        match outbox.take(&source(&fence), &output) {
            Ok(false) => {}
            Ok(true) => tracing::info!("output of main() in attempt {epoch} waits to be shipped"),
            Err(error) => {
                errors.push(format!("{}: output is not in the record: {error}", output.display()))
            }
        }
    }
    errors
}

/// Removes what attempts have below one work directory. The answer names what could not be
/// removed.
pub(super) fn remove_attempts(
    places: &Places,
    application: &ApplicationRef,
    work: &Path,
) -> Vec<String> {
    let mut leftovers = Vec::new();
    let entries = match fs::read_dir(work) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return leftovers,
        Err(error) => return vec![format!("{}: {error}", work.display())],
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let path = entry.path();
        // Contenders and clusters have their own owners, and the next campaign needs the lock.
        let Some(rest) = name.strip_prefix(ATTEMPT) else { continue };
        if let Ok(epoch) = rest.trim_end_matches(CONTROL).parse() {
            let fence = EpochFence { application: application.clone(), epoch: Epoch(epoch) };
            let output = AttemptPlaces::new(places, &fence).output();
            if rest.ends_with(CONTROL)
                && output::segments(&output).is_ok_and(|kept| !kept.is_empty())
            {
                // The output could not be saved, which `rescue_output` has said, so its directory
                // stays.
                continue;
            }
            // Sockets go with their servers and tethers, and what is left of these directories is
            // empty.
            for of in [places, &places.open()] {
                let _ = fs::remove_dir_all(of.sockets(application, Kind::Attempt, epoch));
            }
        }
        let removed = fs::remove_dir_all(&path);
        if let Err(error) = removed
            && error.kind() != ErrorKind::NotFound
        {
            leftovers.push(format!("{}: {error}", path.display()));
        }
    }
    leftovers
}
