//! What attempts have on one host: the places, which runner and tethers compute alike, and the
//! removal of what is left there. A runner removes what attempts left on its own host; on every
//! other host lifecycle does, once the application is clean.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use proto::jobgraph::LogSource;
use proto::{ApplicationRef, Epoch, EpochFence, Generation};

use crate::outbox::Outbox;
use crate::places::{Kind, Places};
use crate::tether::output;

/// The file that main() and its descendants hold locked, in the application's work directory.
pub const MAIN_LOCK: &str = "main.lock";

/// The beginning of the names of an attempt's directories.
const ATTEMPT: &str = "attempt-";

/// The end of the names of those directories that main() has no business with.
const CONTROL: &str = ".control";

/// The places of one attempt.
#[derive(Debug, Clone)]
pub struct AttemptPlaces {
    /// main()'s working directory. The artifacts lie in it.
    pub directory: PathBuf,
    /// Specs, outputs, exit files and tokens, for the runner and its tethers.
    pub control: PathBuf,
    /// The file of main()'s credential, which opens `ExecutionService` and nothing else.
    pub token_file: PathBuf,
    /// The file of the token that `describe` demands of its callers.
    pub describe_token_file: PathBuf,
    /// The sockets of the runner and its tethers.
    pub sockets: PathBuf,
    /// The directory of the socket that main() calls. It is `sockets`, unless main() runs as
    /// another user.
    pub doors: PathBuf,
}

impl AttemptPlaces {
    /// The places of an attempt, which every process of the host computes alike.
    pub fn new(places: &Places, fence: &EpochFence) -> Self {
        let work = places.application_work(&fence.application);
        let control = work.join(format!("{ATTEMPT}{}{CONTROL}", fence.epoch));
        let open = places.open();
        let doors = open.sockets(&fence.application, Kind::Attempt, fence.epoch.get());
        Self {
            directory: open
                .application_work(&fence.application)
                .join(format!("{ATTEMPT}{}", fence.epoch)),
            token_file: if places.are_apart() {
                doors.join("token")
            } else {
                control.join("token")
            },
            describe_token_file: control.join("describe.token"),
            sockets: places.sockets(&fence.application, Kind::Attempt, fence.epoch.get()),
            doors,
            control,
        }
    }

    /// The directory where main()'s tether keeps main()'s output.
    pub fn output(&self) -> PathBuf {
        self.control.join("main")
    }
}

/// The source of the output of an attempt's main().
pub fn source(fence: &EpochFence) -> LogSource {
    LogSource {
        application: Some(fence.application.clone().into()),
        role: "main".to_owned(),
        replica: 0,
        number: fence.epoch.get(),
        start: 0,
        host: String::new(),
    }
}

/// The generations that have a work directory on this host. It may be empty: of attempts,
/// contenders and clusters the last one to go does not know that it is the last.
pub fn generations(places: &Places) -> Vec<ApplicationRef> {
    let works = fs::read_dir(places.work()).into_iter().flatten().flatten();
    works.filter_map(|work| generation_of(work.file_name().to_str()?)).collect()
}

/// The generation that a work directory is named after.
fn generation_of(name: &str) -> Option<ApplicationRef> {
    let (id, generation) = name.split_once('@')?;
    Some(ApplicationRef { id: id.parse().ok()?, generation: Generation(generation.parse().ok()?) })
}

/// Saves the output of main()s that is not in the record from the removal of their directories.
/// With `below` only attempts below that epoch are meant. None of these attempts lives. The answer
/// names what went wrong, one line each, and such output is where it was.
pub fn rescue_output(
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

/// Removes what the attempts of one generation left on this host, once output that is not in the
/// record is saved. None of these attempts lives. The answer names what could not be saved or
/// removed, one line each.
pub fn remove(places: &Places, application: &ApplicationRef) -> Vec<String> {
    let mut leftovers = rescue_output(places, application, None);
    if places.are_apart() {
        let open = places.open().application_work(application);
        leftovers.extend(remove_below(places, application, &open));
    }
    let own = places.application_work(application);
    leftovers.extend(remove_below(places, application, &own));
    leftovers
}

/// Removes what attempts have below one work directory. The answer names what could not be
/// removed.
fn remove_below(places: &Places, application: &ApplicationRef, work: &Path) -> Vec<String> {
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
