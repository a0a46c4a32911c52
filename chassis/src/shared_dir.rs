//! The directory that the hosts of one deployment share. A host that is given one is one of
//! several.

use std::io;
use std::path::{Component, PathBuf};

use clap::Parser as _;

/// The variable of the setting, which processes hand on to the processes that they start.
pub const VARIABLE: &str = "MAINSPRING_SHARED_DIR";

/// Whether this host is one of several, and what the hosts share.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct SharedArgs {
    /// Absolute directory that all hosts of the deployment see, at the same path: outputs,
    /// checkpoints and artifacts are kept there. Needs MAINSPRING_ETCD and MAINSPRING_BLOBS
    #[arg(long, env = VARIABLE, value_name = "DIR", value_parser = absolute)]
    pub shared_dir: Option<PathBuf>,
}

/// A command line that has this setting only.
#[derive(clap::Parser)]
struct Alone {
    #[command(flatten)]
    shared: SharedArgs,
}

impl SharedArgs {
    /// The setting of the environment alone, for a command that has no option of its own for it.
    pub fn of_environment() -> io::Result<Self> {
        let alone = Alone::try_parse_from(["mainspring"]).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidInput, error.to_string().trim_end().to_owned())
        })?;
        Ok(alone.shared)
    }
}

/// Hosts compare the path as it is written, and so do the rules about what lies below it.
fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let climbs = path.components().any(|part| part == Component::ParentDir);
    if path.is_absolute() && !climbs {
        Ok(path)
    } else {
        Err("an absolute path without .. is expected".to_owned())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_shared_directory_has_one_path_on_every_host() {
        let given = |path: &str| {
            let parsed = Alone::try_parse_from(["mainspring", "--shared-dir", path]);
            parsed.ok().and_then(|alone| alone.shared.shared_dir)
        };
        assert_eq!(given("/mnt/shared"), Some("/mnt/shared".into()));
        for wrong in ["", "shared", "./shared", "/mnt/../shared"] {
            assert_eq!(given(wrong), None, "{wrong:?}");
        }
    }
}
