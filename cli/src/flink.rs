//! Flink's spellings of the options of `run`, rewritten before clap sees them: Flink has short
//! options of several letters (`-py f`) and long ones in camel case, and everything after the
//! program belongs to the program.

use std::ffi::{OsStr, OsString};

/// Flink's spellings and ours. The second group is what Flink itself calls deprecated.
const SPELLINGS: &[(&str, &str)] = &[
    ("-cm", "--claim-mode"),
    ("-sae", "--shutdown-on-attached-exit"),
    ("-py", "--python"),
    ("-pyarch", "--py-archives"),
    ("-pyclientexec", "--py-client-executable"),
    ("-pyexec", "--py-executable"),
    ("-pyfs", "--py-files"),
    ("-pym", "--py-module"),
    ("-pypath", "--py-python-path"),
    ("-pyreq", "--py-requirements"),
    ("--allowNonRestoredState", "--allow-non-restored-state"),
    ("--fromSavepoint", "--from-savepoint"),
    ("--claimMode", "--claim-mode"),
    ("--shutdownOnAttachedExit", "--shutdown-on-attached-exit"),
    ("--pyArchives", "--py-archives"),
    ("--pyClientExecutable", "--py-client-executable"),
    ("--pyExecutable", "--py-executable"),
    ("--pyFiles", "--py-files"),
    ("--pyModule", "--py-module"),
    ("--pyPythonPath", "--py-python-path"),
    ("--pyRequirements", "--py-requirements"),
    ("-e", "--target"),
    ("--executor", "--target"),
    ("-rm", "--claim-mode"),
    ("--restoreMode", "--claim-mode"),
    ("-m", "--jobmanager"),
    ("-z", "--zookeeper-namespace"),
    ("--zookeeperNamespace", "--zookeeper-namespace"),
];

/// The command line of `run`, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rewritten {
    /// The arguments for clap: our options in our spelling, then `--`, the program and its
    /// arguments.
    pub(crate) arguments: Vec<OsString>,
    /// The options of ours that stand after the program and therefore go to main().
    pub(crate) left_to_main: Vec<String>,
}

/// Rewrites the words that follow the verb `run`. `command` tells which of our options take a
/// value. With a program from a file (`-f`) the command line may name none; even then the first
/// word that is no option counts as the program.
pub(crate) fn rewrite(
    command: &clap::Command,
    arguments: impl IntoIterator<Item = OsString>,
) -> Rewritten {
    let mut ours = Vec::new();
    let mut arguments = arguments.into_iter();
    let mut rest = Vec::new();
    while let Some(argument) = arguments.next() {
        let Some(text) = argument.to_str().filter(|text| text.starts_with('-') && *text != "-")
        else {
            rest.push(argument);
            break;
        };
        if text == "--" {
            break;
        }
        let (name, attached) =
            match text.split_once('=').filter(|_| text.starts_with("--") || known(text)) {
                Some((name, value)) => (name, Some(value)),
                None => (text, None),
            };
        let name =
            SPELLINGS.iter().find(|(flink, _)| *flink == name).map_or(name, |(_, ours)| ours);
        match attached {
            Some(value) => ours.push(format!("{name}={value}").into()),
            None => ours.push(name.into()),
        }
        if attached.is_none() && takes_value(command, name) {
            ours.extend(arguments.next());
        }
    }
    rest.extend(arguments);
    let left_to_main =
        rest.iter().skip(1).filter_map(|argument| option_of_ours(command, argument)).collect();
    if !rest.is_empty() {
        ours.push("--".into());
        ours.append(&mut rest);
    }
    Rewritten { arguments: ours, left_to_main }
}

/// The position of the verb in a command line whose first word is the program, because options of
/// every verb may come before the verb.
pub(crate) fn verb_position(command: &clap::Command, arguments: &[OsString]) -> Option<usize> {
    let mut at = 1;
    while let Some(word) = arguments.get(at) {
        let text = word.to_str()?;
        if !text.starts_with('-') {
            return Some(at);
        }
        at += if !text.contains('=') && takes_value(command, text) { 2 } else { 1 };
    }
    None
}

/// Whether the word is one of Flink's spellings with an equals sign, such as `-py=file`
/// (`-Dkey=value` is none).
fn known(text: &str) -> bool {
    text.split_once('=').is_some_and(|(name, _)| SPELLINGS.iter().any(|(flink, _)| *flink == name))
}

