//! `cancel` asks applications to end as CANCELLED. The wish is durable before it is acknowledged.

use proto::Reason;
use proto::api::Application;

use crate::api::Api;
use crate::application::Named;
use crate::chosen::{Choice, Chosen, answer, exactly, say_which};
use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};
use crate::session::Session;
use crate::verb::wait::{self, For};
use crate::{ask, json, output::Format};

/// Ask an application to end as CANCELLED.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "  mainspring cancel orders --reason 'wrong input' --wait\n  mainspring cancel -l team=orders"
)]
pub(crate) struct CancelArgs {
    #[command(flatten)]
    chosen: Chosen,

    /// Why, for the record
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,

    /// Also wait until it is clean; the exit code is then the application's
    #[arg(long)]
    wait: bool,

    /// Do not ask before all with a label are cancelled
    #[arg(short, long)]
    yes: bool,
}

pub(crate) async fn run(args: CancelArgs, session: &Session) -> OrFailure<Exit> {
    let api = session.api().await?;
    let named = match args.chosen.choose(&api).await? {
        Choice::One(named) => named,
        Choice::Many(applications) => {
            return many(applications, &args.reason, args.yes, args.wait, &api, session).await;
        }
    };
    let (application, earlier) = cancel(&named, &args.reason, &api).await?;
    let named = Named::exactly(named.id, application.generation);
    requested(&named, earlier, session);
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

/// Cancels those of the applications that have not ended, after it has shown them and asked. An
/// application that cannot be cancelled does not keep the others from it.
async fn many(
    mut applications: Vec<Application>,
    reason: &str,
    yes: bool,
    wait: bool,
    api: &Api,
    session: &Session,
) -> OrFailure<Exit> {
    applications.retain(|application| !application.terminal);
    if applications.is_empty() {
        session.out.talk("all of them have ended");
        answer(applications, &session.out);
        return Ok(Exit::SUCCEEDED);
    }
    say_which(&applications, &session.out);
    let those = match applications.len() {
        1 => "this application".to_owned(),
        several => format!("these {several} applications"),
    };
    ask::sure(&format!("this cancels {those}"), yes)?;
    let (mut cancelled, mut exit) = (Vec::new(), Exit::SUCCEEDED);
    for application in &applications {
        let named = exactly(application)?;
        match cancel(&named, reason, api).await {
            Ok((application, earlier)) => {
                requested(&named, earlier, session);
                cancelled.push(application);
            }
            // The application ended between the look and the wish.
            Err(failure) if failure.reason == Reason::AlreadyEnded.as_str() => {
                session.out.talk(format!("{named} has ended by itself"));
            }
            Err(failure) => {
                session.out.fail(&failure);
                exit = exit.or(failure.exit);
            }
        }
    }
    if wait {
        return Ok(exit.or(wait::until_all(&cancelled, &For::Clean, None, session).await?));
    }
    answer(cancelled, &session.out);
    Ok(exit)
}

async fn cancel(named: &Named, reason: &str, api: &Api) -> OrFailure<(Application, bool)> {
    api.cancel(named, reason).await.map_err(|error| {
        Failure::from(error.clone())
            .unknown_unless_refused(&error, &format!("mainspring status {named}"))
    })
}

fn requested(named: &Named, earlier: bool, session: &Session) {
    let earlier = if earlier { " (was requested earlier)" } else { "" };
    session.out.talk(format!("{named} cancel requested{earlier}"));
}
