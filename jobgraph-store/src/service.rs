//! The verbs of the record. Each verb reads the dossier with its revisions, decides without I/O,
//! and commits once with compares on what was read.

mod applications;
mod backup;
mod caretaker;
mod events;
mod forget;
mod index;
#[cfg(test)]
mod laws;
pub mod list;
pub mod live;
mod load;
mod manifest;
mod marks;
mod past;
pub mod payloads;
pub mod peers;
mod planted;
mod processes;
pub mod queue;
mod recent;
mod record;
#[cfg(test)]
pub(crate) mod sample;
mod submit;
mod sweep;
mod to_its_end;
mod watch;
mod write;

use std::path::Path;
use std::sync::Arc;

use chassis::clock::SharedClock;
use proto::{ApplicationRef, Digest, Place, job};

use crate::blobs::Blobs;
use crate::blobs::verified::Verified;
use crate::logs::Logs;
use crate::store::Metadata;
use caretaker::Watched;
use live::Live;
use marks::{KnownSweeps, Lonely};
use peers::Peers;
use queue::Queue;
use recent::Recent;

pub use forget::Forgotten;
pub use load::Loaded;
pub(crate) use load::{one, revision_of};
pub use processes::GivenUp;
pub use submit::Submitted;
pub use watch::{Snapshot, WatchItem};

/// The record.
///
/// The wire calls this type, and so do tests of other crates that want a real record. What a verb
/// has answered is durable in the backends; only beats, the queue and lines of output that are not
/// acknowledged live in this process and are gone with it. The value is cheap to clone, and all
/// clones are one record.
#[derive(Clone)]
pub struct Service {
    pub(crate) metadata: Arc<dyn Metadata>,
    pub(crate) blobs: Verified,
    pub(crate) clock: SharedClock,
    pub(crate) live: Live,
    pub(crate) queue: Queue,
    pub(crate) peers: Peers,
    pub(crate) logs: Logs,
    /// The marks of payloads, as far as this store knows them.
    pub(crate) marks: Recent<Digest, marks::Known>,
    pub(crate) sweeps: KnownSweeps,
    /// The leaders whose journals grow.
    pub(crate) growing: Recent<ApplicationRef, Option<record::Leader>>,
    /// Manifests that were read from payloads.
    pub(crate) manifests: Recent<Digest, Arc<job::Manifest>>,
    pub(crate) lonely: Lonely,
    pub(crate) caretaker: Watched,
    /// The host that this process runs on; `None` if it has no name.
    pub(crate) place: Option<Place>,
    /// The directory that all hosts of the deployment see, where there are several.
    pub(crate) shared_dir: Option<Arc<Path>>,
}

/// How many payloads' marks are known.
const MARKS_KEPT: usize = 4096;

/// How many applications' leaders are known.
const LEADERS_KEPT: usize = 1024;

impl Service {
    /// The record over these backends.
    pub fn new(metadata: Arc<dyn Metadata>, blobs: Arc<dyn Blobs>, clock: SharedClock) -> Self {
        let (live, queue) = (Live::new(clock.clone()), Queue::new(clock.clone()));
        let blobs = Verified::new(blobs);
        Self {
            metadata,
            blobs,
            clock,
            live,
            queue,
            peers: Peers::default(),
            logs: Logs::default(),
            marks: Recent::with_room(MARKS_KEPT),
            sweeps: KnownSweeps::default(),
            growing: Recent::with_room(LEADERS_KEPT),
            manifests: Recent::with_room(manifest::KEPT_BYTES),
            lonely: Lonely::default(),
            caretaker: Watched::default(),
            place: None,
            shared_dir: None,
        }
    }

    /// The same record, which other stores may write and read beside this one.
    #[must_use]
    pub fn shared(self) -> Self {
        Self { logs: self.logs.shared(), ..self }
    }

    /// The same record on this host: an older build that named no place meant this one.
    #[must_use]
    pub fn at(self, place: Place) -> Self {
        Self { place: Some(place), ..self }
    }

    /// The same record of several hosts, which all see this directory: the files that a submission
    /// names have to be there, or at an address. `None`: the record is of one host.
    #[must_use]
    pub fn sharing(self, directory: Option<&Path>) -> Self {
        Self { shared_dir: directory.map(Arc::from), ..self }
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Service")
    }
}
