//! `wait` waits until an application runs, has ended, or is clean, and never cancels anything.

use std::str::FromStr;
use std::time::Duration;

use chassis::backoff::Backoff;
use chassis::clock::Clock as _;
use futures::StreamExt as _;
use proto::Reason;
use proto::api::{Application, WaitFor};

use crate::application::Named;
use crate::chosen::{self, Choice, Chosen, exactly, say_which};
use crate::duration;
use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};
use crate::output::Format;
use crate::session::Session;
use crate::{interrupt, json, words};

/// How many calls wait at once when several applications are named.
const AT_ONCE: usize = 64;

/// The longest single call; a longer wait is made of several calls.
const CALL: Duration = Duration::from_secs(30);

/// Wait until an application runs, has ended, or is clean.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "  mainspring wait orders --for job=enrich --timeout 10m\n  mainspring wait -l batch=2026-11-29"
)]
pub(crate) struct WaitArgs {
    #[command(flatten)]
    chosen: Chosen,

    /// What for: running, ended, clean, or job=NAME
    #[arg(long = "for", value_name = "WHAT", default_value = "clean")]
    wait_for: For,

    /// At most so long (90s, 5m, 2h); then the exit code is 124
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    timeout: Option<Duration>,
}

/// The condition that is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum For {
    Running,
    Ended,
    Clean,
    Job(String),
}

impl FromStr for For {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "running" => Ok(Self::Running),
            "ended" => Ok(Self::Ended),
            "clean" => Ok(Self::Clean),
            _ => match text.strip_prefix("job=") {
                Some(name) if !name.is_empty() => Ok(Self::Job(name.to_owned())),
                _ => Err("expected running, ended, clean, or job=NAME".to_owned()),
            },
        }
    }
}

pub(crate) async fn run(args: WaitArgs, session: &Session) -> OrFailure<Exit> {
    match args.chosen.choose(&session.api().await?).await? {
        Choice::One(named) => until(&named, &args.wait_for, args.timeout, session).await,
        Choice::Many(applications) => {
            say_which(&applications, &session.out);
            until_all(&applications, &args.wait_for, args.timeout, session).await
        }
    }
}

/// Waits for each of the applications, and tells of each when its condition is met. The exit code
/// is the first, in the order of the applications, that is not 0.
pub(crate) async fn until_all(
    applications: &[Application],
    what: &For,
    limit: Option<Duration>,
    session: &Session,
) -> OrFailure<Exit> {
    let all: Vec<Named> = applications.iter().map(exactly).collect::<OrFailure<_>>()?;
    let clock = &session.clock;
    let end = limit.map(|limit| clock.boot() + limit);
    let leave = interrupt::Interrupts::new()?;
    let waits = futures::stream::iter(all.iter().enumerate()).map(|(at, named)| async move {
        let left = end.map(|end| end.saturating_duration_since(clock.boot()));
        (at, met(named, what, left, session).await)
    });
    let mut waits = std::pin::pin!(waits.buffer_unordered(AT_ONCE));
    let (mut exits, mut done) = (vec![Exit::SUCCEEDED; all.len()], Vec::new());
    loop {
        tokio::select! {
            next = waits.next() => match next {
                Some((at, Ok(application))) => {
                    exits[at] = exit(what, &application);
                    tell(&all[at], &application, session);
                    done.push(application);
                }
                Some((at, Err(failure))) => {
                    session.out.fail(&failure);
                    exits[at] = failure.exit;
                }
                None => break,
            },
            () = leave.any() => {
                session.out.talk("no longer waiting; they go on");
                return Ok(Exit::DETACHED);
            }
        }
    }
    chosen::answer(done, &session.out);
    Ok(exits.into_iter().fold(Exit::SUCCEEDED, Exit::or))
}

/// Waits, and answers with the application's exit code once the condition is met.
pub(crate) async fn until(
    named: &Named,
    what: &For,
    limit: Option<Duration>,
    session: &Session,
) -> OrFailure<Exit> {
    let leave = interrupt::Interrupts::new()?;
    tokio::select! {
        application = met(named, what, limit, session) => answer(named, what, &application?, session),
        () = leave.any() => {
            session.out.talk(format!("no longer waiting; {named} goes on"));
            Ok(Exit::DETACHED)
        }
    }
}

