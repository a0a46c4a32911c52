//! `forget` has the record forget generations that are over, and removes what they left below the
//! state directory.

use std::collections::HashSet;
use std::time::Duration;

use chassis::backoff::Backoff;
use chassis::clock::Clock as _;
use futures::StreamExt as _;
use proto::api::{Application, ListRequest, Phase};
use proto::{ApplicationRef, Reason};

use crate::api::Api;
use crate::application::Named;
use crate::ask;
use crate::chosen::{all_pages, answer, exactly, say_which};
use crate::duration;
use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};
use crate::host::leftovers;
use crate::retain::{Newest, Past, Rule, beyond};
use crate::session::Session;
use crate::spec::pair;
use crate::table::plural;

/// How many lines show the operator what is meant.
const SHOWN: usize = 20;

/// How long the processes of an application that has just become clean may take to be gone.
const PROCESSES_END: Duration = Duration::from_secs(10);

/// How many calls are made at once.
const AT_ONCE: usize = 8;

/// Forget applications that are over.
///
/// What is forgotten is gone for good: its record, events, logs and results, and what it wrote to
/// the default place (outputs/ID@GENERATION in the state directory). Files elsewhere are not
/// touched. The ID can be submitted anew, as its next generation. With a context, the hosts remove
/// such output within the hour.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "  mainspring forget orders@3\n  mainspring forget --older-than 30d --keep 10 -l team=orders --dry-run"
)]
pub(crate) struct ForgetArgs {
    /// ID for all generations, or ID@GENERATION
    #[arg(value_name = "ID", required_unless_present_any = ["labels", "older_than", "keep"])]
    application: Option<Named>,

    /// All generations with this label; may be repeated
    #[arg(short, long = "label", value_name = "KEY=VALUE", value_parser = pair, conflicts_with = "application")]
    labels: Vec<(String, String)>,

    /// Only what ended longer ago (30d, 12h)
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    older_than: Option<Duration>,

    /// Not the newest so many of each application
    #[arg(long, value_name = "N")]
    keep: Option<usize>,

    /// Only say what would be forgotten
    #[arg(long)]
    dry_run: bool,

    /// Do not ask before several are forgotten
    #[arg(short, long)]
    yes: bool,
}

impl ForgetArgs {
    /// Which of the generations that are over are kept; `None` where everything that was named is
    /// meant.
    fn rule(&self) -> Option<Rule> {
        if self.older_than.is_none() && self.keep.is_none() {
            return None;
        }
        let newest = Newest::OfEach(self.keep.unwrap_or(0));
        Some(Rule { younger_than: self.older_than.unwrap_or_default(), newest })
    }
}

pub(crate) async fn run(args: ForgetArgs, session: &Session) -> OrFailure<Exit> {
    let api = session.api().await?;
    let mut chosen = choose(&args, &api).await?;
    let mut exit = Exit::SUCCEEDED;
    if let Some(rule) = args.rule() {
        let past = chosen.iter().filter_map(Past::of).collect();
        let beyond = beyond(rule, past, session.clock.wall());
        let meant: HashSet<_> = beyond.into_iter().map(|past| past.application).collect();
        chosen
            .retain(|shown| Past::of(shown).is_some_and(|past| meant.contains(&past.application)));
    } else {
        let unclean: Vec<_> =
            chosen.iter().filter(|shown| !shown.clean).map(not_clean).collect::<Result<_, _>>()?;
        if let [first, ..] = unclean.as_slice()
            && args.application.is_some()
        {
            return Err(first.clone());
        }
        for failure in &unclean {
            session.out.fail(failure);
            exit = exit.or(failure.exit);
        }
        chosen.retain(|shown| shown.clean);
    }
    if chosen.is_empty() {
        session.out.talk("there is nothing to forget");
        answer(chosen, &session.out);
        return Ok(exit);
    }
    if args.dry_run || chosen.len() > 1 {
        say_which(&chosen[..chosen.len().min(SHOWN)], &session.out);
        if let more @ 1.. = chosen.len().saturating_sub(SHOWN) {
            session.out.talk(format!("and {more} more"));
        }
    }
    let generations = plural(chosen.len() as u64, "generation");
    if !args.dry_run && chosen.len() > 1 {
        let outputs = match session.context() {
            None => {
                let root = session.places.shared().unwrap_or(session.places.state());
                root.join("outputs").display().to_string()
            }
            Some(context) => format!("outputs in the state directories of {context}"),
        };
        let what = format!(
            "this forgets {generations} for good: record, logs, results, and what they wrote below {outputs}"
        );
        ask::sure(&what, args.yes)?;
    }
    let (forgotten, refused) = forget(chosen, args.dry_run, &api, session).await?;
    let would = if args.dry_run { " would be" } else { "" };
    session.out.talk(format!("{}{would} forgotten", plural(forgotten.len() as u64, "generation")));
    answer(forgotten, &session.out);
    Ok(exit.or(refused))
}

