//! What a worker is told, by its role's command line and by the substrate's environment.

use std::path::PathBuf;

use clap::Args;
use jobs_service::ClusterArgs;

use crate::execute::{DEFAULT_MEMORY_LIMIT_BYTES, DEFAULT_RESULT_LIMIT_BYTES};

/// Settings of a worker.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// Which cluster this is, where to serve, and where the record is
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Directory of this process: for results before they are stored, and for what is spilled
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
