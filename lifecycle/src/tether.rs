//! The tether: the tiny parent of every process that is started for an application. The tether ends
//! its whole tree when its owner is gone for longer than the grace, freezes the tree past the
//! deadline of its owner's lease, and keeps the tree's exit and output.
//!
//! A tether is a process of its own (`mainspring tether --spec FILE`), in a session of its own, so
//! that neither a terminal's signals nor the end of the process that started it reach it. `leash`
//! decides, `keeper` acts, `tree` knows processes.

mod grpc;
mod keeper;
mod leash;
mod oom;
mod output;
mod priority;
mod tree;

use std::convert::Infallible;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chassis::clock::{SharedClock, SystemClock};
use chassis::server::{self, Authenticator, Limits, Serve};
use chassis::tasks::{Shutdown, TaskSet, owned};
use chassis::telemetry::{self, LogFormat, TelemetryArgs};
use chassis::transport::{Endpoint, OsTransport};
use client::tether::TetherSpec;
use tokio::sync::{mpsc, watch};

use self::leash::DEFAULT_KILL_AFTER;

/// How long answers that are under way may hold up a tether that leaves.
const LEAVE_GRACE: Duration = Duration::from_millis(500);

/// Runs a tether for the spec in `spec_file`, until its tree has ended and the tether is needed no
/// more. Logs to stderr. The call has to come first in a process, before any thread was started.
pub fn run(spec_file: &Path) -> ExitCode {
    match run_spec(spec_file) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // This is the tether's own log; the process that started the tether reads it when it
            // hears nothing else of the tether.
            eprintln!("tether: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_spec(spec_file: &Path) -> anyhow::Result<()> {
    // The call fails for a process that leads a group already; such a process has a group of its
    // own.
    let _ = rustix::process::setsid();
    let spec = TetherSpec::read(spec_file)
        .with_context(|| format!("cannot read {}", spec_file.display()))?;
    // The file holds the owner's token and the child's environment, secrets included.
    std::fs::remove_file(spec_file)
        .with_context(|| format!("cannot remove {}", spec_file.display()))?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .context("cannot become the parent of orphaned descendants")?;
    let telemetry = TelemetryArgs { log_format: LogFormat::Human, ..TelemetryArgs::default() };
    let levels = std::env::var("MAINSPRING_LOG").unwrap_or(telemetry.log.clone());
    let _guard = telemetry::init("tether", &TelemetryArgs { log: levels, ..telemetry });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(2)
        .enable_all()
        .build()
        .context("cannot start")?;
    let ended = runtime.block_on(serve(spec));
    // A write that a dead disk holds up must not keep the process.
    runtime.shutdown_timeout(LEAVE_GRACE);
    ended
}

async fn serve(spec: TetherSpec) -> anyhow::Result<()> {
    let clock: SharedClock = Arc::new(SystemClock);
    let owner = spec.owner.clone();
    let (commands, heard) = mpsc::channel(64);
    let (status, status_seen) = watch::channel(keeper::Status::default());
    let (progress, progress_seen) = watch::channel(output::Progress::default());
    let mut tasks = TaskSet::new(Shutdown::new(), clock.clone());
    let grpc = grpc::Grpc {
        commands: commands.clone(),
        status: status_seen,
        progress: progress_seen,
        output_dir: spec.output_dir.clone(),
        clock: clock.clone(),
        tasks: tasks.handle(),
    };
    let socket = spec.socket.clone();
    let _lowered = spec.yields.then(|| owned("priority", priority::lower_session(clock.clone())));
    // Signals are heard before any owner can connect and have the child started.
    let keeper = keeper::Keeper::new(spec, clock.clone(), heard, status, progress)?;
    let server = server::bind(Serve {
        name: "tether",
        endpoints: vec![Endpoint::Unix(socket)],
        transport: Arc::new(OsTransport),
        clock,
        authenticator: Authenticator::holding(owner),
        routes: grpc.routes(),
        shutdown: tasks.handle().shutdown().clone(),
        limits: Limits { calls: 64, connections: 64, grace: LEAVE_GRACE, ..Limits::default() },
    })
    .await
    .map_err(|error| anyhow::anyhow!(error))?;
    tasks.spawn("server", server.run());
    let deaf = async {
        tasks.failed().await;
        // The tree cannot be owned any more, so it ends, and its exit is kept in a file.
        let _ = commands.send(keeper::Command::End { kill_after: DEFAULT_KILL_AFTER }).await;
        std::future::pending::<Infallible>().await
    };
    let kept = tokio::select! {
        kept = keeper.run() => kept.context("the tree cannot be kept"),
        never = deaf => match never {},
    };
    tasks.handle().shutdown().begin();
    // A task that did not end well is in the log; the tree is what counts.
    let _ = tasks.run(LEAVE_GRACE * 2).await;
    kept
}
