//! Why something could not be done, for people and for tools.

use proto::Reason;

/// Why something could not be done: a stable reason and a sentence that names the thing, the value
/// and the way out. In the record a failure is the reason of a job's end, of a savepoint that was
/// not taken, or of the application's end.
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
