//! Why something could not be done, for people and for tools.

use proto::Reason;

/// Why something could not be done: a stable reason and a sentence that names the thing, the value
/// and the way out. A failure becomes the reason of a job's or an application's end in the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The stable reason; `None` only where there is nothing to explain.
    pub reason: Option<Reason>,
    /// The sentence, for people.
    pub message: String,
}

impl Failure {
    /// A failure with its reason.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason: Some(reason), message: message.into() }
    }

    /// The failure of a success, which has nothing to explain.
    pub fn none() -> Self {
        Self { reason: None, message: String::new() }
    }
}
