//! `mainspring-datafusion`: the embedded engine as an executable.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use chassis::clock::{SharedClock, SystemClock};
use chassis::credential::Credential;
use chassis::tasks::{Shutdown, owned};
use chassis::telemetry::{self, TelemetryArgs, fields, trace};
use chassis::transport::{Endpoint, NetworkArgs};
use clap::{Parser, Subcommand};
use client::execution::Execution;
use client::payloads::Payloads;
use client::record::RecordClient;
use mainspring_datafusion::execute::{self, RunContext};
use mainspring_datafusion::graph::JobGraph;
use mainspring_datafusion::sql_main::{self, SqlMain};
use mainspring_datafusion::{describe, publish, rows, table, worker};
use tracing::Instrument as _;

/// The embedded engine of mainspring: runs SQL scripts and job graphs with DataFusion. Started by
/// mainspring, not by hand.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    telemetry: TelemetryArgs,
    #[command(flatten)]
    network: NetworkArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Serves what a runner asks the engine about its application
    Describe {
        /// Where to serve: `unix:/path` or `tcp://host:port`
        #[arg(long, env = "MAINSPRING_ENDPOINT")]
        endpoint: Endpoint,
        /// File that holds the token which the runner shows: no other one is taken
        #[arg(long, env = "MAINSPRING_TOKEN_FILE")]
        token_file: PathBuf,
    },
    /// Runs the jobs of one cluster
    Worker(worker::Config),
    /// Is the main() of a .sql application
    SqlMain(SqlMain),
    /// Prints rows that are kept as an Arrow stream (stdin): for `mainspring result`
    #[command(hide = true)]
    Rows {
        /// The shape of the rows
        #[arg(long, default_value = "table")]
        format: rows::Shape,
    },
    /// Runs one stored graph and publishes its output, without a record: for tests and for looking
    /// into a graph
    #[command(hide = true)]
    RunGraph {
        /// File that holds the graph
        graph: PathBuf,
        /// Directory for the result and for spilling
        #[arg(long)]
        work_dir: PathBuf,
        /// 32 hex digits
        #[arg(long, default_value = "00000000000000000000000000000000")]
        job_id: String,
    },
}

fn main() -> ExitCode {
    chassis::install_crypto_provider();
    let args = Args::parse();
    let runtime = match execute::runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: no threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    // The work runs on a thread of the runtime, because the main thread has a small stack.
    let done = runtime.block_on(async { owned("main", run(args)).await });
    match done.unwrap_or_else(|panicked| Err(panicked.into())) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (service, telemetry) = match &args.command {
        Command::Describe { .. } => ("describe", args.telemetry),
        Command::Worker(_) => ("worker", args.telemetry),
        // The process's stderr is the program's own.
        Command::SqlMain(_) | Command::Rows { .. } | Command::RunGraph { .. } => {
            ("main", args.telemetry.quiet())
        }
    };
    let guard = telemetry::init(service, &telemetry);
    let span = tracing::info_span!(
        "process",
        otel.name = service,
        { fields::APP_ID } = of_environment("MAINSPRING_APPLICATION"),
        { fields::EPOCH } = of_environment("MAINSPRING_EPOCH"),
        { fields::INCARNATION } = of_environment("MAINSPRING_INCARNATION"),
    );
    trace::continue_from_environment(&span);
    let done = dispatch(args.command, args.network).instrument(span).await;
    guard.shutdown().await;
    done
}

/// What the substrate or the runner says about this process; absent for a process that was started
/// by hand.
fn of_environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

async fn dispatch(command: Command, network: NetworkArgs) -> anyhow::Result<ExitCode> {
    let clock: SharedClock = Arc::new(SystemClock);
    match command {
        Command::Describe { endpoint, token_file } => {
            let token = Credential::from_file(&token_file)?;
            let transport = network.transport(&clock)?;
            let shutdown = Shutdown::on_signals()?;
            describe::serve(endpoint, token, transport, clock, shutdown)
                .await
                .map_err(anyhow::Error::from_boxed)?;
        }
        Command::Worker(config) => {
            let tokens = config.cluster.tokens()?;
            let transport = network.transport(&clock)?;
            let shutdown = Shutdown::on_signals()?;
            let store = config.cluster.store.clone();
            let channel = chassis::channel::connect(
                transport.clone(),
                clock.clone(),
                store,
                Some(tokens.own),
            );
            let record = Arc::new(RecordClient::new(channel.clone()));
            let payloads = Payloads::new(channel);
            worker::serve(config, tokens.leader, record, payloads, transport, clock, shutdown)
                .await
                .map_err(anyhow::Error::from_boxed)?;
        }
        Command::SqlMain(main) => {
            let execution = Execution::from_environment()?;
            if let Err(error) = sql_main::run(main, &execution, &mut std::io::stdout()).await {
                eprintln!("{error}");
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Rows { format } => {
            rows::print(&mut std::io::stdout().lock(), std::io::stdin().lock(), format)?
        }
        Command::RunGraph { graph, work_dir, job_id } => run_graph(graph, work_dir, job_id).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn run_graph(graph: PathBuf, work_dir: PathBuf, job_id: String) -> anyhow::Result<()> {
    let bytes = std::fs::read(&graph).with_context(|| graph.display().to_string())?;
    let graph = JobGraph::decode(&bytes)?;
    let done = execute::run(&graph, &RunContext::new(job_id.clone(), 1, work_dir)).await?;
    publish::publish(&done.outputs, &[job_id].into())?;
    if let Some(result) = &done.result {
        table::print_file(&mut std::io::stdout(), &result.path)?;
    }
    Ok(())
}