/// Waits until the condition is met or can no longer be met, and answers the state at that time.
pub(crate) async fn met(
    named: &Named,
    what: &For,
    limit: Option<Duration>,
    session: &Session,
) -> OrFailure<Application> {
    let clock = &session.clock;
    let end = limit.map(|limit| clock.boot() + limit);
    let (wait_for, job_name) = match what {
        For::Running => (WaitFor::Running, String::new()),
        For::Ended => (WaitFor::Ended, String::new()),
        For::Clean => (WaitFor::Clean, String::new()),
        For::Job(name) => (WaitFor::Job, name.clone()),
    };
    let mut named = named.clone();
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
    let mut api = session.api().await?;
    loop {
        let left = end.map_or(CALL, |end| end.saturating_duration_since(clock.boot()));
        // A timeout of zero would mean the service's own limit.
        let timeout = left.clamp(Duration::from_millis(1), CALL);
        let timed_out = left <= timeout;
        match api.wait(&named, wait_for, &job_name, timeout).await {
            Ok((application, true)) => return Ok(application),
            Ok((application, false)) => {
                // The latest generation is the one that is the latest now; a generation that comes
                // later is another one.
                named = Named::exactly(named.id, application.generation);
                let never = match what {
                    For::Running => application.terminal,
                    For::Job(_) => application.clean,
                    For::Ended | For::Clean => false,
                };
                if never {
                    return Ok(application);
                }
                if end.is_some() && timed_out {
                    return Err(out_of_time(&named, what, &application));
                }
                backoff.reset();
            }
            Err(error) if error.is_retryable() => {
                if end.is_some_and(|end| clock.boot() >= end) {
                    return Err(error.into());
                }
                clock.sleep(backoff.next_delay()).await;
                let left = end.map(|end| end.saturating_duration_since(clock.boot()));
                api = session.api_again(left.unwrap_or(Duration::MAX)).await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn out_of_time(named: &Named, what: &For, application: &Application) -> Failure {
    let wish = match what {
        For::Running => "running".to_owned(),
        For::Ended => "ended".to_owned(),
        For::Clean => "clean".to_owned(),
        For::Job(name) => format!("through with job {name}"),
    };
    let text = format!("{named} is not {wish} yet: {}", words::state(application));
    Failure::new(Exit::WAIT_TIMED_OUT, Reason::WaitTimedOut, text)
}

fn answer(
    named: &Named,
    what: &For,
    application: &Application,
    session: &Session,
) -> OrFailure<Exit> {
    match session.out.format {
        Format::Json | Format::Jsonl => session.out.answer(json::line(application)),
        Format::Yaml => session.out.answer(json::yaml(application, true)),
        Format::Name => session.out.answer(format!("{}@{}\n", named.id, application.generation)),
        Format::Table | Format::Wide => tell(named, application, session),
    }
    Ok(exit(what, application))
}

fn tell(named: &Named, application: &Application, session: &Session) {
    let why = words::why(application);
    let why = if why.is_empty() { why } else { format!("  {why}") };
    let state = words::state(application);
    session.out.talk(format!("{}@{} {state}{why}", named.id, application.generation));
}

/// The application's exit code, or that of the job that was waited for.
fn exit(what: &For, application: &Application) -> Exit {
    match what {
        For::Running if !application.terminal => Exit::SUCCEEDED,
        For::Job(name) => {
            let job = application.jobs.iter().find(|job| job.name == *name);
            let end = job.and_then(|job| job.end.as_ref());
            match end.map(|end| end.outcome()) {
                Some(proto::job::JobOutcome::Succeeded) => Exit::SUCCEEDED,
                Some(proto::job::JobOutcome::Cancelled) => Exit::CANCELLED,
                Some(_) => Exit::FAILED,
                None if application.terminal => Exit::of(application.outcome()),
                None => Exit::NOT_FOUND,
            }
        }
        _ => Exit::of(application.outcome()),
    }
}
