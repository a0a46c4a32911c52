//! The directory that the hosts of one deployment share. A host that is given one is one of several.

use std::path::PathBuf;

/// The variable of the setting, which processes hand on to the processes that they start.
pub const VARIABLE: &str = "MAINSPRING_SHARED_DIR";

/// Whether this host is one of several, and what the hosts share.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct SharedArgs {
    /// Absolute directory that all hosts of the deployment see, at the same path: outputs,
    /// checkpoints and artifacts are kept there. Needs MAINSPRING_ETCD and MAINSPRING_BLOBS
    #[arg(long, env = VARIABLE, value_name = "DIR", value_parser = absolute)]
    pub shared_dir: Option<PathBuf>,
}

fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err("an absolute path is expected".to_owned()) }
}
