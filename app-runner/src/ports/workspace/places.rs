//! The places of one attempt on this host.

use std::path::PathBuf;

use client::places::{Kind, Places};
use proto::EpochFence;
use proto::jobgraph::LogSource;

/// The beginning of the names of an attempt's directories.
pub(super) const ATTEMPT: &str = "attempt-";

/// The end of the names of those directories that main() has no business with.
pub(super) const CONTROL: &str = ".control";

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
pub(in crate::ports) fn source(fence: &EpochFence) -> LogSource {
    LogSource {
        application: Some(fence.application.clone().into()),
        role: "main".to_owned(),
        replica: 0,
        number: fence.epoch.get(),
        start: 0,
        host: String::new(),
    }
}
