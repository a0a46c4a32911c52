//! What can be set from outside: every field below is an option of `serve lifecycle`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chassis::cluster_grace::GraceArgs;
use chassis::run_as::RunAsArgs;
use chassis::shared_dir::SharedArgs;
use chassis::transport::{Endpoint, INSECURE_NETWORK_VARIABLE, TLS_VARIABLE};
use chassis::{environment, telemetry};
use client::places::Places;

/// Settings of lifecycle.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The absolute directory where everything lasting is kept
    #[arg(long, env = "MAINSPRING_STATE_DIR", value_name = "DIR")]
    pub state_dir: PathBuf,

    /// The endpoint to listen on: `unix:/path` or `tcp://host:port`; by default the socket of this
    /// state directory
    #[arg(long, env = "MAINSPRING_LISTEN", value_name = "ENDPOINT")]
    pub listen: Option<Endpoint>,

    /// The endpoint where jobgraph-store listens; by default its socket of this state directory
    #[arg(long, env = "MAINSPRING_STORE", value_name = "ENDPOINT")]
    pub store: Option<Endpoint>,

    /// The executable that is run as a tether; by default this one
    #[arg(long, env = "MAINSPRING_EXECUTABLE", value_name = "FILE")]
    pub mainspring: Option<PathBuf>,

    /// The users that clusters run as
    #[command(flatten)]
    pub run_as: RunAsArgs,

    /// What this host shares with the others
    #[command(flatten)]
    pub shared: SharedArgs,

    /// How long clusters go on without a word from the record
    #[command(flatten)]
    pub grace: GraceArgs,
}

impl Args {
    /// The places of the state directory.
    pub fn places(&self) -> Places {
        Places::new(&self.state_dir).sharing(self.shared.shared_dir.clone())
    }

    /// The endpoint to listen on.
    pub fn listen(&self) -> Endpoint {
        self.listen
            .clone()
            .unwrap_or_else(|| Endpoint::Unix(self.places().service_socket("lifecycle")))
    }

    /// The endpoint where jobgraph-store listens.
    pub fn store(&self) -> Endpoint {
        self.store
            .clone()
            .unwrap_or_else(|| Endpoint::Unix(self.places().service_socket("jobgraph-store")))
    }
}

/// The variables of lifecycle's own environment that processes get: to find programs and places, to
/// log, to be tested. Variables that begin with `OTEL_` come on top, to trace. The certificates of
/// the host go only to those that need them.
const HANDED_ON: [&str; 14] = [
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "MAINSPRING_LOG",
    "MAINSPRING_LOG_FORMAT",
    "MAINSPRING_FAILPOINTS",
    INSECURE_NETWORK_VARIABLE,
    TLS_VARIABLE,
    "RUST_BACKTRACE",
];

/// The part of lifecycle's own environment that processes get. What the engine adds comes on top.
pub fn inherited() -> BTreeMap<String, String> {
    let variable = |name: &&str| Some(((*name).to_owned(), std::env::var(name).ok()?));
    let named = HANDED_ON.iter().filter_map(variable);
    named.chain(environment::of_engines()).chain(telemetry::variables()).collect()
}
