//! The `mainspring` command: submits applications, watches them, and is the host that runs them;
//! every service of the host is one of its verbs.

mod api;
mod application;
mod args;
mod ask;
mod chosen;
mod context;
mod duration;
mod ending;
mod engine;
mod exit;
mod failure;
mod flink;
mod host;
mod interrupt;
mod json;
mod live;
mod main_output;
mod output;
mod retain;
mod serve;
mod session;
mod spec;
mod table;
mod usage;
mod verb;
mod words;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use chassis::telemetry::{self, trace};
use clap::error::ErrorKind;
use tracing::Instrument as _;

use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};
use crate::session::Session;

/// The first descriptor after the three standard ones.
const FIRST_OF_THE_CALLERS: i32 = 3;

fn main() -> ExitCode {
    // The caller's open files are not handed on, because a host outlives the caller, and the
    // caller's locks and pipes would live on with the host.
    close_fds::set_fds_cloexec(FIRST_OF_THE_CALLERS, &[]);
    chassis::install_crypto_provider();
    if std::env::var_os(host::service::OWN_SESSION).is_some() {
        // The kernel refuses this to the leader of a group. Then the end of a terminal can reach
        // the process, and nothing else is different.
        let _ = rustix::process::setsid();
    }
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let word = |at: usize| arguments.get(at).and_then(|word| word.to_str());
    match (word(1), word(2)) {
        (Some("serve"), Some("host")) => command(host_alone(arguments)),
        (Some("serve"), _) => serve::serve(&arguments),
        (Some("tether"), _) => serve::tether(&arguments),
        _ => command(arguments),
    }
}

/// `serve host` is the part of `up` that is no service: it keeps contenders, and the services run
/// elsewhere.
fn host_alone(mut arguments: Vec<OsString>) -> Vec<OsString> {
    arguments.splice(1..3, ["up", "--no-services"].map(OsString::from));
    arguments
}

/// Runs every verb but the parts of the host.
fn command(arguments: Vec<OsString>) -> ExitCode {
    let json = wants_json(&arguments);
    let whole = args::command();
    let (arguments, left_to_main) = in_our_spelling(whole.clone(), arguments);
    let cli = match args::parse(whole.clone(), arguments) {
        Ok(cli) => cli,
        Err(error) => return ExitCode::from(not_understood(&error, json).code()),
    };
    let session = match Session::new(&cli.common, cli.verb.is_about_a_host()) {
        Ok(session) => session,
        Err(failure) => return early(&failure, json),
    };
    let runtime = match chassis::runtime() {
        Ok(runtime) => runtime,
        Err(error) => return early(&Failure::from(error), json),
    };
    let is_host = matches!(cli.verb, verb::Verb::Up(_));
    let exit = runtime.block_on(async {
        let levels = if is_host { cli.telemetry } else { cli.telemetry.quiet() };
        let telemetry = telemetry::init(if is_host { "up" } else { "mainspring" }, &levels);
        let numbers = is_host.then(|| telemetry::metrics::init("up"));
        if is_host {
            chassis::panics::log();
        }
        // `up` lives longer than the command that starts it, so that `up` is no part of a command's
        // trace.
        let span = if is_host { tracing::Span::none() } else { tracing::info_span!("command") };
        trace::continue_from_environment(&span);
        let done: OrFailure<Exit> =
            verb::perform(cli.verb, &session, &left_to_main, whole).instrument(span).await;
        if let Some(numbers) = numbers {
            numbers.shutdown().await;
        }
        telemetry.shutdown().await;
        done.unwrap_or_else(|failure| {
            session.out.fail(&failure);
            failure.exit
        })
    });
    // A task that still waits on the runtime waits for nothing that this process has to do.
    runtime.shutdown_background();
    ExitCode::from(exit.code())
}

/// Rewrites the options of `run` from Flink's spelling into ours, and sets main()'s arguments
/// apart.
fn in_our_spelling(
    mut command: clap::Command,
    mut arguments: Vec<OsString>,
) -> (Vec<OsString>, Vec<String>) {
    command.build();
    let Some(run) = command.find_subcommand("run-application") else {
        return (arguments, Vec::new());
    };
    let Some(verb) = flink::verb_position(&command, &arguments) else {
        return (arguments, Vec::new());
    };
    if !matches!(arguments[verb].to_str(), Some("run" | "run-application")) {
        return (arguments, Vec::new());
    }
    let rest = arguments.split_off(verb + 1);
    let rewritten = flink::rewrite(run, rest);
    arguments.extend(rewritten.arguments);
    (arguments, rewritten.left_to_main)
}

/// Whether errors have to be JSON, seen before the command line is parsed, because its errors have
/// to be too.
fn wants_json(arguments: &[OsString]) -> bool {
    let words: Vec<_> = arguments.iter().filter_map(|word| word.to_str()).collect();
    let joined = words
        .iter()
        .any(|word| matches!(*word, "-ojson" | "-ojsonl" | "--format=json" | "--format=jsonl"));
    joined || words.windows(2).any(|pair| matches!(pair, ["-o" | "--format", "json" | "jsonl"]))
}

/// Prints what clap answered: help and version are answers, everything else is a usage error.
fn not_understood(error: &clap::Error, json: bool) -> Exit {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        // A reader that has gone away is no error.
        let _ = error.print();
        return Exit::SUCCEEDED;
    }
    if json {
        let text = error.render().to_string();
        let message =
            text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        let _ = writeln!(std::io::stderr(), "{}", Failure::usage(message).to_json());
    } else {
        let _ = error.print();
    }
    Exit::USAGE
}

/// Prints an error that happens before there is a session to print it.
fn early(failure: &Failure, json: bool) -> ExitCode {
    let text = if json { failure.to_json() + "\n" } else { failure.render(str::to_owned) };
    let _ = std::io::stderr().write_all(text.as_bytes());
    ExitCode::from(failure.exit.code())
}
