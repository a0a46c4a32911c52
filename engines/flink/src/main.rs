//! `mainspring-flink`: the Flink engine as an executable.

use std::process::ExitCode;
use std::sync::Arc;

use chassis::clock::{SharedClock, SystemClock};
use chassis::tasks::Shutdown;
use chassis::telemetry::{self, TelemetryArgs, fields, trace};
use chassis::transport::{NetworkArgs, SharedTransport};
use clap::{Parser, Subcommand};
use mainspring_flink::role::Role;
use mainspring_flink::{cluster, describe, jobs, launch, setup};
use tracing::Instrument as _;

/// The Flink engine of mainspring: runs unchanged Flink programs. Started by mainspring, not by
/// hand.
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
    /// Installs Flink's libraries, and a JDK where there is none and this is root
    Setup(setup::Args),
    /// Serves what a runner asks the engine about its application, and Flink's REST API for its
    /// main()
    Describe(describe::Config),
    /// Acts on the JobManager of one cluster, and keeps its checkpoints and ends in the record
    Jobs(jobs::Config),
    /// Becomes the JobManager of a cluster
    Jobmanager(launch::Args),
    /// Becomes a TaskManager of a cluster
    Taskmanager(launch::Args),
    /// Prints what a job's execute() returned, as it is kept (stdin): for `mainspring result`
    #[command(hide = true)]
    Rows {
        /// The shape of what is printed
        #[arg(long, default_value = "table")]
        format: launch::Shape,
    },
}

fn main() -> ExitCode {
    chassis::install_crypto_provider();
    let args = Args::parse();
    let done = match args.command {
        Command::Setup(args) => setup::run(&args),
        Command::Jobmanager(args) => {
            launch::launch(Role::JobManager, &args).map(|never| match never {})
        }
        Command::Taskmanager(args) => {
            launch::launch(Role::TaskManager, &args).map(|never| match never {})
        }
        Command::Rows { format } => launch::print_values(format).map(|never| match never {}),
        Command::Describe(config) => {
            served("describe", args.telemetry, args.network, Service::Describe(config))
        }
        Command::Jobs(config) => {
            served("jobs", args.telemetry, args.network, Service::Jobs(config))
        }
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            if error.is::<jobs::Incomplete>() {
                cluster::INCOMPLETE_EXIT.into()
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

enum Service {
    Describe(describe::Config),
    Jobs(jobs::Config),
}

fn served(
    name: &'static str,
    telemetry: TelemetryArgs,
    network: NetworkArgs,
    service: Service,
) -> anyhow::Result<ExitCode> {
    chassis::runtime()?.block_on(async {
        let guard = telemetry::init(name, &telemetry);
        let span = tracing::info_span!(
            "process",
            otel.name = name,
            { fields::APP_ID } = of_environment("MAINSPRING_APPLICATION"),
            { fields::EPOCH } = of_environment("MAINSPRING_EPOCH"),
            { fields::INCARNATION } = of_environment("MAINSPRING_INCARNATION"),
        );
        trace::continue_from_environment(&span);
        let clock: SharedClock = Arc::new(SystemClock);
        let done = match network.transport(&clock) {
            Ok(transport) => serve(service, transport).instrument(span).await,
            Err(error) => Err(error.into()),
        };
        guard.shutdown().await;
        done.map(|()| ExitCode::SUCCESS)
    })
}

/// What the substrate or the runner says about this process; absent for a process that was started
/// by hand.
fn of_environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

async fn serve(service: Service, transport: SharedTransport) -> anyhow::Result<()> {
    let clock: SharedClock = Arc::new(SystemClock);
    let shutdown = Shutdown::on_signals()?;
    let served = match service {
        Service::Describe(config) => {
            let tokens = config.tokens()?;
            describe::serve(config, tokens, transport, clock, shutdown).await
        }
        Service::Jobs(config) => {
            let tokens = config.cluster.tokens()?;
            jobs::serve(config, tokens, transport, clock, shutdown).await
        }
    };
    // The type of this error has to be known for an exit code of its own, and a box that is wrapped
    // hides it.
    served.map_err(|error| match error.downcast::<jobs::Incomplete>() {
        Ok(incomplete) => anyhow::Error::new(*incomplete),
        Err(other) => anyhow::Error::from_boxed(other),
    })
}
