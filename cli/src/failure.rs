//! What a verb could not do, as the user sees it: `error[REASON]: …`, the thing, the value,
//! `help:`; or the same as JSON.

mod elsewhere;

use std::fmt::Write as _;
use std::ops::{Deref, DerefMut};

use client::error::CallError;
use proto::{Code, Problem, Reason};

use crate::exit::Exit;

/// The result of a verb or of a part of it.
pub(crate) type OrFailure<T> = Result<T, Failure>;

/// An error for people and for scripts. The error is one pointer wide, because most results are no
/// failures; what it says is in [`Particulars`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure(Box<Particulars>);

/// What an error says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Particulars {
    pub(crate) exit: Exit,
    /// The stable word; empty if no stable word fits the error.
    pub(crate) reason: String,
    pub(crate) message: String,
    /// Further lines: quotations and lists.
    pub(crate) details: Vec<String>,
    pub(crate) help: Vec<String>,
    /// The paths in the request that are wrong, each with what is wrong there.
    pub(crate) fields: Vec<(String, String)>,
    /// Facts for programs, which only the JSON shows.
    pub(crate) metadata: Vec<(String, String)>,
}

impl Failure {
    /// A failure with a reason and its usual way out.
    pub(crate) fn new(exit: Exit, reason: Reason, message: impl Into<String>) -> Self {
        Self::from(Particulars {
            exit,
            reason: reason.as_str().to_owned(),
            message: message.into(),
            details: Vec::new(),
            help: vec![reason.remedy().to_owned()],
            fields: Vec::new(),
            metadata: Vec::new(),
        })
    }

    /// A failure of a command line that cannot work.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::USAGE, Reason::RequestInvalid, message)
    }

    /// A failure of something on this machine that should have worked.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        let mut failure = Self::new(Exit::INTERNAL, Reason::Internal, message);
        failure.help.clear();
        failure
    }

    /// A failure of the state directory, or of something in it, which `error` names.
    pub(crate) fn of_state(error: impl std::fmt::Display) -> Self {
        let text = format!("the state directory cannot be used: {error}");
        Self::new(Exit::UNREACHABLE, Reason::HostNotReachable, text)
            .help("make it yours and writable, with room on its disk, or choose another one with --state-dir")
    }

    /// Replaces the usual way out by a better one.
    #[must_use]
    pub(crate) fn help(mut self, text: impl Into<String>) -> Self {
        self.help = vec![text.into()];
        self
    }

    /// Adds a line of detail.
    #[must_use]
    pub(crate) fn detail(mut self, line: impl Into<String>) -> Self {
        self.details.push(line.into());
        self
    }

    /// Says that the outcome of a change is unknown if its answer was lost, and that `command`
    /// finds it out.
    #[must_use]
    pub(crate) fn unknown_unless_refused(mut self, error: &CallError, command: &str) -> Self {
        if error.may_have_happened() {
            self.exit = Exit::UNKNOWN;
            self.help = vec![format!("the change may have been made; find out with: {command}")];
        }
        self
    }

    /// The lines for a terminal; `paint` colours the word `error[…]`.
    pub(crate) fn render(&self, paint: impl Fn(&str) -> String) -> String {
        let word = if self.reason.is_empty() {
            "error".to_owned()
        } else {
            format!("error[{}]", self.reason)
        };
        let mut text =
            format!("{}: {}\n", paint(&word), self.message.trim_end().replace('\n', "\n  | "));
        for (path, message) in
            self.fields.iter().filter(|(path, message)| !self.says(path, message))
        {
            let _ = writeln!(text, "  | {path}: {message}");
        }
        for line in &self.details {
            let _ = writeln!(text, "  {line}");
        }
        for help in &self.help {
            let _ = writeln!(text, "  help: {help}");
        }
        text
    }

    /// The failure as one JSON document on one line.
    pub(crate) fn to_json(&self) -> String {
        let object = |pairs: &[(String, String)]| -> serde_json::Map<String, serde_json::Value> {
            pairs.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect()
        };
        let fields: Vec<_> = self
            .fields
            .iter()
            .map(|(path, message)| serde_json::json!({ "path": path, "message": message }))
            .collect();
        serde_json::json!({ "error": {
            "reason": self.reason,
            "message": self.message,
            "details": self.details,
            "fields": fields,
            "help": self.help,
            "metadata": object(&self.metadata),
            "exitCode": self.exit.code(),
        }})
        .to_string()
    }

    /// Whether the message already says what is wrong with this field.
    fn says(&self, path: &str, message: &str) -> bool {
        self.message.contains(path) && self.message.contains(message)
    }
}

impl From<Particulars> for Failure {
    fn from(particulars: Particulars) -> Self {
        Self(Box::new(particulars))
    }
}

impl Deref for Failure {
    type Target = Particulars;

    fn deref(&self) -> &Particulars {
        &self.0
    }
}

impl DerefMut for Failure {
    fn deref_mut(&mut self) -> &mut Particulars {
        &mut self.0
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let problem = Problem::from_status(error.status());
        let exit = match (problem.reason, problem.code) {
            (Some(Reason::WaitTimedOut), _) => Exit::WAIT_TIMED_OUT,
            (_, Code::InvalidArgument | Code::OutOfRange) => Exit::USAGE,
            (_, Code::NotFound) => Exit::NOT_FOUND,
            (_, Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted) => Exit::REFUSED,
            (_, Code::PermissionDenied | Code::Unauthenticated | Code::ResourceExhausted) => {
                Exit::REFUSED
            }
            // A damaged disk is no defect of mainspring.
            (Some(Reason::DataCorrupt), _) => Exit::REFUSED,
            (_, Code::Unavailable | Code::DeadlineExceeded | Code::Unknown | Code::Cancelled) => {
                Exit::UNREACHABLE
            }
            _ => Exit::INTERNAL,
        };
        let unreachable = problem.reason.is_none() && exit == Exit::UNREACHABLE;
        let reason = problem.reason.or(unreachable.then_some(Reason::HostNotReachable));
        let mut help: Vec<String> = problem
            .help
            .iter()
            .map(|help| {
                if help.url.is_empty() {
                    help.text.clone()
                } else {
                    format!("{} ({})", help.text, help.url)
                }
            })
            .collect();
        if help.is_empty() {
            help.extend(reason.map(|reason| reason.remedy().to_owned()));
        }
        Self::from(Particulars {
            exit,
            reason: reason.map_or(problem.reason_word, |reason| reason.as_str().to_owned()),
            message: problem.message,
            details: Vec::new(),
            help,
            fields: problem.fields.into_iter().map(|field| (field.path, field.message)).collect(),
            metadata: problem.metadata.into_iter().collect(),
        })
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::internal(error.to_string())
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::internal(format!("{error:#}"))
    }
}

#[cfg(test)]
mod tests;
