//! `abandon` gives up a teardown or a publish that cannot finish. What is left over stays recorded,
//! and every verb goes on to show it.

use proto::Reason;
use proto::api::{Application, MainState};

use crate::application::Named;
use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};
use crate::output::Format;
use crate::session::Session;
use crate::verb::wait::{self, For};
use crate::{ask, json, words};

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

    /// Also wait until it is clean; the exit code is then the application's
    #[arg(long)]
    wait: bool,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

pub(crate) async fn run(args: AbandonArgs, session: &Session) -> OrFailure<Exit> {
    let api = session.api().await?;
    let application = api.get(&args.application).await?;
    let named = Named::exactly(args.application.id.clone(), application.generation);
    if !application.clean && still_runs(&application) {
        // The record would refuse the call, so that there is nothing to ask the operator about.
        let text = format!(
            "{named} is {}: there is no end of it to give up yet",
            words::state(&application)
        );
        let cancel_first = Reason::NotEnded.remedy().replace("ID", &named.to_string());
        return Err(Failure::new(Exit::REFUSED, Reason::NotEnded, text).help(cancel_first));
    }
    if !application.clean {
        ask::sure(&format!("abandoning {named} gives up {}", given_up(&application)), args.yes)?;
    }
    let application = api.abandon(&named, &args.reason).await.map_err(|error| {
        Failure::from(error.clone())
            .unknown_unless_refused(&error, &format!("mainspring status {named}"))
    })?;
    session
        .out
        .talk(format!("{named} abandon requested; mainspring status {named} shows what was left"));
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

/// Whether main() or a job may still do something and no cancel asks for their end.
fn still_runs(application: &Application) -> bool {
    let cancelled = application.desired.as_ref().is_some_and(|desired| desired.cancel);
    let main_ended = application.main.as_ref().is_some_and(|main| main.state() == MainState::Ended);
    let jobs_ended = application.jobs.iter().all(|job| job.end.is_some());
    !(application.terminal || cancelled || (main_ended && jobs_ended))
}

/// What stays undone, by name.
fn given_up(application: &Application) -> String {
    let outputs: Vec<_> = application
        .jobs
        .iter()
        .filter(|job| words::job_state(job) == "PUBLISHING")
        .map(|job| {
            format!("the committed output of job {:?}, which stays where it was staged", job.name)
        })
        .collect();
    let mut parts = outputs;
    if application.terminal || parts.is_empty() {
        parts.push(
            "what of its cleaning up cannot be done; what does not end is recorded as left over"
                .to_owned(),
        );
    }
    parts.join(", and ")
}
