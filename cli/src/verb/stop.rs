//! `stop` ends all jobs that run, each with a savepoint to go on from. main() hears of such an end
//! as of any other.

use proto::api::StopRequest;

use super::savepoint::{Wish, WishArgs, repeat};
use crate::api::requester;
use crate::application::Named;
use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};
use crate::session::Session;
use crate::verb::wait::{self, For};

/// Stop the jobs of an application, each with a savepoint.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "  mainspring stop orders\n  mainspring run --application-id orders -s SAVEPOINT orders.jar"
)]
pub(crate) struct StopArgs {
    /// ID or ID@GENERATION
    #[arg(value_name = "ID")]
    application: Named,

    /// Say that the input is over first: windows and timers fire; not for jobs that are to go on
    /// later
    #[arg(long)]
    drain: bool,

    /// Also wait until the application is clean; the exit code is then the application's
    #[arg(long)]
    wait: bool,

    #[command(flatten)]
    wish: WishArgs,
}

pub(crate) async fn run(args: StopArgs, session: &Session) -> OrFailure<Exit> {
    let request = StopRequest {
        application_id: args.application.id.to_string(),
        generation: args.application.generation_or_latest(),
        request_id: args.wish.request_id(),
        drain: args.drain,
        directory: args.wish.directory(session)?,
        reason: args.wish.reason.clone(),
        requested_by: requester(),
        format: args.wish.savepoint_type.clone(),
    };
    let request_id = request.request_id.clone();
    let api = session.api().await?;
    let (application, _) = api.stop(request).await.map_err(|error| {
        Failure::from(error.clone())
            .unknown_unless_refused(&error, &repeat(&args.application, &request_id))
    })?;
    let wish = Wish::of(&application, &request_id, &args.wish);
    session.out.talk(format!("{} stop requested", wish.named));
    let Some(application) = wish.settled(session).await? else { return Ok(Exit::DETACHED) };
    let told = wish.tell(&application, session)?;
    if !args.wait {
        return Ok(told);
    }
    let ended = wait::met(&wish.named, &For::Clean, None, session).await?;
    Ok(Exit::of(ended.outcome()))
}
