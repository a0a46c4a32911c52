//! `cancel`: asks an application to end as CANCELLED. Durable before it is acknowledged.

use crate::application::Named;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::session::Session;
use crate::verb::wait::{self, For};
use crate::{json, output::Format};

/// Ask an application to end as CANCELLED.
#[derive(Debug, clap::Args)]
#[command(before_help = "  mainspring cancel orders --reason 'wrong input' --wait")]
pub(crate) struct CancelArgs {
    /// ID or ID@GENERATION
    #[arg(value_name = "ID")]
    application: Named,

    /// Why, for the record
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,

    /// Also wait until it is clean; the exit code is then the application's
    #[arg(long)]
    wait: bool,
}

pub(crate) async fn run(args: CancelArgs, session: &Session) -> Outcome<Exit> {
    let api = session.api().await?;
    let (application, requested_earlier) =
        api.cancel(&args.application, &args.reason).await.map_err(|error| {
            Failure::from(error.clone())
                .unknown_unless_refused(&error, &format!("mainspring status {}", args.application))
        })?;
    let named = Named::exactly(args.application.id.clone(), application.generation);
    let earlier = if requested_earlier { " (was requested earlier)" } else { "" };
    session.out.talk(format!("{named} cancel requested{earlier}"));
    if args.wait {
        return wait::until(&named, &For::Clean, None, session).await;
    }
    match session.out.format {
        Format::Json | Format::Jsonl => session.out.answer(json::line(&application)),
        Format::Yaml => session.out.answer(json::yaml(&application, true)),
        Format::Name => session.out.answer(format!("{named}\n")),
        Format::Table | Format::Wide => {}
    }
    Ok(Exit::SUCCEEDED)
}
