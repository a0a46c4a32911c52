//! Savepoints in the words of the JobManager's REST API.

use jobs_service::Trigger;
use serde::Deserialize;
use serde_json::{Value, json};

use super::cause::FailureCause;

/// The path and the body of the request for a savepoint.
pub(super) fn request(trigger: &Trigger) -> (String, Value) {
    let said = |text: String| if text.is_empty() { Value::Null } else { text.into() };
    let (directory, format) =
        (said(trigger.directory.clone()), said(trigger.format.to_uppercase()));
    let (job, id) = (trigger.job, trigger.id.to_string());
    if trigger.stop {
        let body = json!({"targetDirectory": directory, "drain": trigger.drain, "triggerId": id, "formatType": format});
        (format!("/jobs/{job}/stop"), body)
    } else {
        let body = json!({
            "target-directory": directory, "cancel-job": false, "triggerId": id, "formatType": format
        });
        (format!("/jobs/{job}/savepoints"), body)
    }
}

/// What became of a savepoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The savepoint was taken, and lies here.
    At(String),
    /// The savepoint was not taken, for this reason.
    Failed(String),
}

/// What the JobManager knows of a savepoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Triggered {
    /// The JobManager was not asked for it.
    Unknown,
    /// The savepoint is being taken.
    UnderWay,
    /// The savepoint is no longer being taken.
    Done(Taken),
}

/// Flink's answer to a question about a savepoint.
#[derive(Deserialize)]
pub(super) struct SavepointStatus {
    status: Id,
    operation: Option<Operation>,
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Operation {
    location: Option<String>,
    failure_cause: Option<FailureCause>,
}

impl From<SavepointStatus> for Triggered {
    fn from(answer: SavepointStatus) -> Self {
        if answer.status.id != "COMPLETED" {
            return Self::UnderWay;
        }
        let nothing =
            || Self::Done(Taken::Failed("Flink says neither where it is nor why not".to_owned()));
        let Some(operation) = answer.operation else { return nothing() };
        match (operation.location, operation.failure_cause) {
            (Some(location), _) => Self::Done(Taken::At(location)),
            (None, Some(failure)) => Self::Done(Taken::Failed(failure.root())),
            (None, None) => nothing(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proto::{Epoch, JobId, TriggerId};

    use super::*;

    fn read(answer: Value) -> Triggered {
        serde_json::from_value::<SavepointStatus>(answer).unwrap().into()
    }

    #[test]
    fn answers_are_where_it_is_or_the_root_cause_of_why_not() {
        let done =
            |operation: Value| json!({"status": {"id": "COMPLETED"}, "operation": operation});
        let failed = |text: &str| Triggered::Done(Taken::Failed(text.to_owned()));
        let stack = "java.util.concurrent.CompletionException: a\n\tat x\nCaused by: java.io.IOException: no room\n\tat y\n";
        for (answer, expected) in [
            (json!({"status": {"id": "IN_PROGRESS"}, "operation": null}), Triggered::UnderWay),
            (json!({"status": {"id": "IN_PROGRESS"}}), Triggered::UnderWay),
            (
                done(json!({"location": "file:/s/savepoint-1"})),
                Triggered::Done(Taken::At("file:/s/savepoint-1".into())),
            ),
            (
                done(
                    json!({"failure-cause": {"class": "X", "stack-trace": stack, "serialized-throwable": "AA"}}),
                ),
                failed("java.io.IOException: no room"),
            ),
            (done(json!({"failure-cause": {"class": "X", "stack-trace": ""}})), failed("X")),
            (done(json!({})), failed("Flink says neither where it is nor why not")),
        ] {
            assert_eq!(read(answer.clone()), expected, "{answer}");
        }
    }

    #[test]
    fn the_trigger_id_is_ours_in_both_requests() {
        let job: JobId = "00112233445566778899aabbccddeeff".parse().unwrap();
        let id = TriggerId::derive("wish", job);
        let plain = Trigger {
            job,
            id,
            directory: String::new(),
            stop: false,
            drain: false,
            format: String::new(),
            epoch: Epoch(1),
        };
        let (path, body) = request(&plain);
        assert_eq!(path, format!("/jobs/{job}/savepoints"));
        assert_eq!(
            body,
            json!({"target-directory": null, "cancel-job": false, "triggerId": id.to_string(), "formatType": null})
        );
        let stop = Trigger {
            directory: "file:///s".into(),
            stop: true,
            drain: true,
            format: "native".into(),
            ..plain
        };
        let (path, body) = request(&stop);
        assert_eq!(path, format!("/jobs/{job}/stop"));
        assert_eq!(
            body,
            json!({"targetDirectory": "file:///s", "drain": true, "triggerId": id.to_string(), "formatType": "NATIVE"})
        );
    }
}
