//! The parts of the host as verbs: `serve <service>` and `tether`. This is the only file that
//! imports the services.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use chassis::clock::{SharedClock, SystemClock};
use chassis::server::Footing;
use chassis::tasks::Shutdown;
use chassis::telemetry::metrics::page::{self, PageArgs};
use chassis::telemetry::{self, TelemetryArgs, metrics};
use chassis::transport::{self, Endpoint, NetworkArgs, SharedTransport};
use clap::{Parser, Subcommand};
use client::backup::BackupReader;
use client::places::Places;
use proto::{Place, Reason};

use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};

/// Run one service of a host. `up` starts them; in a pod or a compose file each is a process of its
/// own.
#[derive(Debug, Parser)]
#[command(
    name = "mainspring serve",
    before_help = "  mainspring serve jobgraph-store --state-dir /var/lib/mainspring",
    after_help = "`serve host` keeps the contenders of applications, over services that run \
                  already: it is `up --no-services`, and has the options of `up`.",
    version,
    disable_help_subcommand = true
)]
struct Serve {
    #[command(flatten)]
    telemetry: TelemetryArgs,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    metrics: PageArgs,
    #[command(subcommand)]
    service: Part,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Bytes by digest, from anywhere, once
    ArtifactFetcher(artifact_fetcher::config::Args),
    /// Who leads an application, since which epoch
    LeaderElector(leader_elector::config::Args),
    /// The durable record, and the API that people and tooling use
    JobgraphStore(jobgraph_store::config::Args),
    /// The processes of clusters and entrypoints
    Lifecycle(lifecycle::config::Args),
    /// One application's run: its main(), and the answers to its execute()
    AppRunner(app_runner::config::Args),
}

/// The parent of one process of an application: ends its tree when its owner is gone, keeps its
/// output and its exit.
#[derive(Debug, Parser)]
#[command(
    name = "mainspring tether",
    before_help = "  mainspring tether --spec tether.json",
    version
)]
struct Tether {
    /// What to run and on which terms, as JSON
    #[arg(long, value_name = "FILE")]
    spec: PathBuf,
}

/// Runs `mainspring serve <service>`; the arguments are the whole command line.
pub(crate) fn serve(arguments: &[OsString]) -> ExitCode {
    let serve = match Serve::try_parse_from(without_verb(arguments, "mainspring serve")) {
        Ok(serve) => serve,
        Err(error) => return refused(&error),
    };
    let runtime = match chassis::runtime() {
        Ok(runtime) => runtime,
        Err(error) => return failed("the runtime", &error.into()),
    };
    let name = serve.service.name();
    let code = runtime.block_on(async {
        let telemetry = telemetry::init(name, &serve.telemetry);
        chassis::panics::log();
        let clock: SharedClock = Arc::new(SystemClock);
        let numbers = metrics::init(name);
        let ended = match serve.network.transport(&clock) {
            Ok(transport) => tokio::select! {
                ended = serve.service.run(transport) => ended,
                failed = show_numbers(serve.metrics.metrics_listen, &clock) => failed,
            },
            Err(error) => Err(error.into()),
        };
        if let Err(error) = &ended {
            tracing::error!("{name}: {error:#}");
        }
        numbers.shutdown().await;
        telemetry.shutdown().await;
        ended.unwrap_or_else(|error| match error.downcast_ref::<app_runner::error::GaveUp>() {
            Some(gave_up) => {
                // Printed last, and as plain text in every format of logs, because lifecycle passes
                // the last line on.
                eprintln!("{gave_up}");
                Exit::GAVE_UP.code()
            }
            None => Exit::INTERNAL.code(),
        })
    });
    runtime.shutdown_background();
    ExitCode::from(code)
}

/// Shows the numbers of this process where that is asked for, until the service has ended.
async fn show_numbers(endpoint: Option<Endpoint>, clock: &SharedClock) -> anyhow::Result<u8> {
    let Some(endpoint) = endpoint else { return std::future::pending().await };
    let incoming = transport::listen_in_public(&endpoint).await?;
    let gather = || async { metrics::text().unwrap_or_default() };
    let shown = page::serve(incoming, gather, clock.clone(), Shutdown::new()).await;
    shown.map_err(|error| anyhow::anyhow!(error).context("the numbers are not shown any more"))?;
    Ok(Exit::SUCCEEDED.code())
}

/// Runs `mainspring tether --spec FILE`. No runtime is set up here, because a tether has to be
/// single-threaded.
pub(crate) fn tether(arguments: &[OsString]) -> ExitCode {
    match Tether::try_parse_from(without_verb(arguments, "mainspring tether")) {
        Ok(tether) => lifecycle::tether::run(&tether.spec),
        Err(error) => refused(&error),
    }
}

/// What a restore has come to.
pub(crate) struct Restored {
    pub(crate) entries: u64,
    pub(crate) payloads: u64,
    /// Where the backup was taken.
    pub(crate) host: String,
}

/// Restores the record of a state directory, in the backends that the environment names.
pub(crate) async fn restore(
    state: &Path,
    transport: SharedTransport,
    clock: &SharedClock,
    parts: BackupReader,
) -> OrFailure<Restored> {
    let args = Record::of_environment(state).map_err(Failure::usage)?;
    // Ctrl-C ends the command at once: a restore that is cut off is begun again.
    let footing = Footing { transport, clock: clock.clone(), shutdown: Shutdown::new() };
    let parts = futures::stream::iter(parts);
    let restored = jobgraph_store::restore::restore(&args, footing, parts).await;
    let restored = restored.map_err(|error| {
        let text = format!("the record cannot be restored: {error:#}");
        Failure::new(Exit::UNREACHABLE, Reason::HostNotReachable, text)
            .help("correct that, then repeat the command, which begins the restore anew")
    })?;
    let (header, end) = (restored.header, restored.end);
    Ok(Restored { entries: end.entries, payloads: end.payloads, host: header.host })
}

