//! What this engine says about an application, and the front that its main() talks to.

mod grpc;
mod program;
mod sweep;

use std::path::PathBuf;

use chassis::clock::SharedClock;
use chassis::credential::Credential;
use chassis::server::{Authenticator, Limits, Serve};
use chassis::tasks::{Shutdown, TaskSet};
use chassis::transport::{Endpoint, SharedTransport};
use chassis::{BoxError, MAX_MESSAGE_BYTES};
use clap::Args;
use client::execution::Execution;
use proto::engine::describe_service_server::DescribeServiceServer;
use tonic::service::Routes;

use crate::front::{self, Front};

use crate::served::served;

pub use grpc::{Describe, ENGINE};

/// Settings of `describe`.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// Where to serve: `unix:/path` or `tcp://host:port`
    #[arg(long, env = "MAINSPRING_ENDPOINT")]
    pub endpoint: Endpoint,
    /// File that holds the attempt's token
    #[arg(long, env = "MAINSPRING_TOKEN_FILE")]
    pub token_file: PathBuf,
    /// Where the runner serves `ExecutionService`
    #[arg(long, env = "MAINSPRING_EXECUTION")]
    pub execution: Endpoint,
}

/// Serves `DescribeService` and the front until the shutdown begins. Calls of both must carry `token`.
pub async fn serve(
    config: Config,
    token: Credential,
    transport: SharedTransport,
    clock: SharedClock,
    shutdown: Shutdown,
) -> Result<(), BoxError> {
    let channel = chassis::channel::connect(
        transport.clone(),
        clock.clone(),
        config.execution.clone(),
        Some(token.clone()),
    );
    let execution = Execution::new(channel, clock.clone());
    let directory = std::env::current_dir()?;
    let (incoming, port) = front::listen(&transport, &directory).await?;
    let tasks = TaskSet::new(shutdown.clone(), clock.clone());
    let front =
        Front::new(execution, token.clone(), directory, transport.clone(), clock.clone(), tasks.handle())?;
    let service =
        DescribeServiceServer::new(Describe::new(port, token.expose(), transport.clone(), clock.clone())?)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let limits = Limits::default();
    let server = chassis::server::bind(Serve {
        name: "describe",
        endpoints: vec![config.endpoint],
        transport,
        clock: clock.clone(),
        authenticator: Authenticator::holding(token),
        routes: Routes::new(service),
        shutdown: shutdown.clone(),
        limits,
    })
    .await?;
    tasks.spawn("server", server.run());
    tasks.spawn("front", chassis::http::serve(incoming, served(front::router(front)), clock, shutdown));
    Ok(tasks.run(limits.grace).await?)
}
