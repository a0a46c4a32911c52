//! What each such process is told, by the substrate's environment.

use std::path::PathBuf;

use chassis::transport::Endpoint;
use clap::Args;
use proto::{ApplicationId, ApplicationRef, Generation, Incarnation, IncarnationFence};

/// Where to serve, whose cluster it is, and where the record is.
#[derive(Args, Clone, Debug)]
pub struct ClusterArgs {
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
}

impl ClusterArgs {
    /// The fence of everything that this cluster reports.
    pub fn fence(&self) -> IncarnationFence {
        let application =
            ApplicationRef { id: self.application.clone(), generation: Generation(self.generation) };
        IncarnationFence { application, incarnation: Incarnation(self.incarnation) }
    }
}
