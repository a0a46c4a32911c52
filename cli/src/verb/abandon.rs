//! `abandon`: gives up a teardown or a publish that cannot finish. What is left over is recorded and said for good.

use crate::application::Named;
use crate::ask;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::session::Session;

/// Give up a teardown or a publish that cannot finish.
#[derive(Debug, clap::Args)]
#[command(before_help = "  mainspring abandon orders@4 --reason 'host-c is gone for good'")]
pub(crate) struct AbandonArgs {
    /// ID or ID@GENERATION
    #[arg(value_name = "ID")]
    application: Named,

    /// Why, for the record
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

pub(crate) async fn run(args: AbandonArgs, session: &Session) -> Outcome<Exit> {
    let api = session.api().await?;
    let application = api.get(&args.application).await?;
    let named = Named::exactly(args.application.id.clone(), application.generation);
    let consequence = format!(
        "abandoning {named} ends its cleaning up: outputs that are not published stay unpublished, and processes that \
         do not end are recorded as left over"
    );
    ask::sure(&consequence, args.yes)?;
    api.abandon(&named, &args.reason).await.map_err(|error| {
        Failure::from(error.clone()).unknown_unless_refused(&error, &format!("mainspring status {named}"))
    })?;
    session.out.talk(format!("{named} abandoned; mainspring status {named} shows what was left"));
    Ok(Exit::SUCCEEDED)
}
