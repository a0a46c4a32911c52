//! The command line. Every long option `--some-name` can also be given as `MAINSPRING_SOME_NAME`.

use chassis::telemetry::TelemetryArgs;
use clap::builder::BoolishValueParser;
use clap::{Arg, ArgAction, CommandFactory as _, FromArgMatches as _, Parser};

use crate::session::Common;
use crate::verb::Verb;

/// The top of `mainspring --help`: one screen, examples first.
const HELP: &str = "\
mainspring runs an application from a pointer to its program: fetched, elected, run, recorded, torn down.

  mainspring run examples/flights/carriers.sql        run it and watch

Run
  run-application, run   submit an application and watch it until it has ended
  rerun                  submit a recorded application anew, with the files that it had
  attach                 watch an application that runs
  wait                   wait until an application runs, has ended, or is clean
Look
  list                   applications, newest first
  status                 one application: state, leader, cluster, jobs, and how old the answer is
  jobs                   the jobs of an application
  logs                   what main() and the cluster's processes wrote
  result                 the rows that a SELECT brought back
  events                 what happened, in order
  graph                  the graph of a job
  ui                     the web page of an application's engine
Change
  savepoint              have a savepoint taken of the jobs that run
  stop                   stop the jobs of an application, each with a savepoint
  cancel                 ask an application to end as CANCELLED
  abandon                give up a teardown or a publish that cannot finish
  forget                 forget applications that are over
Host
  up                     run the host in the foreground (the verbs above start it); its parts are serve and tether
  down                   end the host and its services
  backup                 write the whole record into a file, while applications run
  restore                make a record from a backup, in a file or in etcd; go on with a restored etcd
  setup                  install an engine's own software (Flink and a JDK)
  doctor                 what is where, and what is wrong with it
  certs                  certificates that guard TCP between machines
  context                the ways to other hosts: list, show, use, add, remove
  host                   the hosts of a deployment that has several: list, give-up
  completions            completions for bash, zsh or fish
  man                    the manual's pages
  version                versions and builds

`mainspring VERB --help` shows a verb's options. Each option --some-name is also read from MAINSPRING_SOME_NAME.
On every verb: --context NAME, --state-dir DIR, -o table|wide|name|json|jsonl|yaml, --color, --progress, -q, --log.
";

/// The `mainspring` command.
#[derive(Debug, Parser)]
#[command(name = "mainspring", version, override_help = HELP, disable_help_subcommand = true, subcommand_required = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) telemetry: TelemetryArgs,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// The command with every long option's `MAINSPRING_*` twin.
pub(crate) fn command() -> clap::Command {
    let mut command = with_twins(Cli::command());
    let verbs: Vec<String> =
        command.get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
    for verb in verbs {
        command = command.mut_subcommand(verb, with_twins);
    }
    command
}

/// Reads a command line of this command, whose first word is the program's name.
pub(crate) fn parse(
    command: clap::Command,
    arguments: Vec<std::ffi::OsString>,
) -> Result<Cli, clap::Error> {
    let matches = command.try_get_matches_from(arguments)?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    cli.common.state_dir_given = matches.value_source("state_dir").into();
    Ok(cli)
}

fn with_twins(command: clap::Command) -> clap::Command {
    command.mut_args(|argument| match argument.get_long() {
        Some(long) if argument.get_env().is_none() => {
            twin(format!("MAINSPRING_{}", screaming(long)), argument)
        }
        // The top of the help names the variables of all options in one sentence.
        _ => argument.hide_env(true),
    })
}

fn twin(variable: String, argument: Arg) -> Arg {
    // The variable of a flag takes 1, true, yes, on and their opposites.
    let argument = match argument.get_action() {
        ArgAction::SetTrue => argument.value_parser(BoolishValueParser::new()),
        _ => argument,
    };
    argument.env(clap::builder::OsStr::from(leak(variable))).hide_env(true)
}

/// Leaks the name, because clap wants it to live as long as the command, which lives as long as the
/// process: a few hundred bytes.
fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

fn screaming(long: &str) -> String {
    long.replace('-', "_").to_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn the_help_is_one_screen_and_names_every_verb() {
        assert!(HELP.lines().count() <= 40, "{} lines", HELP.lines().count());
        assert!(HELP.lines().all(|line| line.len() <= 120));
        for verb in command().get_subcommands() {
            assert!(
                HELP.contains(&format!("\n  {}", verb.get_name())),
                "{} is not in the help",
                verb.get_name()
            );
        }
    }

    #[test]
    fn every_verb_says_in_the_guide_what_it_does_with_a_context() {
        let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guides/contexts.md");
        let guide = std::fs::read_to_string(guide).expect("the guide is there");
        let (_, table) = guide.split_once("## What each verb does").expect("it has the table");
        for verb in command().get_subcommands() {
            let name = verb.get_visible_aliases().next().unwrap_or(verb.get_name());
            assert!(table.contains(&format!("`{name}`")), "{name} is not in the guide");
        }
    }

    #[test]
    fn every_option_has_its_twin() {
        let command = command();
        for verb in std::iter::once(&command).chain(command.get_subcommands()) {
            for argument in verb.get_arguments().filter(|a| a.get_long().is_some()) {
                let twin = argument
                    .get_env()
                    .map(|twin| twin.to_string_lossy().into_owned())
                    .unwrap_or_default();
                assert!(
                    twin.starts_with("MAINSPRING_"),
                    "{} --{}: {twin:?}",
                    verb.get_name(),
                    argument.get_id()
                );
            }
        }
    }

    /// The short and the long help of every verb, with its name.
    fn helps() -> Vec<(String, String, String)> {
        let mut command = command().term_width(100);
        command.build();
        let help = |verb: &mut clap::Command| {
            let name = verb.get_name().to_owned();
            (name, verb.render_help().to_string(), verb.render_long_help().to_string())
        };
        command.get_subcommands_mut().map(help).collect()
    }

    #[test]
    fn the_help_of_every_verb_begins_with_an_example() {
        for (verb, short, long) in helps() {
            for text in [short, long] {
                assert!(text.starts_with("  mainspring "), "{verb}: {text}");
            }
        }
    }

    #[test]
    fn options_for_logs_are_a_group_of_their_own_and_the_last() {
        for (verb, short, long) in helps() {
            for text in [short, long] {
                let (before, group) = text.split_once("\nLogging:\n").expect(&verb);
                assert!(!before.contains("--log "), "{verb}: {text}");
                assert!(
                    group.contains("--log ") && group.contains("--log-format "),
                    "{verb}: {text}"
                );
                let heading = |line: &str| !line.starts_with(' ') && line.ends_with(':');
                assert!(!group.lines().any(heading), "{verb}: a group follows: {text}");
            }
        }
    }

    #[test]
    fn the_short_help_of_every_verb_is_one_screen() {
        for (verb, short, _) in helps() {
            assert!(
                short.lines().count() <= 50,
                "{verb}: {} lines\n{short}",
                short.lines().count()
            );
        }
    }
}
