//! Settings, parsed into types at the door.

use std::path::PathBuf;

use chassis::run_as::RunAsArgs;
use chassis::transport::Endpoint;
use client::places::Places;
use etcd::EtcdArgs;

use crate::blobs::location::BlobsArgs;

/// Settings of `mainspring serve jobgraph-store`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Where to listen: unix:/path or tcp://host:port. Default: the socket of this state
    /// directory's host.
    #[arg(long, env = "MAINSPRING_LISTEN", value_name = "ENDPOINT")]
    pub listen: Option<Endpoint>,

    /// Where the stores of other hosts reach this one, too: tcp://host:port. They ask it how its
    /// leaders do.
    #[arg(long, env = "MAINSPRING_NETWORK", value_name = "ENDPOINT")]
    pub network: Option<Endpoint>,

    /// Where the record is kept, in `jobgraph-store/` below it; with an etcd only its payloads, and
    /// with a place of their own not even those.
    #[arg(long, env = "MAINSPRING_STATE_DIR", value_name = "DIR")]
    pub state_dir: PathBuf,

    /// The etcd that keeps the metadata.
    #[command(flatten)]
    pub etcd: EtcdArgs,

    /// The place of the payloads.
    #[command(flatten)]
    pub blobs: BlobsArgs,

    /// How many seconds back changes can be watched from, and pages of a list be read on; never
    /// more than the last 10,000 changes.
    #[arg(long, env = "MAINSPRING_PAST_SECONDS", value_name = "SECONDS", default_value_t = 900)]
    pub past_seconds: u32,

    /// The user that clusters run as; such clusters are served at a socket of their own
    #[command(flatten)]
    pub run_as: RunAsArgs,
}

impl Args {
    /// The service's name, in places and logs.
    pub const SERVICE: &'static str = "jobgraph-store";

    /// The places of the host that this store serves.
    pub fn places(&self) -> Places {
        Places::new(self.state_dir.clone()).for_run_as(self.run_as.given().as_ref())
    }

    /// The endpoint that the store listens at.
    pub fn endpoint(&self) -> Endpoint {
        self.listen
            .clone()
            .unwrap_or_else(|| Endpoint::Unix(self.places().service_socket(Self::SERVICE)))
    }
}
