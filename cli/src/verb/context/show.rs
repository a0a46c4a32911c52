//! `context show` prints one context, and with `--check` what its hosts say.

use serde_json::{Value, json};

use super::{contexts, list, yaml};
use crate::context::file::Context;
use crate::context::{Elsewhere, LOCAL, in_use, unknown};
use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};
use crate::output::{Format, Output, Style};
use crate::session::Session;

/// One context, and whether its hosts answer.
#[derive(Debug, clap::Args)]
#[command(before_help = "  mainspring context show prod --check")]
pub(super) struct ShowArgs {
    /// The context; the one that commands use if it is left out
    #[arg(value_name = "NAME")]
    name: Option<String>,

    /// Ask each of its hosts, with the context's credential; exits 1 unless all answer
    #[arg(long)]
    check: bool,
}

/// What one host said: its version and build, or what is wrong.
pub(super) type Answer = OrFailure<String>;

pub(super) async fn run(args: ShowArgs, session: &Session) -> OrFailure<Exit> {
    let (path, contexts) = contexts()?;
    let name = match args.name {
        Some(name) => name,
        None => in_use(&session.asked, &contexts)?,
    };
    if name == LOCAL {
        return Err(Failure::usage(format!("{LOCAL} is this machine's host, and no context"))
            .help("mainspring doctor shows what is where on this machine"));
    }
    let context = contexts.find(&name).ok_or_else(|| unknown(&name, &contexts))?;
    let context = context.resolved(path.parent().unwrap_or(&path));
    let answers = if args.check { ask(&context, session).await? } else { Vec::new() };
    print(&context, &answers, &session.out)?;
    let all = answers.iter().all(|(_, answer)| answer.is_ok());
    Ok(if all { Exit::SUCCEEDED } else { Exit::FAILED })
}

/// Asks each host for its version, in the order of the endpoints.
pub(super) async fn ask(context: &Context, session: &Session) -> OrFailure<Vec<(String, Answer)>> {
    let said = Elsewhere::new(context.clone()).ask_all(&session.clock).await?;
    let answers = said.into_iter().map(|(endpoint, said)| {
        let answer = said
            .map(|store| format!("{} (build {})", store.version, store.build))
            .map_err(|error| Failure::from(error).met_in(&context.name));
        (endpoint.to_string(), answer)
    });
    Ok(answers.collect())
}

/// What is wrong with a host, in one line.
pub(super) fn problem(failure: &Failure) -> String {
    format!("[{}] {}", failure.reason, failure.message)
}

fn print(context: &Context, answers: &[(String, Answer)], out: &Output) -> OrFailure<()> {
    match out.format {
        Format::Json | Format::Jsonl => {
            out.answer(format!("{}\n", document(context, answers)?));
        }
        Format::Yaml => out.answer(yaml(&document(context, answers)?)?),
        Format::Name => out.answer(format!("{}\n", context.name)),
        Format::Table | Format::Wide => out.answer(render(context, answers, out)),
    }
    Ok(())
}

fn document(context: &Context, answers: &[(String, Answer)]) -> OrFailure<Value> {
    // A path that is not UTF-8 has no JSON.
    let mut document = serde_json::to_value(context)
        .map_err(|error| Failure::usage(format!("context {}: {error}", context.name)))?;
    if !answers.is_empty() {
        document["answers"] = answers.iter().map(answer_document).collect();
    }
    Ok(document)
}

fn answer_document((endpoint, answer): &(String, Answer)) -> Value {
    json!({
        "endpoint": endpoint,
        "version": answer.as_ref().ok(),
        "problem": answer.as_ref().err().map(problem),
    })
}

fn render(context: &Context, answers: &[(String, Answer)], out: &Output) -> String {
    let credential = match (&context.credential.file, &context.credential.command) {
        (Some(file), _) => format!("file {}", file.display()),
        (None, Some(argv)) => format!("command {}", argv.join(" ")),
        (None, None) => String::new(),
    };
    let tls = context.tls.iter().flat_map(|tls| {
        [("ca", &tls.ca), ("cert", &tls.cert), ("key", &tls.key)]
            .map(|(name, path)| (name, path.display().to_string()))
    });
    let mut lines =
        vec![("context", context.name.clone()), ("wire", list::wire(context).to_owned())];
    lines.extend(tls);
    lines.push(("credential", credential));
    let mut text: String =
        lines.iter().map(|(name, value)| format!("{name:<11} {value}\n")).collect();
    for (at, endpoint) in context.endpoints.iter().enumerate() {
        let said = match answers.get(at) {
            Some((_, Ok(version))) => {
                format!("  {} {version}", out.paint_answer(Style::Good, "ok"))
            }
            Some((_, Err(failure))) => {
                format!("  {} {}", out.paint_answer(Style::Bad, "!!"), problem(failure))
            }
            None => String::new(),
        };
        text.push_str(&format!("{:<11} {endpoint}{said}\n", "endpoint"));
    }
    text
}
