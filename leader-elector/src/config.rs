//! What can be set from outside: every field below is an option of `serve leader-elector`.

use std::path::PathBuf;
use std::time::Duration;

use chassis::shared_dir::SharedArgs;
use chassis::transport::Endpoint;
use client::places::Places;
use etcd::EtcdArgs;

/// How long the seat of a silent host is kept. What a host may write is for the record's fences to
/// say, so a seat that is kept too long costs only time: the contenders of a host that is gone are
/// missed for so long. One that is given up too early costs a start of contenders elsewhere. So the
/// lease outlasts an election of etcd's own leader and a restart of the elector, a few seconds
/// each, and is shorter than the patience of a person who looks for the host.
pub const HOST_LEASE: Duration = Duration::from_secs(10);

/// Settings of the leader-elector.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The endpoint to listen on: unix:/path or tcp://host:port. Default: the host's socket of this
    /// service.
    #[arg(long, env = "MAINSPRING_LISTEN", value_name = "ENDPOINT")]
    pub listen: Option<Endpoint>,
    /// The state directory: grants are kept in its `leader-elector/`, and the deployment key is
    /// read from it.
    #[arg(long, env = "MAINSPRING_STATE_DIR", value_name = "DIR")]
    pub state_dir: PathBuf,
    /// The etcd that keeps the grants, for the electors of several hosts.
    #[command(flatten)]
    pub etcd: EtcdArgs,
    /// How long a silent leader keeps its leadership, in milliseconds (500 to 60000); etcd rounds
    /// it up to whole seconds, and grants no less than its own minimum.
    #[arg(long, env = "MAINSPRING_LEASE_MS", value_name = "MS", default_value_t = 2000,
          value_parser = clap::value_parser!(u64).range(500..=60_000))]
    pub lease_ms: u64,
    /// What this host shares with the others.
    #[command(flatten)]
    pub shared: SharedArgs,
}

impl Args {
    /// The places of the state directory.
    pub fn places(&self) -> Places {
        Places::new(&self.state_dir).sharing(self.shared.shared_dir.clone())
    }

    /// The lease as a duration.
    pub fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }
}
