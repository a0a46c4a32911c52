//! Which host a command is about, as the command line and the environment say it.

use clap::parser::ValueSource;

use crate::failure::{Failure, OrFailure};

/// The name that always stands for this machine's host, and that no context has.
pub(crate) const LOCAL: &str = "local";

/// Where a value was given; a later one stands above an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Origin {
    #[default]
    Nowhere,
    Environment,
    CommandLine,
}

impl From<Option<ValueSource>> for Origin {
    fn from(source: Option<ValueSource>) -> Self {
        match source {
            Some(ValueSource::CommandLine) => Self::CommandLine,
            Some(ValueSource::EnvVariable) => Self::Environment,
            _ => Self::Nowhere,
        }
    }
}

/// What was said about the host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Asked {
    /// The name of a context, from `--context` or `MAINSPRING_CONTEXT`.
    pub(crate) context: Option<String>,
    /// Where a state directory was named.
    pub(crate) state_dir: Origin,
}

/// The host that is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice {
    /// The host of this machine, with no look at the file of contexts.
    Local,
    /// The context of this name.
    Named(String),
    /// What the file of contexts says is current, and without one the host of this machine.
    Current,
}

/// Chooses: a named context stands above a state directory, and both stand above the file.
///
/// A state directory on the command line beside a named context is refused also where only the
/// environment names the context, because a command that was typed for one host must not reach
/// another one.
pub(crate) fn choose(asked: &Asked) -> OrFailure<Choice> {
    let named = asked.context.as_deref().filter(|name| !name.is_empty());
    match (named, asked.state_dir) {
        (Some(LOCAL), _) => Ok(Choice::Local),
        (Some(name), Origin::CommandLine) => {
            let text = format!(
                "--state-dir is about a host of this machine, and context {name} is about others"
            );
            Err(Failure::usage(text).help(format!(
                "leave --state-dir out; or say --context {LOCAL}, and MAINSPRING_CONTEXT does not count"
            )))
        }
        (Some(name), _) => Ok(Choice::Named(name.to_owned())),
        (None, Origin::Nowhere) => Ok(Choice::Current),
        (None, _) => Ok(Choice::Local),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(context: Option<&str>, state_dir: Origin) -> Option<Choice> {
        choose(&Asked { context: context.map(str::to_owned), state_dir }).ok()
    }

    #[test]
    fn a_named_context_stands_above_a_state_directory_and_both_above_the_file() {
        let prod = || Some(Choice::Named("prod".to_owned()));
        for (context, state_dir, expected) in [
            (None, Origin::Nowhere, Some(Choice::Current)),
            (Some(""), Origin::Nowhere, Some(Choice::Current)),
            (None, Origin::Environment, Some(Choice::Local)),
            (None, Origin::CommandLine, Some(Choice::Local)),
            (Some("prod"), Origin::Nowhere, prod()),
            (Some("prod"), Origin::Environment, prod()),
            (Some("prod"), Origin::CommandLine, None),
            (Some(LOCAL), Origin::Nowhere, Some(Choice::Local)),
            (Some(LOCAL), Origin::CommandLine, Some(Choice::Local)),
        ] {
            assert_eq!(chosen(context, state_dir), expected, "{context:?} {state_dir:?}");
        }
    }

    #[test]
    fn a_contradiction_names_both_and_the_way_out() {
        let asked = Asked { context: Some("prod".into()), state_dir: Origin::CommandLine };
        let refused = choose(&asked).expect_err("they contradict each other");
        assert_eq!(refused.exit, crate::exit::Exit::USAGE);
        assert!(refused.message.contains("--state-dir"), "{}", refused.message);
        assert!(refused.message.contains("context prod"), "{}", refused.message);
        assert!(refused.help[0].contains("--context local"), "{:?}", refused.help);
    }
}
