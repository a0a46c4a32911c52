//! `context list` prints the contexts, this machine's host first.

use serde_json::json;

use super::{contexts, yaml};
use crate::context::file::Context;
use crate::context::{LOCAL, in_use};
use crate::exit::Exit;
use crate::failure::OrFailure;
use crate::output::Format;
use crate::session::Session;
use crate::table::Table;

/// All contexts, with a mark at the one that commands use.
#[derive(Debug, clap::Args)]
#[command(before_help = "  mainspring context list -o json")]
pub(super) struct ListArgs {}

pub(super) fn run(_: &ListArgs, session: &Session) -> OrFailure<Exit> {
    let (path, contexts) = contexts()?;
    let in_use = in_use(&session.asked, &contexts)?;
    let out = &session.out;
    let document = json!({
        "file": path.display().to_string(),
        "current": contexts.current,
        "inUse": in_use,
        "contexts": contexts.contexts,
    });
    match out.format {
        Format::Json => out.answer(format!("{document}\n")),
        Format::Jsonl => {
            contexts
                .contexts
                .iter()
                .for_each(|context| out.answer(format!("{}\n", json!(context))));
        }
        Format::Yaml => out.answer(yaml(&document)?),
        Format::Name => {
            out.answer(format!("{LOCAL}\n"));
            contexts.contexts.iter().for_each(|context| out.answer(format!("{}\n", context.name)));
        }
        Format::Table | Format::Wide => {
            out.answer(render(&contexts.contexts, &in_use));
            if contexts.contexts.is_empty() {
                out.talk(format!("{} has no contexts", path.display()));
            }
        }
    }
    Ok(Exit::SUCCEEDED)
}

fn render(contexts: &[Context], in_use: &str) -> String {
    let mark = |name: &str| String::from(if name == in_use { "*" } else { "" });
    let mut table = Table::new(&["", "CONTEXT", "WIRE", "CREDENTIAL", "ENDPOINTS"]);
    let nothing = String::new;
    let here = "this machine's host".to_owned();
    table.row(vec![mark(LOCAL), LOCAL.to_owned(), nothing(), nothing(), here]);
    for context in contexts {
        let endpoints: Vec<_> = context.endpoints.iter().map(ToString::to_string).collect();
        table.row(vec![
            mark(&context.name),
            context.name.clone(),
            wire(context).to_owned(),
            credential(context).to_owned(),
            endpoints.join(" "),
        ]);
    }
    table.render()
}

/// How the hosts are reached, in a word.
pub(super) fn wire(context: &Context) -> &'static str {
    match (&context.tls, context.insecure) {
        (Some(_), _) => "tls",
        (None, true) => "insecure",
        (None, false) => "local sockets",
    }
}

fn credential(context: &Context) -> &'static str {
    if context.credential.command.is_some() { "command" } else { "file" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::file::CredentialSource;

    #[test]
    fn the_one_that_commands_use_is_marked() {
        let context = |name: &str| Context {
            name: name.into(),
            endpoints: vec!["tcp://h1:7070".parse().expect("an endpoint")],
            tls: None,
            insecure: true,
            credential: CredentialSource { file: Some("key".into()), command: None },
        };
        let rendered = |in_use: &str| render(&[context("prod")], in_use);
        assert_eq!(
            rendered("prod"),
            "   CONTEXT  WIRE      CREDENTIAL  ENDPOINTS\n   local                          this machine's host\n\
             *  prod     insecure  file        tcp://h1:7070\n"
        );
        assert!(rendered(LOCAL).contains("\n*  local"), "{}", rendered(LOCAL));
    }
}
