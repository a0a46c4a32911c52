//! Everything outside of a runner. Each thing has a module of its own, with its trait first and
//! then what stands behind the trait in a real run. The durable record is the exception: its trait
//! is a crate of its own, [`record`]. The wire's messages are used as they are where they are only
//! passed on, and [`view`] translates into the model's words what decisions rest on.
//!
//! Law of every port: a call may be repeated after any error, and a repeat that finds the thing
//! done succeeds. No port retries for ever, because whether to ask again is the service's choice,
//! by [`PortError::is_away`].

pub mod artifacts;
pub mod election;
pub mod engine;
pub mod jobs;
pub mod keyring;
pub mod main_process;
#[cfg(test)]
pub mod memory;
pub mod payloads;
pub mod substrate;
pub mod view;
pub mod workspace;

use std::sync::Arc;
use std::time::Duration;

use ::record::Record;
use chassis::clock::SharedClock;
use proto::{Place, jobgraph};

use crate::error::PortError;
use crate::model::Recorded;
use artifacts::Artifacts;
use election::Election;
use engine::Engine;
use jobs::Jobs;
use keyring::Keyring;
use main_process::MainProcess;
use payloads::Payloads;
use substrate::Substrate;
use workspace::Workspace;

/// What a port answers.
pub type PortResult<T> = Result<T, PortError>;

/// All that a runner reaches out to.
#[derive(Clone)]
pub struct Ports {
    /// The campaigns for the leadership of the application.
    pub election: Arc<dyn Election>,
    /// The durable record of the application.
    pub record: Arc<dyn Record>,
    /// The tokens that the record answered to this runner.
    pub keyring: Keyring,
    /// The bytes that the record keeps by digest.
    pub payloads: Arc<dyn Payloads>,
    /// The files that the application names, from anywhere.
    pub artifacts: Arc<dyn Artifacts>,
    /// The engine's `describe` process.
    pub engine: Arc<dyn Engine>,
    /// The processes of clusters.
    pub substrate: Arc<dyn Substrate>,
    /// The jobs in the cluster.
    pub jobs: Arc<dyn Jobs>,
    /// The process of main().
    pub main: Arc<dyn MainProcess>,
    /// The application's directories on this host.
    pub workspace: Arc<dyn Workspace>,
    /// The clock of all waits.
    pub clock: SharedClock,
    /// This host, whose lifecycle starts the processes of this leader's clusters; `None` if it has
    /// no name.
    pub place: Option<Place>,
    /// How long a cluster on another host is waited for whose outputs are visible as they are
    /// written. By then that host has ended it, whether the host reaches the record or not.
    pub successor_waits: Duration,
}

impl Ports {
    /// What decisions need of a record, as it looks from this runner's host.
    pub fn recorded(&self, record: &jobgraph::Record) -> PortResult<Recorded> {
        view::record(record, self.place.as_ref())
    }
}
