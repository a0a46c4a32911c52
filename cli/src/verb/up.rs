//! `up`: the host of a state directory, in the foreground. The other verbs start it in the background.

use std::time::Duration;

use chassis::tasks::Shutdown;

use crate::duration;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::host::service::{Reach, make_directory};
use crate::host::up;
use crate::session::Session;

/// Run the host in the foreground.
///
/// Starts the four services, or adopts those that run, and keeps them running. Ctrl-C ends the host when it is idle; while
/// applications run, the services stay, and the next verb takes them over.
#[derive(Debug, clap::Args)]
#[command(before_help = "  mainspring up --host-linger 8h")]
pub(crate) struct UpArgs {
    /// How long to stay after the last work
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, default_value = "60s")]
    host_linger: Duration,
}

pub(crate) async fn run(args: UpArgs, session: &Session) -> Outcome<Exit> {
    make_directory(session.places.state())
        .map_err(|error| Failure::of_state(format!("{}: {error}", session.places.state().display())))?;
    let reach = Reach::new(session.places.clone(), session.transport.clone(), session.clock.clone())?;
    let shutdown = Shutdown::on_signals()?;
    up::run(reach, args.host_linger, shutdown, |text| session.out.talk(text)).await
}
