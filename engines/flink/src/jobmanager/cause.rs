//! Finds what happened in what a JVM says about it.

use serde::Deserialize;

/// The root cause in an answer of the JobManager. Flink answers errors as a list of texts, of which
/// one is a whole stack, whose last cause says what happened.
pub(super) fn root_cause(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Errors {
        #[serde(default)]
        errors: Vec<String>,
    }
    let Ok(Errors { errors }) = serde_json::from_slice(body) else {
        return String::from_utf8_lossy(body).into_owned();
    };
    match cause_of(&errors.join("\n")) {
        cause if cause.is_empty() => "no reason given".to_owned(),
        cause => cause,
    }
}

/// The last cause in a Java stack; of a text without a cause its first line.
pub(super) fn cause_of(stack: &str) -> String {
    let cause =
        stack.lines().filter_map(|line| line.trim().strip_prefix("Caused by: ")).next_back();
    cause.or_else(|| stack.lines().next()).unwrap_or_default().trim().to_owned()
}

/// Why something failed: a Java exception.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct FailureCause {
    #[serde(default)]
    class: String,
    #[serde(default)]
    stack_trace: String,
}

impl FailureCause {
    /// The root cause; where no text tells it, the exception's class.
    pub(super) fn root(self) -> String {
        let cause = cause_of(&self.stack_trace);
        if cause.is_empty() { self.class } else { cause }
    }
}

/// What a job's failures were, the latest one first.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Exceptions {
    exception_history: History,
}

#[derive(Deserialize)]
struct History {
    #[serde(default)]
    entries: Vec<Exception>,
}

#[derive(Deserialize)]
struct Exception {
    #[serde(default)]
    stacktrace: String,
}

impl Exceptions {
    /// The root cause of the latest failure; `None` where there was none, or none that says
    /// anything.
    pub(super) fn latest(self) -> Option<String> {
        let latest = self.exception_history.entries.into_iter().next()?;
        Some(cause_of(&latest.stacktrace)).filter(|cause| !cause.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_cause_is_the_last_one() {
        let body = serde_json::json!({"errors": ["Internal server error.",
            "<Exception on server side:\nA: outer\n\tat x\nCaused by: B: middle\n\tat y\nCaused by: C: no such class\n\tat z"]});
        assert_eq!(root_cause(body.to_string().as_bytes()), "C: no such class");
        assert_eq!(root_cause(br#"{"errors":["Job not found"]}"#), "Job not found");
        assert_eq!(root_cause(b"<html>"), "<html>");
    }
}
