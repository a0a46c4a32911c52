//! What every process of a cluster has to know: written by `describe` into the plan, read by the launchers.

use serde::{Deserialize, Serialize};

use crate::additions::Additions;
use crate::settings::Settings;

/// The file in a role's working directory that holds this, as JSON.
pub const FILE: &str = "cluster.json";

/// The exit code of a `jobs` whose cluster does not get whole: it ends the incarnation.
pub const INCOMPLETE_EXIT: u8 = 3;

/// A cluster of one application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// As the user gave them.
    pub settings: Settings,
    /// What they add to Flink.
    #[serde(default)]
    pub additions: Additions,
    /// Where checkpoints go unless a setting says otherwise; absolute.
    pub state_directory: String,
    /// What a program's relative paths begin at; absolute.
    pub output_directory: String,
}
