//! Everything outside of a runner: a module for each thing, its trait first, then what stands behind
//! it in a real run. The durable record is the exception: its trait is a crate of its own,
//! [`record`]. The wire's messages are used as they are where they are only passed on; what
//! decisions rest on is translated into the model's words in [`view`].
//!
//! Law of every port: a call may be repeated after any error, and a repeat that finds the thing done answers as the
//! first one did. Nothing here retries for ever: that is the service's choice, by [`PortError::is_away`].

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

use ::record::Record;
use chassis::clock::SharedClock;

use crate::error::PortError;
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
    /// Who leads.
    pub election: Arc<dyn Election>,
    /// The durable record.
    pub record: Arc<dyn Record>,
    /// The tokens that the record answered.
    pub keyring: Keyring,
    /// Bytes by digest, in the record.
    pub payloads: Arc<dyn Payloads>,
    /// Bytes from anywhere.
    pub artifacts: Arc<dyn Artifacts>,
    /// The engine's `describe`.
    pub engine: Arc<dyn Engine>,
    /// The processes of clusters.
    pub substrate: Arc<dyn Substrate>,
    /// Jobs in the cluster.
    pub jobs: Arc<dyn Jobs>,
    /// main().
    pub main: Arc<dyn MainProcess>,
    /// Directories.
    pub workspace: Arc<dyn Workspace>,
    /// Time.
    pub clock: SharedClock,
}
