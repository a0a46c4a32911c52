//! `context use` and `context remove`.

use super::path;
use crate::context::update::update;
use crate::context::{LOCAL, unknown};
use crate::exit::Exit;
use crate::failure::OrFailure;
use crate::session::Session;

/// Make a context the current one
///
/// Commands then use it unless they are told otherwise. The file is written anew, without its
/// comments.
#[derive(Debug, clap::Args)]
#[command(before_help = "  mainspring context use prod\n  mainspring context use local")]
pub(super) struct UseArgs {
    /// The context, or local for this machine's host
    #[arg(value_name = "NAME")]
    name: String,
}

/// Remove a context
///
/// The files that it names stay. The file is written anew, without its comments.
#[derive(Debug, clap::Args)]
#[command(before_help = "  mainspring context remove prod")]
pub(super) struct RemoveArgs {
    /// The context
    #[arg(value_name = "NAME")]
    name: String,
}

pub(super) fn make_current(args: &UseArgs, session: &Session) -> OrFailure<Exit> {
    let name = &args.name;
    update(&path()?, |contexts| {
        contexts.current = match name.as_str() {
            LOCAL => None,
            name if contexts.find(name).is_some() => Some(name.to_owned()),
            name => return Err(unknown(name, contexts)),
        };
        Ok(())
    })?;
    session.out.talk(format!("commands use {name} from now on"));
    say_what_stands_above(session);
    Ok(Exit::SUCCEEDED)
}

pub(super) fn remove(args: &RemoveArgs, session: &Session) -> OrFailure<Exit> {
    let name = &args.name;
    let mut was_current = false;
    update(&path()?, |contexts| {
        if contexts.find(name).is_none() {
            return Err(unknown(name, contexts));
        }
        contexts.contexts.retain(|context| context.name != *name);
        was_current = contexts.current.as_ref() == Some(name);
        if was_current {
            contexts.current = None;
        }
        Ok(())
    })?;
    session.out.talk(format!("removed {name}"));
    if was_current {
        session.out.talk(format!("{name} was current: commands use {LOCAL} from now on"));
    }
    Ok(Exit::SUCCEEDED)
}

/// Says that the current context does not count in this shell, where that is so.
pub(super) fn say_what_stands_above(session: &Session) {
    let says = |variable: &str| std::env::var_os(variable).is_some_and(|value| !value.is_empty());
    for variable in ["MAINSPRING_CONTEXT", "MAINSPRING_STATE_DIR"] {
        if says(variable) {
            session.out.talk(format!("note: {variable} is set here, and stands above that"));
        }
    }
}