/// Has the record of a state directory go on in an etcd that was restored from a backup, and
/// answers how many applications have fences that were raised.
pub(crate) async fn go_on(
    state: &Path,
    transport: SharedTransport,
    clock: &SharedClock,
) -> OrFailure<usize> {
    let args = Record::of_environment(state).map_err(Failure::usage)?;
    let footing = Footing { transport, clock: clock.clone(), shutdown: Shutdown::new() };
    jobgraph_store::restore::go_on(&args, footing).await.map_err(|error| {
        let text = format!("the record cannot go on: {error:#}");
        Failure::new(Exit::UNREACHABLE, Reason::HostNotReachable, text)
            .help("correct that (mainspring doctor shows more), then repeat the command")
    })
}

/// The settings of the record alone, from the environment.
#[derive(Debug, Parser)]
struct Record {
    #[command(flatten)]
    record: jobgraph_store::config::Args,
}

impl Record {
    /// The settings of a state directory's record, or what is wrong with them.
    fn of_environment(state: &Path) -> Result<jobgraph_store::config::Args, String> {
        let words = [OsStr::new("mainspring"), OsStr::new("--state-dir"), state.as_os_str()];
        match Self::try_parse_from(words) {
            Ok(parsed) => Ok(parsed.record),
            Err(error) => Err(error.to_string().trim_end().to_owned()),
        }
    }
}

/// The hosts that have a seat, as the etcd of a state directory's record tells without an elector;
/// `None` if it does not.
pub(crate) async fn seats(
    places: &Places,
    transport: &SharedTransport,
    clock: &SharedClock,
) -> Option<Vec<Place>> {
    let args = Record::of_environment(places.state()).ok().filter(|args| args.etcd.is_given())?;
    leader_elector::examine::seats(&args.etcd, transport, clock).await.ok()
}

/// One thing that was looked at: what it is, what was found, and what is wrong with it.
pub(crate) type Look = (&'static str, String, Option<String>);

/// Looks at the etcd and at the place of payloads that the record of a state directory uses, if it
/// uses any. The look changes nothing, and services may be at work there.
pub(crate) async fn examine_elsewhere(
    places: &Places,
    transport: &SharedTransport,
    clock: &SharedClock,
) -> Vec<Look> {
    let args = match Record::of_environment(places.state()) {
        Ok(args) => args,
        Err(error) => {
            return vec![("settings", "of the record".to_owned(), Some(error))];
        }
    };
    let looked = jobgraph_store::examine::elsewhere(&args, transport, clock).await;
    looked.into_iter().map(|found| (found.what, found.text, found.problem)).collect()
}

/// Checks whether the files of a host's services are whole. Each answer names what was checked, and
/// `Err` says what is wrong and what to do. The check changes no file, and services may be at work
/// in them.
pub(crate) async fn examine(
    places: &Places,
    clock: &SharedClock,
    within: Duration,
) -> Vec<(&'static str, Result<String, String>)> {
    let store = places.service_state(jobgraph_store::config::Args::SERVICE);
    let elector = places.service_state(leader_elector::NAME);
    let looked = [
        ("record", jobgraph_store::examine::record(&store, clock).await),
        ("payloads", jobgraph_store::examine::payloads(&store, clock, within).await),
        ("ledger", leader_elector::examine::ledger(&elector, clock).await),
    ];
    looked.into_iter().filter_map(|(what, looked)| Some((what, looked?))).collect()
}

fn without_verb(arguments: &[OsString], name: &str) -> impl Iterator<Item = OsString> {
    std::iter::once(name.into()).chain(arguments.iter().skip(2).cloned())
}

fn refused(error: &clap::Error) -> ExitCode {
    // A reader that has gone away is no error.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { Exit::USAGE.code() } else { 0 })
}

fn failed(what: &str, error: &anyhow::Error) -> ExitCode {
    eprintln!("mainspring: {what}: {error:#}");
    ExitCode::from(Exit::INTERNAL.code())
}

impl Part {
    fn name(&self) -> &'static str {
        match self {
            Self::ArtifactFetcher(_) => "artifact-fetcher",
            Self::LeaderElector(_) => "leader-elector",
            Self::JobgraphStore(_) => "jobgraph-store",
            Self::Lifecycle(_) => "lifecycle",
            Self::AppRunner(_) => "app-runner",
        }
    }

    /// Runs the service until a signal ends it, and answers the exit code.
    async fn run(self, transport: SharedTransport) -> anyhow::Result<u8> {
        let (clock, shutdown) = (Arc::new(SystemClock), Shutdown::on_signals()?);
        let footing = Footing { transport, clock, shutdown };
        match self {
            Self::ArtifactFetcher(args) => artifact_fetcher::serve(args, footing).await?,
            Self::LeaderElector(args) => leader_elector::serve(args, footing).await?,
            Self::JobgraphStore(args) => jobgraph_store::serve(args, footing).await?,
            Self::Lifecycle(args) => lifecycle::serve(args, footing).await?,
            Self::AppRunner(args) => return app_runner::serve(args, footing).await,
        }
        Ok(Exit::SUCCEEDED.code())
    }
}
