//! `events` prints what happened to an application, in order.

use proto::api::Event;

use crate::application::Named;
use crate::exit::Exit;
use crate::failure::OrFailure;
use crate::live::follow::{self, Heard};
use crate::output::{Format, Output, Style};
use crate::session::Session;
use crate::{interrupt, json, words};

/// What happened, in order.
#[derive(Debug, clap::Args)]
#[command(before_help = "  mainspring events orders -f")]
pub(crate) struct EventsArgs {
    /// ID or ID@GENERATION
    #[arg(value_name = "ID")]
    application: Named,

    /// Go on until the application is clean
    #[arg(short, long)]
    follow: bool,
}

pub(crate) async fn run(args: EventsArgs, session: &Session) -> OrFailure<Exit> {
    let api = session.api().await?;
    if !args.follow {
        let events = api.past_events(&args.application).await?;
        if session.out.format == Format::Json {
            let all: Vec<String> =
                events.iter().map(|event| json::line(event).trim_end().to_owned()).collect();
            session.out.answer(format!("[{}]\n", all.join(",")));
        } else {
            events.iter().for_each(|event| print(event, &session.out));
        }
        return Ok(Exit::SUCCEEDED);
    }
    let application = api.get(&args.application).await?;
    let named = Named::exactly(args.application.id, application.generation);
    let mut heard = follow::Following::new(api, session.clock.clone(), named);
    heard.events(0);
    let leave = interrupt::Interrupts::new()?;
    loop {
        tokio::select! {
            word = heard.next() => match word {
                Heard::Event(event) => print(&event, &session.out),
                Heard::EventsEnded => return Ok(Exit::SUCCEEDED),
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

fn print(event: &Event, out: &Output) {
    match out.format {
        Format::Json | Format::Jsonl => out.answer(json::line(event)),
        Format::Yaml => out.answer(format!("---\n{}", json::yaml(event, true))),
        Format::Name => out.answer(format!("{}\n", event.kind)),
        Format::Table | Format::Wide => {
            // Colours count as columns here, because a limit for eyes need not be exact.
            let columns = if out.format == Format::Wide { usize::MAX } else { 240 };
            out.answer(line(event, columns, |kind| out.paint_answer(Style::Bold, kind)));
        }
    }
}

/// An event as one line: time of day, kind, message, and the attributes that the message does not
/// repeat.
fn line(event: &Event, columns: usize, paint: impl Fn(&str) -> String) -> String {
    let at = event.at.as_ref().map(words::time_of_day).unwrap_or_default();
    let mut attributes: Vec<_> =
        event.attributes.iter().filter(|(_, value)| !value.is_empty()).collect();
    attributes.sort();
    let attributes: Vec<_> =
        attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mut text = format!("{at} {}", paint(&format!("{:<9}", event.kind)));
    for part in [event.reason.as_str(), event.message.as_str(), attributes.join(" ").as_str()] {
        if !part.is_empty() {
            text.push_str("  ");
            text.push_str(part);
        }
    }
    // A reader that takes each line for an event must not find two in one event: a quotation loses
    // its line ends, and its own end when it is long.
    let one: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    words::cut(&one.join(" | "), columns) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line() {
        let event = Event {
            at: Some(prost_types::Timestamp {
                seconds: 12 * 3600 + 3 * 60 + 7,
                nanos: 650_000_000,
            }),
            kind: "main".into(),
            attributes: [("state", "ended"), ("exit_code", "3"), ("signal", "")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            ..Event::default()
        };
        assert_eq!(
            line(&event, 240, str::to_owned),
            "12:03:07.6 main       exit_code=3 state=ended\n"
        );
        let quoting = Event { message: "it said:\n  no\n".into(), ..event };
        assert_eq!(line(&quoting, 35, str::to_owned), "12:03:07.6 main       it said: |  …\n");
    }
}
