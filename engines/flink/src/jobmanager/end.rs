//! How a job ended, from the JobManager's answer about its execution.

use bytes::Bytes;
use serde::Deserialize;

use super::cause::FailureCause;

/// How a job ended, in Flink's words.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `SUCCEEDED`, `FAILED`, `CANCELED` or `UNKNOWN`.
    pub(crate) status: String,
    /// How long it ran, in milliseconds.
    pub(crate) net_runtime: u64,
    /// The root cause of a failure.
    pub(crate) cause: String,
    /// The whole answer, for Flink's own client.
    pub(crate) answer: Bytes,
}

/// The answer to the question for a job's end.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct ExecutionResult {
    job_execution_result: Option<JobExecutionResult>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct JobExecutionResult {
    application_status: String,
    #[serde(default)]
    net_runtime: u64,
    failure_cause: Option<FailureCause>,
}

impl ExecutionResult {
    /// The end, with the whole answer that tells it; `None` while the job runs.
    pub(super) fn ended(self, answer: Bytes) -> Option<Ended> {
        let JobExecutionResult { application_status, net_runtime, failure_cause } =
            self.job_execution_result?;
        Some(Ended {
            status: application_status,
            net_runtime,
            cause: failure_cause.map_or_else(String::new, FailureCause::root),
            answer,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(answer: Value) -> Option<Ended> {
        serde_json::from_value::<ExecutionResult>(answer).unwrap().ended(Bytes::new())
    }

    #[test]
    fn an_end_is_told_with_its_root_cause() {
        let failed = json!({"status": {"id": "COMPLETED"}, "job-execution-result": {"id": "a",
            "application-status": "FAILED", "accumulator-results": {}, "net-runtime": 12,
            "failure-cause": {"class": "X", "stack-trace": "X: outer\n\tat y\nCaused by: Y: inner\n\tat z\n"}}});
        let end = read(failed).unwrap();
        assert_eq!((end.status.as_str(), end.net_runtime), ("FAILED", 12));
        assert_eq!(end.cause, "Y: inner");
        assert!(read(json!({"status": {"id": "IN_PROGRESS"}})).is_none());
    }
}
