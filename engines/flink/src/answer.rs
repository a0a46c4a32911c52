//! What Flink tells its client of a job that has ended: how it ended, and the values of
//! accumulators, each a Java object. The answer is kept with the job's end and handed to the client
//! of each main() that asks. People are shown it where something in it is meant for them.

use std::collections::BTreeMap;

use proto::job::ResultKind;
use serde::Deserialize;

/// The accumulators by which rows travel to `collect()` and `print()`: how far the rows have come,
/// and the last of them. main() has had those rows already.
const OF_COLLECT: [&str; 2] = ["dataStreamCollect_", "*anonymous_collect$"];

/// The answer to `GET /jobs/ID/execution-result`, as far as it is needed here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Answer {
    job_execution_result: Accumulators,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Accumulators {
    #[serde(default)]
    accumulator_results: BTreeMap<String, serde::de::IgnoredAny>,
}

/// Whether anything in the answer is for people; nothing is in one that cannot be read.
pub(crate) fn kind(answer: &[u8]) -> ResultKind {
    let Ok(answer) = serde_json::from_slice::<Answer>(answer) else { return ResultKind::Answer };
    let is_flinks_own = |name: &String| OF_COLLECT.iter().any(|prefix| name.starts_with(prefix));
    if answer.job_execution_result.accumulator_results.keys().all(is_flinks_own) {
        ResultKind::Answer
    } else {
        ResultKind::Values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_with(accumulators: &str) -> ResultKind {
        let answer = format!(
            r#"{{"status":{{"id":"COMPLETED"}},"job-execution-result":{{"application-status":"SUCCEEDED","accumulator-results":{accumulators}}}}}"#
        );
        kind(answer.as_bytes())
    }

    #[test]
    fn values_of_the_program_are_told_apart_from_what_flink_needs_itself() {
        assert_eq!(kind_with("{}"), ResultKind::Answer);
        assert_eq!(
            kind_with(r#"{"*anonymous_collect$1*":"rO0=","dataStreamCollect_8":"rO0="}"#),
            ResultKind::Answer
        );
        let with_lines = r#"{"*anonymous_collect$1*":"rO0=","lines":"rO0="}"#;
        assert_eq!(kind_with(with_lines), ResultKind::Values);
        assert_eq!(kind(b"no JSON"), ResultKind::Answer);
    }
}
