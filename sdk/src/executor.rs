//! The place where a program's jobs run: the runner that started the program, or the program
//! itself.

mod by_hand;
mod runner;

use async_trait::async_trait;
use bytes::Bytes;
use client::error::CallError;
use client::execution::{Accepted, ExecuteCall, JobEnd};
use proto::{JobId, Reason};

pub(crate) use by_hand::ByHand;
pub(crate) use runner::Runner;

/// Where `execute()`, its rows and `once` values go.
///
/// The environment calls the executor for everything that a later execution of main() has to find
/// again. There are two: [`Runner`] speaks to the runner of this process, and [`ByHand`] is this
/// process itself. A program cannot tell them apart but by
/// [`is_by_hand`](crate::Environment::is_by_hand).
///
/// Laws: within one execution of main() a job name is taken once; a job that was accepted goes on
/// when its caller has left; `journal_put` never replaces a value and answers the one that stands.
#[async_trait]
pub(crate) trait Executor: Send + Sync {
    /// Runs a job to its end, and answers the end, also one that is not a success.
    async fn execute(&self, call: ExecuteCall) -> Result<Ended, Refusal>;

    /// The rows of an ended job, as an Arrow IPC stream.
    async fn rows(&self, job: JobId) -> Result<Bytes, Refusal>;

    /// The value under a `once` key.
    async fn journal_get(&self, key: &str) -> Result<Option<Bytes>, Refusal>;

    /// Keeps a value if there is none, and answers the value that stands.
    async fn journal_put(&self, key: &str, value: Bytes) -> Result<Bytes, Refusal>;

    /// Ends the jobs that main() did not wait for: they are awaited when main() did well, and
    /// cancelled otherwise. Answers the first of them that did not succeed.
    async fn finish(&self, main_succeeded: bool) -> Option<Ended>;
}

/// A job's acceptance and its end.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) accepted: Accepted,
    pub(crate) end: JobEnd,
}

/// A call that was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: Option<Reason>,
    pub(crate) message: String,
}

impl Refusal {
    fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason: Some(reason), message: message.into() }
    }
}

impl From<CallError> for Refusal {
    fn from(error: CallError) -> Self {
        Self { reason: error.reason(), message: error.message().to_owned() }
    }
}
