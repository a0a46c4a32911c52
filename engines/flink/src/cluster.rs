//! What every process of a cluster has to know: `describe` writes it into the plan, and the
//! launchers read it.

use serde::{Deserialize, Serialize};

use crate::additions::Additions;
use crate::settings::Settings;

/// The file in a role's working directory that holds this, as JSON.
pub const FILE: &str = "cluster.json";

/// The exit code of `jobs` when its cluster does not get whole, which ends the incarnation.
pub const INCOMPLETE_EXIT: u8 = 3;

/// A cluster of one application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterSpec {
    /// The settings as the user gave them.
    pub settings: Settings,
    /// What the settings add to Flink.
    #[serde(default)]
    pub additions: Additions,
    /// The absolute directory where checkpoints go unless a setting says otherwise.
    pub state_directory: String,
    /// The absolute directory that a program's relative paths begin at.
    pub output_directory: String,
}
