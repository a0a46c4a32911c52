//! `man` writes the manual, made from the same text as `--help`.

use std::io;
use std::path::{Path, PathBuf};

use clap::Command;
use clap_mangen::Man;

use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};
use crate::session::Session;

/// The manual's pages
///
/// One for the command and one for each verb, as files for man(1). Without a directory the page of
/// the command goes to stdout.
#[derive(Debug, clap::Args)]
#[command(before_help = "  mainspring man | man -l -\n  mainspring man ~/.local/share/man/man1")]
pub(crate) struct ManArgs {
    /// Where to put them: a directory called man1
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

pub(crate) fn run(args: &ManArgs, session: &Session, command: Command) -> OrFailure<Exit> {
    let pages = pages(command)?;
    match &args.directory {
        None => session.out.answer(&pages[0].1),
        Some(directory) => {
            write(directory, &pages).map_err(|error| {
                Failure::usage(format!("{}: {error}", directory.display()))
                    .help("name a directory that you may write into")
            })?;
            session.out.talk(format!("{} pages in {}", pages.len(), directory.display()));
        }
    }
    Ok(Exit::SUCCEEDED)
}

fn write(directory: &Path, pages: &[(String, Vec<u8>)]) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    pages.iter().try_for_each(|(name, text)| std::fs::write(directory.join(name), text))
}

/// The names and texts of a command's pages, its own first. The page of a verb's other name leads
/// to the verb's page; an action of a verb has a page of its own.
fn pages(mut command: Command) -> io::Result<Vec<(String, Vec<u8>)>> {
    command.build();
    let page = |called: &[&str], command: &Command| -> io::Result<(String, Vec<u8>)> {
        let name = called.join("-");
        let command = command.clone().bin_name(called.join(" ")).display_name(name.as_str());
        let mut text = Vec::new();
        Man::new(with_examples(command)).render(&mut text)?;
        Ok((format!("{name}.1"), text))
    };
    let mut pages = vec![page(&["mainspring"], &command)?];
    for verb in command.get_subcommands() {
        let name = format!("mainspring-{}", verb.get_name());
        for alias in verb.get_visible_aliases() {
            pages.push((
                format!("mainspring-{alias}.1"),
                format!(".so man1/{name}.1\n").into_bytes(),
            ));
        }
        pages.push(page(&["mainspring", verb.get_name()], verb)?);
        for action in verb.get_subcommands() {
            pages.push(page(&["mainspring", verb.get_name(), action.get_name()], action)?);
        }
    }
    Ok(pages)
}

/// Moves the examples to the end, where a manual has them; the help begins with them.
fn with_examples(command: Command) -> Command {
    match command.get_before_help().map(ToString::to_string) {
        Some(examples) => command.after_long_help(format!("Examples:\n\n{examples}")),
        None => command,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::args;

    #[test]
    fn every_verb_has_a_page_with_its_options_and_examples() {
        let pages = pages(args::command()).unwrap();
        for verb in args::command().get_subcommands() {
            let name = format!("mainspring-{}.1", verb.get_name());
            let page =
                pages.iter().find(|(of, _)| *of == name).unwrap_or_else(|| panic!("no {name}"));
            let text = String::from_utf8(page.1.clone()).unwrap();
            assert!(
                text.contains(".SH SYNOPSIS") && text.contains("state\\-dir"),
                "{name}: {text}"
            );
            assert!(text.contains("Examples:"), "{name}: {text}");
        }
        assert!(pages.iter().any(|(name, _)| name == "mainspring-context-add.1"));
        let alias = pages.iter().find(|(name, _)| name == "mainspring-run.1").unwrap();
        assert_eq!(alias.1, b".so man1/mainspring-run-application.1\n");
        assert_eq!(pages[0].0, "mainspring.1");
    }
}
