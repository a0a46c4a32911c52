//! What a worker is told: by its role's command line and by the substrate's environment.

use std::path::PathBuf;

use chassis::transport::Endpoint;
use clap::Args;
use proto::{ApplicationId, ApplicationRef, Generation, Incarnation, IncarnationFence};

use crate::execute::{DEFAULT_MEMORY_LIMIT_BYTES, DEFAULT_RESULT_LIMIT_BYTES};

/// Settings of a worker.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// Where to serve: `unix:/path` or `tcp://host:port`
    #[arg(long, env = "MAINSPRING_ENDPOINT")]
    pub endpoint: Endpoint,
    /// File that holds the incarnation's token
    #[arg(long, env = "MAINSPRING_TOKEN_FILE")]
    pub token_file: PathBuf,
    /// Where jobgraph-store serves
    #[arg(long, env = "MAINSPRING_STORE")]
    pub store: Endpoint,
    /// Whose cluster this is
    #[arg(long, env = "MAINSPRING_APPLICATION")]
    pub application: ApplicationId,
    /// Which life of the application
    #[arg(long, env = "MAINSPRING_GENERATION")]
    pub generation: u64,
    /// Which life of the cluster
    #[arg(long, env = "MAINSPRING_INCARNATION")]
    pub incarnation: u64,
    /// Directory of this process: results before they are stored, and what is spilled
    #[arg(long, env = "MAINSPRING_WORK_DIR")]
    pub work_dir: PathBuf,
    /// Memory of one job before it spills
    #[arg(long, default_value_t = DEFAULT_MEMORY_LIMIT_BYTES)]
    pub memory_limit_bytes: usize,
    /// Largest result of a SELECT
    #[arg(long, default_value_t = DEFAULT_RESULT_LIMIT_BYTES)]
    pub result_limit_bytes: u64,
    /// Jobs that run at the same time; more wait
    #[arg(long, default_value_t = 4)]
    pub jobs_at_once: usize,
}

impl Config {
    /// The fence of everything that this worker reports.
    pub fn fence(&self) -> IncarnationFence {
        let application =
            ApplicationRef { id: self.application.clone(), generation: Generation(self.generation) };
        IncarnationFence { application, incarnation: Incarnation(self.incarnation) }
    }
}
