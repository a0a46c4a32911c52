//! What Flink tells its client of a job that has ended: how it ended, and the values of
//! accumulators, each a Java object. The answer is kept with the job's end and handed to the client
//! of each main() that asks. People are shown it where something in it is meant for them.

use std::collections::BTreeMap;

use proto::job::ResultKind;
use serde::Deserialize;

/// The accumulators by which rows travel to `collect()` and `print()`: how far the rows have come,
/// and the last of them. main() has had those rows already.
const OF_COLLECT: [&str; 2] = ["dataStreamCollect_", "*anonymous_collect$"];

/// The answer to `GET /jobs/ID/execution-result`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Answer {
    job_execution_result: Ended,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Ended {
    #[serde(default)]
    accumulator_results: BTreeMap<String, serde::de::IgnoredAny>,
}

impl Answer {
    /// Reads as much of the answer as is needed here.
    pub(crate) fn read(answer: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(answer)
    }

    /// Whether anything in the answer is for people.
    pub(crate) fn kind(&self) -> ResultKind {
        let is_flinks_own =
            |name: &String| OF_COLLECT.iter().any(|prefix| name.starts_with(prefix));
        if self.job_execution_result.accumulator_results.keys().all(is_flinks_own) {
            ResultKind::Answer
        } else {
            ResultKind::Values
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(accumulators: &str) -> ResultKind {
        let answer = format!(
            r#"{{"status":{{"id":"COMPLETED"}},"job-execution-result":{{"application-status":"SUCCEEDED","accumulator-results":{accumulators}}}}}"#
        );
        Answer::read(answer.as_bytes()).unwrap().kind()
    }

    #[test]
    fn values_of_the_program_are_told_apart_from_what_flink_needs_itself() {
        assert_eq!(kind("{}"), ResultKind::Answer);
        assert_eq!(
            kind(r#"{"*anonymous_collect$1*":"rO0=","dataStreamCollect_8":"rO0="}"#),
            ResultKind::Answer
        );
        assert_eq!(kind(r#"{"*anonymous_collect$1*":"rO0=","lines":"rO0="}"#), ResultKind::Values);
    }
}
