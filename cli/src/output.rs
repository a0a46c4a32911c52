//! The two ways out of the process: answers go to stdout, everything else that is said goes to
//! stderr. A reader that has gone away is no error.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::Failure;

/// The shape of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// For people with wide terminals.
    Wide,
    /// Names only, one a line.
    Name,
    /// One JSON document: the proto3 mapping with defaults, 64-bit numbers as strings.
    Json,
    /// One JSON document a line.
    Jsonl,
    /// The same as JSON, in YAML.
    Yaml,
}

impl Format {
    /// Whether programs read the answer, so that errors are JSON too.
    pub(crate) fn is_json(self) -> bool {
        matches!(self, Self::Json | Self::Jsonl)
    }

    /// Whether people read the answer.
    pub(crate) fn is_table(self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How much is told while something runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Verbosity {
    /// Every transition.
    #[default]
    Auto,
    /// Every transition, nothing that depends on a terminal.
    Plain,
    /// Only the end.
    None,
}

/// The styles of words on stderr and in tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Bold,
    Dim,
    Good,
    Bad,
    Warn,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Good => "32",
            Self::Bad => "1;31",
            Self::Warn => "33",
        }
    }
}

/// The stdout and stderr of one command.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) format: Format,
    pub(crate) progress: Verbosity,
    quiet: bool,
    color_talk: bool,
    color_answer: bool,
    /// The context that the command talks to.
    context: Option<String>,
    closed: AtomicBool,
    #[cfg(test)]
    passed_on: std::sync::Mutex<Vec<u8>>,
}

impl Output {
    /// The output in the manner that the options ask for.
    pub(crate) fn new(format: Format, color: Color, progress: Verbosity, quiet: bool) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let colored = |terminal: bool| match color {
            Color::Auto => terminal && !plain,
            Color::Always => true,
            Color::Never => false,
        };
        Self {
            format,
            progress: if quiet { Verbosity::None } else { progress },
            quiet,
            color_talk: colored(io::stderr().is_terminal()),
            color_answer: colored(io::stdout().is_terminal()),
            context: None,
            closed: AtomicBool::new(false),
            #[cfg(test)]
            passed_on: std::sync::Mutex::default(),
        }
    }

    /// The same output of a command that talks to a context.
    #[must_use]
    pub(crate) fn about(self, context: Option<&str>) -> Self {
        Self { context: context.map(str::to_owned), ..self }
    }

    /// Writes to stdout, as it is.
    pub(crate) fn answer(&self, text: impl AsRef<[u8]>) {
        if self.is_closed() {
            return;
        }
        let mut stdout = io::stdout().lock();
        if stdout.write_all(text.as_ref()).and_then(|()| stdout.flush()).is_err() {
            // The reader has gone. The command still does its work, and says nothing of it on
            // stdout any more.
            self.closed.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the reader of stdout has gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Writes bytes of main()'s stderr to stderr, even with `-q`.
    pub(crate) fn pass_on(&self, bytes: &[u8]) {
        #[cfg(test)]
        self.passed_on.lock().expect("no test panics here").extend_from_slice(bytes);
        // A stderr without a reader takes nothing away from the command.
        let _ = io::stderr().lock().write_all(bytes);
    }

    /// Everything that went to stderr.
    #[cfg(test)]
    pub(crate) fn passed_on(&self) -> String {
        String::from_utf8_lossy(&self.passed_on.lock().expect("no test panics here")).into_owned()
    }

    /// Writes a line for people to stderr, unless `-q` was given.
    pub(crate) fn talk(&self, line: impl AsRef<str>) {
        if !self.quiet {
            self.pass_on(format!("{}\n", line.as_ref()).as_bytes());
        }
    }

    /// Writes a line about progress to stderr, unless the options turn progress off.
    pub(crate) fn tell(&self, line: impl AsRef<str>) {
        if self.progress != Verbosity::None {
            self.talk(line);
        }
    }

    /// Writes an error to stderr, in every case.
    pub(crate) fn fail(&self, failure: &Failure) {
        let met = self.context.as_deref().map(|context| failure.clone().met_in(context));
        let failure = met.as_ref().unwrap_or(failure);
        let text = if self.format.is_json() {
            format!("{}\n", failure.to_json())
        } else {
            failure.render(|word| self.paint(Style::Bad, word))
        };
        self.pass_on(text.as_bytes());
    }

    /// Colours a word that goes to stderr.
    pub(crate) fn paint(&self, style: Style, word: &str) -> String {
        paint(self.color_talk, style, word)
    }

    /// Colours a word that goes to stdout.
    pub(crate) fn paint_answer(&self, style: Style, word: &str) -> String {
        paint(self.color_answer, style, word)
    }
}

fn paint(colored: bool, style: Style, word: &str) -> String {
    if colored { format!("\x1b[{}m{word}\x1b[0m", style.code()) } else { word.to_owned() }
}