/// Whether the option (`--name`, `-n`, `-abc`) takes the following word as its value.
fn takes_value(command: &clap::Command, option: &str) -> bool {
    let with_value = |argument: &clap::Arg| argument.get_action().takes_values();
    if let Some(long) = option.strip_prefix("--") {
        return find_long(command, long).is_some_and(with_value);
    }
    // Of several short options in one word, the first that takes a value takes the rest of the
    // word, or the next word.
    let letters: Vec<char> = option.chars().skip(1).collect();
    for (at, letter) in letters.iter().enumerate() {
        if let Some(argument) = command.get_arguments().find(|a| a.get_short() == Some(*letter))
            && with_value(argument)
        {
            return at + 1 == letters.len();
        }
    }
    false
}

fn find_long<'a>(command: &'a clap::Command, long: &str) -> Option<&'a clap::Arg> {
    command.get_arguments().find(|argument| {
        argument.get_long() == Some(long)
            || argument.get_all_aliases().is_some_and(|all| all.contains(&long))
    })
}

fn option_of_ours(command: &clap::Command, argument: &OsStr) -> Option<String> {
    let text = argument.to_str()?;
    let name = text.split_once('=').map_or(text, |(name, _)| name);
    let long = name.strip_prefix("--").filter(|long| !long.is_empty())?;
    (find_long(command, long).is_some() || SPELLINGS.iter().any(|(flink, _)| *flink == name))
        .then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::args::Cli;

    fn rewritten(line: &str) -> (String, Vec<String>) {
        let mut command = Cli::command();
        command.build();
        let run = command.find_subcommand("run-application").expect("the verb is there");
        let done = rewrite(run, line.split_whitespace().map(OsString::from));
        let words: Vec<_> =
            done.arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        (words.join(" "), done.left_to_main)
    }

    #[test]
    fn every_flink_spelling_becomes_ours() {
        for (flink, ours) in [
            ("-py job.py", "--python job.py"),
            ("-pyfs a.py,b.py -pym main", "--py-files a.py,b.py --py-module main"),
            (
                "-pyexec python3 -pyclientexec python3",
                "--py-executable python3 --py-client-executable python3",
            ),
            (
                "-pyarch v.zip -pyreq r.txt -pypath /p",
                "--py-archives v.zip --py-requirements r.txt --py-python-path /p",
            ),
            ("-cm CLAIM -s /sp -n x.jar", "--claim-mode CLAIM -s /sp -n -- x.jar"),
            ("-rm CLAIM x.jar", "--claim-mode CLAIM -- x.jar"),
            ("-sae -d x.jar", "--shutdown-on-attached-exit -d -- x.jar"),
            (
                "--fromSavepoint=/sp --allowNonRestoredState x.jar",
                "--from-savepoint=/sp --allow-non-restored-state -- x.jar",
            ),
            ("--pyFiles=a.py --pyModule m", "--py-files=a.py --py-module m"),
            ("-e local x.jar", "--target local -- x.jar"),
            ("-py=job.py", "--python=job.py"),
            ("-Dkey=value -D a=b x.jar", "-Dkey=value -D a=b -- x.jar"),
            ("-c org.Main -p 4 x.jar", "-c org.Main -p 4 -- x.jar"),
            ("-dp 4 x.jar", "-dp 4 -- x.jar"),
            ("-p4 x.jar", "-p4 -- x.jar"),
        ] {
            assert_eq!(rewritten(flink), (ours.to_owned(), vec![]), "{flink}");
        }
    }

    #[test]
    fn what_follows_the_program_is_mains_and_noted_if_it_is_an_option_of_ours() {
        assert_eq!(
            rewritten("-t local ./delays --year 2013 --output out -py x -- y"),
            (
                "-t local -- ./delays --year 2013 --output out -py x -- y".to_owned(),
                vec!["--output".to_owned()]
            )
        );
        assert_eq!(rewritten("x.sql --deadline=5m").1, ["--deadline"]);
    }

    #[test]
    fn values_are_not_taken_for_the_program() {
        assert_eq!(rewritten("--output out -l team=a x.sql").0, "--output out -l team=a -- x.sql");
        assert_eq!(rewritten("--state-dir /s x.sql").0, "--state-dir /s -- x.sql");
        assert_eq!(rewritten("-f app.yaml").0, "-f app.yaml");
        assert_eq!(rewritten("-- -odd.sql a").0, "-- -odd.sql a");
    }
}
