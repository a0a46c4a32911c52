//! `attach` watches an application that runs, and never cancels anything.

use crate::application::Named;
use crate::exit::Exit;
use crate::failure::OrFailure;
use crate::live::{OnInterrupt, Watched, watch};
use crate::session::Session;
use crate::verb::run::header;

/// Watch an application that runs.
#[derive(Debug, clap::Args)]
#[command(before_help = "  mainspring attach orders")]
pub(crate) struct AttachArgs {
    /// ID or ID@GENERATION
    #[arg(value_name = "ID")]
    application: Named,

    /// Only the last so many lines of what main() has written
    #[arg(long, value_name = "N", default_value_t = 20)]
    tail: u32,
}

pub(crate) async fn run(args: AttachArgs, session: &Session) -> OrFailure<Exit> {
    let (api, started) = session.started_api().await?;
    let application = api.get(&args.application).await?;
    session.out.tell(header(&application, "", started));
    let watched = Watched {
        application,
        on_interrupt: OnInterrupt::Detach,
        gone_is_interrupt: false,
        exit_from_main: false,
        tail: args.tail,
    };
    watch(watched, session, api).await
}
