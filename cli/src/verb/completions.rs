//! `completions` prints what a shell needs to complete verbs, options and their values.

use clap::Command;

use crate::exit::Exit;
use crate::failure::OrFailure;
use crate::session::Session;

/// Completions of verbs and options for a shell
///
/// For bash into a file that it finds by itself,
/// ~/.local/share/bash-completion/completions/mainspring; for zsh into _mainspring in a directory
/// of $fpath; for fish into ~/.config/fish/completions/mainspring.fish. `make install` puts all
/// three in place.
#[derive(Debug, clap::Args)]
#[command(before_help = "  mainspring completions bash    # source <(…) makes them work")]
pub(crate) struct CompletionsArgs {
    /// For which shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

pub(crate) fn run(args: &CompletionsArgs, session: &Session, command: Command) -> OrFailure<Exit> {
    session.out.answer(script(args.shell, command));
    Ok(Exit::SUCCEEDED)
}

/// The script that completes a command in a shell.
fn script(shell: Shell, mut command: Command) -> Vec<u8> {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "mainspring", &mut script);
    script
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::ValueEnum as _;

    use super::*;
    use crate::args;

    #[test]
    fn every_verb_is_completed_in_every_shell() {
        for shell in Shell::value_variants() {
            let script = String::from_utf8(script(*shell, args::command())).unwrap();
            for verb in args::command().get_subcommands() {
                assert!(script.contains(verb.get_name()), "{shell:?}: {}", verb.get_name());
            }
            assert!(
                script.contains("if-exists") && script.contains("replace"),
                "{shell:?}: options and values"
            );
        }
    }
}
