//! Why something could not be done, for people and for tools.

use proto::Reason;

/// Why something could not be done: a stable reason and a sentence that names the thing, the value and the way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// `None` only where there is nothing to explain.
    pub reason: Option<Reason>,
    /// For people.
    pub message: String,
}

impl Failure {
    /// A failure with its reason.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason: Some(reason), message: message.into() }
    }

    /// Nothing to explain: a success.
    pub fn none() -> Self {
        Self { reason: None, message: String::new() }
    }
}
