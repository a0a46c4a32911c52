//! What the substrate's environment tells every process that serves jobs.

use std::io;
use std::path::PathBuf;

use chassis::credential::Credential;
use chassis::transport::Endpoint;
use clap::Args;
use proto::{ApplicationId, ApplicationRef, Generation, Incarnation, IncarnationFence};

/// Where to serve, whose cluster it is, and where the record is.
#[derive(Args, Clone, Debug)]
pub struct ClusterArgs {
    /// Where to serve: `unix:/path` or `tcp://host:port`
    #[arg(long, env = "MAINSPRING_ENDPOINT")]
    pub endpoint: Endpoint,
    /// File that holds the incarnation's token: shown to the store
    #[arg(long, env = "MAINSPRING_TOKEN_FILE")]
    pub token_file: PathBuf,
    /// File that holds the token which the leader shows: no other one is taken
    #[arg(long, env = "MAINSPRING_JOBS_TOKEN_FILE")]
    pub jobs_token_file: PathBuf,
    /// Where jobgraph-store serves
    #[arg(long, env = "MAINSPRING_STORE")]
    pub store: Endpoint,
    /// The application whose cluster this is
    #[arg(long, env = "MAINSPRING_APPLICATION")]
    pub application: ApplicationId,
    /// The generation of the application
    #[arg(long, env = "MAINSPRING_GENERATION")]
    pub generation: u64,
    /// The incarnation of the cluster
    #[arg(long, env = "MAINSPRING_INCARNATION")]
    pub incarnation: u64,
}

/// The two tokens of a process that serves jobs.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// The incarnation's token, which all processes of the cluster hold and show to the store.
    pub own: Credential,
    /// The leader's token; only a caller that shows this one gives orders.
    pub leader: Credential,
}

impl ClusterArgs {
    /// Reads both tokens.
    pub fn tokens(&self) -> io::Result<Tokens> {
        let own = Credential::from_file(&self.token_file)?;
        Ok(Tokens { own, leader: Credential::from_file(&self.jobs_token_file)? })
    }

    /// The fence of everything that this cluster reports.
    pub fn fence(&self) -> IncarnationFence {
        let application = ApplicationRef {
            id: self.application.clone(),
            generation: Generation(self.generation),
        };
        IncarnationFence { application, incarnation: Incarnation(self.incarnation) }
    }
}
