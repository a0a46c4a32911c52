//! What the process is told, by its role's command line and by the substrate's environment.

use chassis::transport::Endpoint;
use clap::Args;
use jobs_service::ClusterArgs;

/// The settings of `jobs`.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// Which cluster this is, where to serve, and where the record is
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Where the JobManager finds this process, `host:port`
    #[arg(long, env = "MAINSPRING_ADDRESS_JOBS_HA", required_unless_present = "session")]
    pub ha: Option<String>,
    /// Where the JobManager serves its REST API, `host:port`
    #[arg(long, env = "MAINSPRING_ADDRESS_JOBMANAGER_REST", required_unless_present = "session")]
    pub jobmanager: Option<String>,
    /// Instead of both: where a session cluster serves its REST API, `host:port`
    #[arg(long)]
    pub session: Option<String>,
    /// TaskManagers that make the cluster whole
    #[arg(long, default_value_t = 1)]
    pub taskmanagers: u32,
    /// Jobs may come before the cluster is whole, and wait in it
    #[arg(long)]
    pub early: bool,
    /// How long TaskManagers may take once the JobManager answers, in seconds
    #[arg(long, default_value_t = 100)]
    pub whole_within: u32,
}

/// The cluster that the process stands beside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A cluster of this application alone.
    Own {
        /// Where its JobManager finds this process.
        ha: Endpoint,
        /// Where the JobManager serves its REST API.
        rest: Endpoint,
    },
    /// A cluster that runs already and is used by other applications too.
    Session {
        /// Where its JobManager serves its REST API.
        rest: Endpoint,
    },
}

impl Config {
    /// The cluster that this process stands beside, or which of its addresses is malformed.
    pub fn place(&self) -> Result<Place, String> {
        let address = |text: &Option<String>| {
            let text = text.as_deref().unwrap_or_default();
            chassis::http::endpoint(text).ok_or_else(|| format!("{text:?} is no host:port"))
        };
        if self.session.is_some() {
            return Ok(Place::Session { rest: address(&self.session)? });
        }
        Ok(Place::Own { ha: address(&self.ha)?, rest: address(&self.jobmanager)? })
    }
}
