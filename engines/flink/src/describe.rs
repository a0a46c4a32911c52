//! What this engine says about an application, and the front that its main() talks to.

mod grpc;
mod program;
mod sweep;

use std::io;
use std::path::PathBuf;

use chassis::BoxError;
use chassis::clock::SharedClock;
use chassis::credential::Credential;
use chassis::server::{Authenticator, Limits, Serve};
use chassis::tasks::{Shutdown, TaskSet};
use chassis::transport::{Endpoint, SharedTransport};
use clap::Args;
use client::execution::Execution;

use crate::front::{self, Front};

use crate::served::served;

pub use grpc::{Describe, ENGINE};

/// The settings of `describe`.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// Where to serve: `unix:/path` or `tcp://host:port`
    #[arg(long, env = "MAINSPRING_ENDPOINT")]
    pub endpoint: Endpoint,
    /// File that holds the token which the runner shows: `DescribeService` takes no other one
    #[arg(long, env = "MAINSPRING_TOKEN_FILE")]
    pub token_file: PathBuf,
    /// File that holds main()'s token: the front takes it, and shows it to the runner on behalf of
    /// main()
    #[arg(long, env = "MAINSPRING_EXECUTION_TOKEN_FILE")]
    pub execution_token_file: PathBuf,
    /// Where the runner serves `ExecutionService`
    #[arg(long, env = "MAINSPRING_EXECUTION")]
    pub execution: Endpoint,
}

/// The tokens of the two callers of `describe`.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// The runner's token, which opens `DescribeService`.
    pub runner: Credential,
    /// main()'s token, which opens the front.
    pub main: Credential,
}

impl Config {
    /// Reads both tokens.
    pub fn tokens(&self) -> io::Result<Tokens> {
        let runner = Credential::from_file(&self.token_file)?;
        Ok(Tokens { runner, main: Credential::from_file(&self.execution_token_file)? })
    }
}

/// Serves `DescribeService` and the front until the shutdown begins.
pub async fn serve(
    config: Config,
    tokens: Tokens,
    transport: SharedTransport,
    clock: SharedClock,
    shutdown: Shutdown,
) -> Result<(), BoxError> {
    let channel = chassis::channel::connect(
        transport.clone(),
        clock.clone(),
        config.execution.clone(),
        Some(tokens.main.clone()),
    );
    let execution = Execution::new(channel, clock.clone());
    let directory = std::env::current_dir()?;
    let (incoming, port) = front::listen(&transport, &directory).await?;
    let Tokens { runner, main } = tokens;
    let describe = Describe::new(port, main.expose(), transport.clone(), clock.clone())?;
    let set = TaskSet::new(shutdown.clone(), clock.clone());
    let front =
        Front::new(execution, main, directory, transport.clone(), clock.clone(), set.handle())?;
    let limits = Limits::default();
    let server = chassis::server::bind(Serve {
        name: "describe",
        endpoints: vec![config.endpoint],
        transport,
        clock: clock.clone(),
        authenticator: Authenticator::holding(runner),
        routes: grpc::routes(describe),
        shutdown: shutdown.clone(),
        limits,
    })
    .await?;
    set.spawn("server", server.run());
    set.spawn(
        "front",
        chassis::http::serve(incoming, served(front::router(front)), clock, shutdown),
    );
    Ok(set.run(limits.grace).await?)
}