/// The generations that the command line names.
async fn choose(args: &ForgetArgs, api: &Api) -> OrFailure<Vec<Application>> {
    let Some(named) = &args.application else {
        // A rule is about generations that are over; one that is not clean is meant only by its
        // label.
        let phases = if args.rule().is_some() { vec![Phase::Ended.into()] } else { Vec::new() };
        let labels = args.labels.iter().cloned().collect();
        let request = ListRequest { labels, phases, ..ListRequest::default() };
        let found = all_pages(api, request, usize::MAX).await?.applications;
        if found.is_empty() && args.rule().is_none() {
            let words: Vec<_> =
                args.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let text = format!("no application has the label {}", words.join(" and "));
            return Err(Failure::new(Exit::NOT_FOUND, Reason::ApplicationNotFound, text));
        }
        return Ok(found);
    };
    if named.generation.is_some() {
        return Ok(vec![api.get(named).await?]);
    }
    let request = ListRequest { application_id: named.id.to_string(), ..ListRequest::default() };
    let mut found = all_pages(api, request, usize::MAX).await?.applications;
    // An older store does not know this filter and answers with all applications.
    found.retain(|shown| shown.application_id == named.id.as_str());
    if found.is_empty() {
        // The store's answer says whether the application ever existed.
        found.push(api.get(named).await?);
    }
    Ok(found)
}

fn not_clean(shown: &Application) -> OrFailure<Failure> {
    let named = exactly(shown)?;
    let text = format!("{named} is not clean and cannot be forgotten");
    Ok(Failure::new(Exit::REFUSED, Reason::NotClean, text)
        .help(format!("wait until it is clean (mainspring wait {named}), or cancel it first")))
}

/// Forgets the chosen generations. Answers those that were forgotten, and the exit code of the
/// first refusal. A refused generation does not keep the others from being forgotten.
async fn forget(
    chosen: Vec<Application>,
    dry_run: bool,
    api: &Api,
    session: &Session,
) -> OrFailure<(Vec<Application>, Exit)> {
    let calls = futures::stream::iter(chosen).map(async |shown| {
        let outcome = forget_one(&shown, dry_run, api, session).await;
        (shown, outcome)
    });
    let mut calls = std::pin::pin!(calls.buffered(AT_ONCE));
    let (mut forgotten, mut exit) = (Vec::new(), Exit::SUCCEEDED);
    while let Some((shown, outcome)) = calls.next().await {
        match outcome {
            Ok(()) => forgotten.push(shown),
            Err(failure) => {
                session.out.fail(&failure);
                exit = exit.or(failure.exit);
            }
        }
    }
    Ok((forgotten, exit))
}

async fn forget_one(
    shown: &Application,
    dry_run: bool,
    api: &Api,
    session: &Session,
) -> OrFailure<()> {
    let named = exactly(shown)?;
    let Some(past) = Past::of(shown) else { return Err(not_clean(shown)?) };
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
    let until = session.clock.boot() + PROCESSES_END;
    while let Err(error) = api.forget(&past.application, past.revision, dry_run).await {
        let ends = error.reason() == Some(Reason::TreeAlive) && session.clock.boot() < until;
        if !ends {
            let find_out = format!("mainspring status {named}");
            return Err(Failure::from(error.clone()).unknown_unless_refused(&error, &find_out));
        }
        // The application became clean a moment ago, and its host is ending the last of its
        // processes.
        session.clock.sleep(backoff.next_delay()).await;
    }
    // What is below the state directory of another host, that host removes by itself.
    if !dry_run && session.elsewhere.is_none() {
        remove(past.application, session).await;
    }
    Ok(())
}

/// Removes what the generation left beside the record. A host tries again to remove what stays.
async fn remove(application: ApplicationRef, session: &Session) {
    let (places, named) = (session.places.clone(), application.to_string());
    let removed =
        tokio::task::spawn_blocking(move || leftovers::remove(&places, &application)).await;
    if let Ok(Err(error)) = removed {
        session.out.talk(format!(
            "{named} is forgotten, and some of what it left is still there: {error}"
        ));
    }
}
