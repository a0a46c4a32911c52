//! What a refused call says, on the wire and back: a code, a stable reason, and the details that
//! `google.rpc` has messages for. Every service's `From<Error> for Status` builds a [`Problem`],
//! and every client reads one.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::Reason;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// The domain of every reason of mainspring in `google.rpc.ErrorInfo`.
pub const ERROR_DOMAIN: &str = "mainspring";

/// The longest message, in bytes. A message travels in a header, and headers have a bound, so a
/// longer message is cut.
const MAX_MESSAGE_BYTES: usize = 4 * 1024;

/// When a caller tries again, where the reason alone allows another try.
const SOON: Duration = Duration::from_millis(200);

/// A refusal or failure in the caller's terms.
///
/// A service fills a problem in where its own error becomes a status, and a client gets the same
/// facts back with [`from_status`](Self::from_status). The code and the reason are for programs,
/// message and help for people.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// The gRPC code, which says what a caller does about the problem.
    pub code: Code,
    /// The stable reason; `None` if the peer gave none, or one that this build does not know.
    pub reason: Option<Reason>,
    /// The word of the reason as it came, also of a reason that this build does not know; empty if
    /// there was none.
    pub reason_word: String,
    /// A sentence for people that names the thing and the value.
    pub message: String,
    /// Facts for programs, such as `application_id` or `epoch`.
    pub metadata: BTreeMap<String, String>,
    /// Ways out: a sentence and, where there is one, an address.
    pub help: Vec<Help>,
    /// What is wrong with the request, by the path of the field.
    pub fields: Vec<Field>,
    /// When trying again makes sense.
    pub retry_after: Option<Duration>,
}

/// A way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Help {
    /// What to do.
    pub text: String,
    /// Where to read more; may be empty.
    pub url: String,
}

/// What is wrong with one field of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The field's path, such as `spec.artifacts[0].uri`.
    pub path: String,
    /// What is wrong with its value.
    pub message: String,
}

impl Problem {
    /// A problem with nothing but its reason, the code that goes with it, and a message.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            code: reason.code(),
            reason: Some(reason),
            reason_word: reason.as_str().to_owned(),
            message: message.into(),
            metadata: BTreeMap::new(),
            help: Vec::new(),
            fields: Vec::new(),
            retry_after: reason.is_retryable().then_some(SOON),
        }
    }

    /// Adds a fact for programs.
    #[must_use]
    pub fn metadata(mut self, key: impl Into<String>, value: impl ToString) -> Self {
        self.metadata.insert(key.into(), value.to_string());
        self
    }

    /// Adds a way out: what to do, without an address.
    #[must_use]
    pub fn help(self, text: impl Into<String>) -> Self {
        self.help_link(text, "")
    }

    /// Adds a way out with an address to read.
    #[must_use]
    pub fn help_link(mut self, text: impl Into<String>, url: impl Into<String>) -> Self {
        self.help.push(Help { text: text.into(), url: url.into() });
        self
    }

    /// Adds what is wrong with one field, named by its path.
    #[must_use]
    pub fn field(mut self, path: impl Into<String>, message: impl Into<String>) -> Self {
        self.fields.push(Field { path: path.into(), message: message.into() });
        self
    }

    /// Says when trying again makes sense, where that is not soon, or where the reason alone does
    /// not allow it.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// The status that carries the whole problem.
    pub fn into_status(self) -> Status {
        let mut details = ErrorDetails::new();
        if !self.reason_word.is_empty() {
            details.set_error_info(
                &self.reason_word,
                ERROR_DOMAIN,
                self.metadata.into_iter().collect::<HashMap<_, _>>(),
            );
        }
        if let Some(delay) = self.retry_after {
            details.set_retry_info(Some(delay));
        }
        for field in self.fields {
            details.add_bad_request_violation(field.path, field.message);
        }
        for help in self.help {
            details.add_help_link(help.text, help.url);
        }
        Status::with_error_details(self.code, cut(self.message), details)
    }

    /// Reads what a peer sent. A status without details gives a problem without a reason.
    pub fn from_status(status: &Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info().filter(|info| info.domain == ERROR_DOMAIN);
        Self {
            code: status.code(),
            reason: info.and_then(|info| info.reason.parse().ok()),
            reason_word: info.map(|info| info.reason.clone()).unwrap_or_default(),
            message: status.message().to_owned(),
            metadata: info
                .map(|info| info.metadata.clone().into_iter().collect())
                .unwrap_or_default(),
            help: details.help().map_or_else(Vec::new, |help| {
                let way_out = |link: &tonic_types::HelpLink| Help {
                    text: link.description.clone(),
                    url: link.url.clone(),
                };
                help.links.iter().map(way_out).collect()
            }),
            fields: details.bad_request().map_or_else(Vec::new, |bad| {
                let field = |v: &tonic_types::FieldViolation| Field {
                    path: v.field.clone(),
                    message: v.description.clone(),
                };
                bad.field_violations.iter().map(field).collect()
            }),
            retry_after: details.retry_info().and_then(|retry| retry.retry_delay),
        }
    }
}

impl From<Problem> for Status {
    fn from(problem: Problem) -> Self {
        problem.into_status()
    }
}

/// The reason in a status, if it has one that this build knows.
pub fn reason(status: &Status) -> Option<Reason> {
    Problem::from_status(status).reason
}

fn cut(mut message: String) -> String {
    if message.len() > MAX_MESSAGE_BYTES {
        let end =
            (0..=MAX_MESSAGE_BYTES).rev().find(|&at| message.is_char_boundary(at)).unwrap_or(0);
        message.truncate(end);
        message.push('…');
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_a_problem_says_survives_the_wire() {
        let problem = Problem::new(Reason::SpecInvalid, "spec.deadline: 90 has no unit")
            .metadata("application_id", "orders")
            .metadata("generation", 4)
            .help("write 90s")
            .help_link("durations", "docs/cli.md")
            .field("spec.deadline", "90 has no unit")
            .retry_after(Duration::from_millis(1500));
        let status = problem.clone().into_status();
        let mut headers = http::HeaderMap::new();
        status.add_header(&mut headers).expect("a header");
        let back = Status::from_header_map(&headers).expect("a status");
        assert_eq!(Problem::from_status(&back), problem);
        assert_eq!(reason(&back), Some(Reason::SpecInvalid));
    }

    #[test]
    fn a_reason_of_a_newer_peer_is_kept_as_a_word() {
        let mut newer = Problem::new(Reason::Internal, "?");
        newer.reason_word = "FROM_THE_FUTURE".into();
        let back = Problem::from_status(&newer.into_status());
        assert_eq!((back.reason, back.reason_word.as_str()), (None, "FROM_THE_FUTURE"));
    }

    #[test]
    fn a_status_of_somebody_else_has_no_reason() {
        let bare = Problem::from_status(&Status::unavailable("gone"));
        assert_eq!(
            (bare.code, bare.reason, bare.message.as_str()),
            (Code::Unavailable, None, "gone")
        );
        let mut details = ErrorDetails::new();
        details.set_error_info("INTERNAL", "example.com", HashMap::<String, String>::new());
        let foreign = Status::with_error_details(Code::Internal, "x", details);
        assert_eq!(reason(&foreign), None);
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let status = Problem::new(Reason::Internal, "é".repeat(5000)).into_status();
        assert!(status.message().len() <= MAX_MESSAGE_BYTES + '…'.len_utf8());
        assert!(status.message().ends_with("é…"));
    }
}
