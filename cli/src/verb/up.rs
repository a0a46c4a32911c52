//! `up` is the host of a state directory, in the foreground. The other verbs start it in the
//! background.

use std::time::Duration;

use chassis::run_as::RunAsArgs;
use chassis::tasks::Shutdown;
use chassis::telemetry::metrics::page::PageArgs;
use chassis::transport::Endpoint;
use client::places::Places;

use crate::duration;
use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};
use crate::host::file::Given;
use crate::host::retention::RetentionArgs;
use crate::host::room::RoomArgs;
use crate::host::service::{Reach, make_directory};
use crate::host::up::{self, Upkeep};
use crate::host::{self, SERVICES};
use crate::session::Session;

/// Run the host in the foreground.
///
/// Starts the four services, or adopts those that run, and keeps them running. Ctrl-C ends the host
/// when it is idle; while applications run, the services stay, and the next verb takes them over.
#[derive(Debug, clap::Args)]
#[command(before_help = "  mainspring up --host-linger 8h")]
pub(crate) struct UpArgs {
    /// How long to stay after the last work; one of several hosts stays in any case
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, default_value = "60s")]
    host_linger: Duration,

    #[command(flatten)]
    room: RoomArgs,

    #[command(flatten)]
    retention: RetentionArgs,

    #[command(flatten)]
    run_as: RunAsArgs,

    #[command(flatten)]
    metrics: PageArgs,

    #[command(flatten)]
    given: GivenArgs,
}

/// Endpoints of services that run elsewhere: `up` uses them, and never starts or ends them
/// (docs/swap.md).
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Services that run already")]
struct GivenArgs {
    /// All four run already, or will in a minute: where is said here, else where they usually
    /// listen
    #[arg(long)]
    no_services: bool,

    /// The record: unix:/path or tcp://host:port
    #[arg(long, value_name = "ENDPOINT")]
    store: Option<Endpoint>,

    /// The election of leaders
    #[arg(long, value_name = "ENDPOINT")]
    elector: Option<Endpoint>,

    /// The fetcher of artifacts
    #[arg(long, value_name = "ENDPOINT")]
    fetcher: Option<Endpoint>,

    /// The keeper of processes
    #[arg(long, value_name = "ENDPOINT")]
    lifecycle: Option<Endpoint>,
}

impl GivenArgs {
    fn endpoint(&self, service: &str) -> Option<&Endpoint> {
        match host::option(service) {
            "store" => self.store.as_ref(),
            "elector" => self.elector.as_ref(),
            "lifecycle" => self.lifecycle.as_ref(),
            _ => self.fetcher.as_ref(),
        }
    }

    fn by_service(&self, places: &Places) -> Given {
        let usual = |name| self.no_services.then(|| places.service_endpoint(name));
        let endpoint = |name| self.endpoint(name).cloned().or_else(|| usual(name));
        let given = SERVICES.iter().filter_map(|&name| Some((name.to_owned(), endpoint(name)?)));
        given.collect()
    }
}

pub(crate) async fn run(args: UpArgs, session: &Session) -> OrFailure<Exit> {
    session.only_here("up", "is the host of this machine")?;
    make_directory(session.places.state()).map_err(|error| {
        Failure::of_state(format!("{}: {error}", session.places.state().display()))
    })?;
    let given = args.given.by_service(&session.places);
    let run_as = args.run_as.given();
    if let Some(run_as) = &run_as {
        run_as.check().map_err(Failure::usage)?;
    }
    let reach = Reach::new(
        session.places.clone(),
        session.transport.clone(),
        session.clock.clone(),
        given,
    )?
    .running_as(run_as);
    let shutdown = Shutdown::on_signals()?;
    let upkeep = Upkeep {
        linger: args.host_linger,
        terms: args.room.terms(),
        retention: args.retention,
        metrics: args.metrics.metrics_listen,
    };
    up::run(reach, upkeep, shutdown, |text| session.out.talk(text)).await
}
