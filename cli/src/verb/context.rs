//! `context` keeps the file of contexts: the ways to hosts of other deployments.

mod add;
mod change;
mod list;
mod show;

use std::path::PathBuf;

use serde_json::Value;

use crate::context::file::{self, Contexts};
use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};
use crate::session::Session;

/// The ways to other hosts
///
/// A context names the stores of a deployment, how they are reached, and the credential for them.
/// With --context NAME, MAINSPRING_CONTEXT or the current context of the file, every verb talks to
/// those hosts and starts none; local is this machine's host. The file is
/// ~/.config/mainspring/config.yaml, or what MAINSPRING_CONFIG names.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "  mainspring context add prod tcp://h1:7070 tcp://h2:7070 --insecure --credential-file deployment.key\n  \
    mainspring --context prod list\n  mainspring context use prod"
)]
pub(crate) struct ContextArgs {
    #[command(subcommand)]
    verb: ContextVerb,
}

// What is done with contexts. The options of these verbs have no twins in the environment, because
// what they say is written down and lasts.
#[derive(Debug, clap::Subcommand)]
enum ContextVerb {
    /// All contexts, with a mark at the one that commands use
    List(list::ListArgs),
    /// One context, and whether its hosts answer
    Show(show::ShowArgs),
    /// Make a context the current one
    Use(change::UseArgs),
    /// Add a context, after its hosts were asked
    Add(add::AddArgs),
    /// Remove a context
    Remove(change::RemoveArgs),
}

pub(crate) async fn run(args: ContextArgs, session: &Session) -> OrFailure<Exit> {
    match args.verb {
        ContextVerb::List(args) => list::run(&args, session),
        ContextVerb::Show(args) => show::run(args, session).await,
        ContextVerb::Use(args) => change::make_current(&args, session),
        ContextVerb::Add(args) => add::run(args, session).await,
        ContextVerb::Remove(args) => change::remove(&args, session),
    }
}

/// Where the file of contexts is.
fn path() -> OrFailure<PathBuf> {
    file::path()?.ok_or_else(|| {
        Failure::usage("there is no place for the file of contexts: HOME is not set")
            .help(format!("name a file in {}", file::VARIABLE))
    })
}

/// The file of contexts and what it holds.
fn contexts() -> OrFailure<(PathBuf, Contexts)> {
    let path = path()?;
    let contexts = file::read(&path)?;
    Ok((path, contexts))
}

/// The JSON document as YAML.
pub(super) fn yaml(document: &Value) -> OrFailure<String> {
    serde_saphyr::to_string(document)
        .map_err(|error| Failure::internal(format!("the document is no YAML: {error}")))
}
