//! `logs` prints what main() and the processes of the cluster wrote.

use std::cell::Cell;
use std::time::Duration;

use chassis::clock::Clock as _;
use futures::StreamExt as _;
use proto::api::{LogLine, ReadLogsRequest};

use crate::api::Api;
use crate::application::Named;
use crate::duration;
use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};
use crate::live::follow::{self, Heard};
use crate::output::{Format, Output, Style};
use crate::session::Session;
use crate::table::size;
use crate::{interrupt, json, words};

/// What main() and the cluster's processes wrote.
#[derive(Debug, clap::Args)]
#[command(before_help = "  mainspring logs orders --role main --tail 20 -f")]
pub(crate) struct LogsArgs {
    /// ID or ID@GENERATION
    #[arg(value_name = "ID")]
    application: Named,

    /// Go on until the application is clean
    #[arg(short, long)]
    follow: bool,

    /// Only of this role: main, worker, contender, describe; may be repeated
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,

    /// Only of this execution of main(), by its epoch
    #[arg(long, value_name = "EPOCH", default_value_t = 0, hide_default_value = true)]
    attempt: u64,

    /// Only the last so many lines
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    tail: u32,

    /// Only what was written within so long (10m, 2h)
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    since: Option<Duration>,

    /// Only what was written longer ago than this
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    until: Option<Duration>,

    /// Go on after this line, as -o json shows it
    #[arg(long, value_name = "CURSOR", default_value = "", hide_default_value = true)]
    cursor: String,

    /// Begin each line with its time and role
    #[arg(long)]
    timestamps: bool,
}

pub(crate) async fn run(args: LogsArgs, session: &Session) -> OrFailure<Exit> {
    let now = session.clock.wall();
    let ago = |age: Option<Duration>| -> OrFailure<Option<prost_types::Timestamp>> {
        let Some(age) = age else { return Ok(None) };
        let at = now
            .checked_sub(age)
            .ok_or_else(|| Failure::usage("that is before the beginning of time"))?;
        Ok(Some(at.into()))
    };
    let api = session.api().await?;
    let application = api.get(&args.application).await?;
    let named = Named::exactly(args.application.id, application.generation);
    let request = ReadLogsRequest {
        application_id: named.id.to_string(),
        generation: application.generation,
        roles: args.roles.clone(),
        attempt: args.attempt,
        cursor: args.cursor,
        since: ago(args.since)?,
        until: ago(args.until)?,
        tail: args.tail,
        follow: args.follow,
    };
    let role = args.roles.len() != 1;
    let silence = Silence::new(&args.roles, args.attempt, &request);
    let show = |line: &LogLine| {
        silence.broken_by(line);
        print(line, &session.out, role, args.timestamps);
    };
    if !args.follow {
        let exit = all(&api, request, session, show).await?;
        silence.tell(&named, application.terminal, &session.out);
        return Ok(exit);
    }
    let mut heard = follow::Following::new(api, session.clock.clone(), named.clone());
    heard.logs(request);
    let leave = interrupt::Interrupts::new()?;
    loop {
        tokio::select! {
            word = heard.next() => match word {
                Heard::Lines(lines) => lines.iter().for_each(show),
                Heard::LogsEnded => {
                    silence.tell(&named, true, &session.out);
                    return Ok(Exit::SUCCEEDED);
                }
                Heard::Refused(error) => return Err(error.into()),
                Heard::Away(_) => session.keep_host().await,
                _ => {}
            },
            () = leave.any() => return Ok(Exit::DETACHED),
        }
        if session.out.is_closed() {
            return Ok(Exit::SUCCEEDED);
        }
    }
}

/// Whether a role that was asked for has written nothing. The command says so, because a command
/// that prints no line at all looks broken.
struct Silence {
    /// The role; `None` if only some of the lines were asked for, so that their absence says
    /// nothing.
    whose: Option<String>,
    /// Whether only lines of main() count.
    main: bool,
    broken: Cell<bool>,
}

impl Silence {
    fn new(roles: &[String], attempt: u64, request: &ReadLogsRequest) -> Self {
        let part = request.since.is_some() || request.until.is_some();
        let whole = !part && request.cursor.is_empty() && request.tail == 0;
        let main = attempt > 0 || roles.is_empty() || roles.iter().any(|role| role == "main");
        let whose = match roles {
            _ if attempt > 0 => format!("main() {attempt}"),
            _ if main => "main()".to_owned(),
            roles => roles.join(", "),
        };
        Self { whose: whole.then_some(whose), main, broken: Cell::new(false) }
    }

    fn broken_by(&self, line: &LogLine) {
        self.broken.set(self.broken.get() || !self.main || line.role == "main");
    }

    fn tell(&self, named: &Named, ended: bool, out: &Output) {
        if let (Some(whose), false) = (&self.whose, self.broken.get()) {
            let yet = if ended { "" } else { " yet" };
            out.talk(format!("{whose} of {named} wrote nothing{yet}"));
        }
    }
}

/// Prints the lines that there are. A host that leaves in the meantime, because it has no other
/// work, is started again.
async fn all(
    api: &Api,
    mut request: ReadLogsRequest,
    session: &Session,
    show: impl Fn(&LogLine),
) -> OrFailure<Exit> {
    loop {
        let mut came_on = false;
        let mut stream = api.logs(request.clone()).await?;
        let broke = loop {
            match stream.next().await {
                None => return Ok(Exit::SUCCEEDED),
                Some(Ok(lines)) => {
                    lines.iter().for_each(&show);
                    if let Some(last) = lines.last() {
                        (request.cursor, request.tail) = (last.cursor.clone(), 0);
                        came_on = true;
                    }
                }
                Some(Err(error)) => break error,
            }
            if session.out.is_closed() {
                return Ok(Exit::SUCCEEDED);
            }
        };
        // A stream that breaks each time before its first line is not worth opening again.
        if !broke.is_retryable() || !came_on {
            return Err(broke.into());
        }
        session.keep_host().await;
    }
}

fn print(line: &LogLine, out: &Output, role: bool, timestamps: bool) {
    match out.format {
        Format::Json | Format::Jsonl => return out.answer(json::line(line)),
        Format::Yaml => return out.answer(format!("---\n{}", json::yaml(line, true))),
        Format::Name | Format::Table | Format::Wide => {}
    }
    if line.lost_before > 0 {
        out.talk(
            out.paint(Style::Warn, &format!("-- {} were dropped here --", size(line.lost_before))),
        );
    }
    if words::is_gap(line) {
        return;
    }
    let mut bytes = Vec::new();
    if timestamps {
        let at = line.at.as_ref().map(words::time_of_day).unwrap_or_default();
        bytes.extend(format!("{at} ").bytes());
    }
    if role {
        bytes.extend(out.paint_answer(Style::Dim, &format!("{:<9} ", line.role)).bytes());
    }
    bytes.extend(&line.text);
    bytes.push(b'\n');
    out.answer(bytes);
}
