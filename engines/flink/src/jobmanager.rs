//! The JobManager's REST API, as far as mainspring's own processes ask it.

mod cause;
mod savepoint;

use std::time::Duration;

use bytes::Bytes;
use chassis::clock::{SharedClock, timeout};
use chassis::transport::{Endpoint, SharedTransport};
use http::{Method, Request, StatusCode, header};
use jobs_service::Trigger;
use proto::job::Progress;
use proto::{JobId, TriggerId};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use chassis::http::{Body, collect, full, send};

use cause::{cause_of, root_cause};
pub(crate) use savepoint::{Taken, Triggered};

/// How long an answer may take to a question without an upload.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// How long a submission may take, with its jars.
const SUBMIT_WITHIN: Duration = Duration::from_secs(300);

/// The largest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// Why the JobManager did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JobManagerError {
    /// The JobManager cannot be reached, or did not answer in time; it may have done what it was
    /// asked.
    #[error("the JobManager does not answer: {0}")]
    Away(String),
    /// The JobManager refused.
    #[error("the JobManager answered {status}: {message}")]
    Refused {
        /// The status of its answer.
        status: StatusCode,
        /// Its root cause, for people.
        message: String,
    },
}

impl JobManagerError {
    /// Whether the JobManager refuses for good, and would refuse the next time too.
    pub(crate) fn is_final(&self) -> bool {
        let passes = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::NOT_FOUND];
        matches!(self, Self::Refused { status, .. } if !passes.contains(status))
    }
}

/// A client of one JobManager.
#[derive(Clone)]
pub(crate) struct JobManager {
    transport: SharedTransport,
    clock: SharedClock,
    endpoint: Endpoint,
}

/// What the JobManager says of its cluster.
#[derive(Debug, Deserialize)]
pub(crate) struct Overview {
    /// How many TaskManagers are registered.
    pub(crate) taskmanagers: u32,
}

/// What the JobManager says of its configuration.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Configuration {
    #[serde(default)]
    flink_version: String,
}

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

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ExecutionResult {
    job_execution_result: Option<Execution>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Execution {
    application_status: String,
    #[serde(default)]
    net_runtime: u64,
    failure_cause: Option<FailureCause>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct FailureCause {
    #[serde(default)]
    class: String,
    #[serde(default)]
    stack_trace: String,
}

/// A job as the JobManager lists it.
#[derive(Debug, Deserialize)]
pub(crate) struct Listed {
    /// The job's id, 32 hex digits.
    pub(crate) jid: String,
    /// Flink's word, such as `RUNNING`.
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) tasks: Tasks,
}

/// How many of a job's tasks have come how far.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Tasks {
    pub(crate) total: u32,
    pub(crate) created: u32,
    pub(crate) scheduled: u32,
}

impl Listed {
    /// Whether Flink will not change this state any more.
    pub(crate) fn is_terminal(&self) -> bool {
        matches!(self.state.as_str(), "FINISHED" | "FAILED" | "CANCELED")
    }

    pub(crate) fn is_starting(&self) -> bool {
        matches!(self.state.as_str(), "INITIALIZING" | "CREATED")
    }

    /// Whether none of the job's tasks has a slot yet, although Flink may call the job running.
    pub(crate) fn waits_for_slots(&self) -> bool {
        self.tasks.total > 0 && self.tasks.created + self.tasks.scheduled == self.tasks.total
    }
}

#[derive(Deserialize)]
struct Jobs {
    jobs: Vec<Listed>,
}

/// What one look at a job tells.
pub(crate) struct Look {
    /// The counters, in which Flink's count of restarts lags behind by up to 10 s.
    pub(crate) progress: Progress,
    /// When the job was restarted last, in Flink's milliseconds; 0 for never. Flink tells this at
    /// once.
    pub(crate) restarted_at: i64,
    /// Whether nothing here moves any more.
    pub(crate) is_over: bool,
}

/// How far a job has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// All its tasks run, or have done their work.
    Runs,
    /// Some of its tasks do not run yet.
    Starts,
    /// The job has ended.
    Over,
    /// The JobManager has no such job.
    Unknown,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Exceptions {
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

#[derive(Deserialize)]
struct Details {
    #[serde(default)]
    state: String,
    #[serde(default)]
    duration: i64,
    #[serde(default)]
    vertices: Vec<Vertex>,
    #[serde(default)]
    plan: Plan,
    #[serde(default)]
    timestamps: Timestamps,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "UPPERCASE", default)]
struct Timestamps {
    restarting: i64,
}

#[derive(Deserialize)]
struct Vertex {
    id: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    metrics: Metrics,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct Metrics {
    read_bytes: u64,
    write_bytes: u64,
    read_records: u64,
    write_records: u64,
}

#[derive(Deserialize, Default)]
struct Plan {
    #[serde(default)]
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    #[serde(default)]
    inputs: Vec<Input>,
}

#[derive(Deserialize)]
struct Input {
    id: String,
}

#[derive(Deserialize)]
struct Metric {
    #[serde(default)]
    value: String,
}

impl Details {
    fn readiness(&self) -> Readiness {
        let works = |vertex: &Vertex| matches!(vertex.status.as_str(), "RUNNING" | "FINISHED");
        match self.state.as_str() {
            "FINISHED" | "FAILED" | "CANCELED" | "SUSPENDED" => Readiness::Over,
            "RUNNING" if !self.vertices.is_empty() && self.vertices.iter().all(works) => {
                Readiness::Runs
            }
            _ => Readiness::Starts,
        }
    }

    /// The counters of the job. Flink counts records where they cross between vertices: what
    /// sources hand on counts as read, and what is handed to vertices that hand on nothing counts
    /// as written. A job of one vertex counts none.
    fn progress(&self, restarts: u32) -> Progress {
        let consumes =
            |id: &str| self.plan.nodes.iter().any(|node| node.id == id && !node.inputs.is_empty());
        let consumed =
            |id: &str| self.plan.nodes.iter().any(|node| node.inputs.iter().any(|i| i.id == id));
        let sources = || self.vertices.iter().filter(|vertex| !consumes(&vertex.id));
        let sinks = || self.vertices.iter().filter(|vertex| !consumed(&vertex.id));
        let millis = u64::try_from(self.duration).unwrap_or_default();
        Progress {
            rows_in: sources().map(|vertex| vertex.metrics.write_records).sum(),
            rows_out: sinks().map(|vertex| vertex.metrics.read_records).sum(),
            bytes_in: sources().map(|vertex| vertex.metrics.write_bytes).sum(),
            bytes_out: sinks().map(|vertex| vertex.metrics.read_bytes).sum(),
            elapsed: Some(elapsed(millis)),
            restarts,
            ..Progress::default()
        }
    }
}

/// Milliseconds as the wire has them.
pub(crate) fn elapsed(millis: u64) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(millis / 1000).unwrap_or(i64::MAX),
        nanos: i32::try_from(millis % 1000 * 1_000_000).unwrap_or_default(),
    }
}

impl JobManager {
    pub(crate) fn new(transport: SharedTransport, clock: SharedClock, endpoint: Endpoint) -> Self {
        Self { transport, clock, endpoint }
    }

    pub(crate) async fn overview(&self) -> Result<Overview, JobManagerError> {
        self.get("/overview").await
    }

    /// The cluster's version of Flink, such as `2.3.0`.
    pub(crate) async fn version(&self) -> Result<String, JobManagerError> {
        Ok(self.get::<Configuration>("/config").await?.flink_version)
    }

    /// How a job ended; `None` while it runs.
    pub(crate) async fn ended(&self, job: JobId) -> Result<Option<Ended>, JobManagerError> {
        let path = format!("/jobs/{job}/execution-result");
        let answer = self.call(Request::get(&path).body(full(Bytes::new())), ANSWER_WITHIN).await?;
        let read: ExecutionResult = understood(&path, &answer)?;
        Ok(read.job_execution_result.map(
            |Execution { application_status, net_runtime, failure_cause }| Ended {
                status: application_status,
                net_runtime,
                cause: failure_cause.map_or_else(String::new, FailureCause::root),
                answer,
            },
        ))
    }

    /// All jobs that the JobManager knows, ended ones included.
    pub(crate) async fn jobs(&self) -> Result<Vec<Listed>, JobManagerError> {
        Ok(self.get::<Jobs>("/jobs/overview").await?.jobs)
    }

    /// The counters of a job, and when it was restarted last.
    pub(crate) async fn look(&self, job: JobId) -> Result<Look, JobManagerError> {
        let details: Details = self.get(&format!("/jobs/{job}")).await?;
        let restarts: Vec<Metric> =
            self.get(&format!("/jobs/{job}/metrics?get=numRestarts")).await?;
        let restarts =
            restarts.first().and_then(|metric| metric.value.parse().ok()).unwrap_or_default();
        Ok(Look {
            progress: details.progress(restarts),
            restarted_at: details.timestamps.restarting,
            is_over: details.readiness() == Readiness::Over,
        })
    }

    /// Makes a submission as Flink's client does.
    pub(crate) async fn submit(
        &self,
        content_type: &str,
        body: Body,
    ) -> Result<(), JobManagerError> {
        let request = Request::post("/jobs").header(header::CONTENT_TYPE, content_type).body(body);
        self.call(request, SUBMIT_WITHIN).await.map(drop)
    }

    /// Asks a job to end as cancelled. A job that has ended already is left as it is.
    pub(crate) async fn cancel(&self, job: JobId) -> Result<(), JobManagerError> {
        let path = format!("/jobs/{job}?mode=cancel");
        let request = Request::builder().method(Method::PATCH).uri(path).body(full(Bytes::new()));
        match self.call(request, ANSWER_WITHIN).await {
            Err(JobManagerError::Refused { status: StatusCode::CONFLICT, .. }) => Ok(()),
            answered => answered.map(drop),
        }
    }

    /// What the JobManager knows of a savepoint.
    pub(crate) async fn savepoint(
        &self,
        job: JobId,
        trigger: TriggerId,
    ) -> Result<Triggered, JobManagerError> {
        let path = format!("/jobs/{job}/savepoints/{trigger}");
        match self.get(&path).await {
            Err(JobManagerError::Refused { status: StatusCode::NOT_FOUND, .. }) => {
                Ok(Triggered::Unknown)
            }
            answered => Ok(savepoint::Status::into(answered?)),
        }
    }

    /// Asks for a savepoint; a repeat for the same trigger id changes nothing.
    pub(crate) async fn trigger(&self, trigger: &Trigger) -> Result<(), JobManagerError> {
        let (path, body) = savepoint::request(trigger);
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        self.call(request.body(full(body.to_string())), ANSWER_WITHIN).await.map(drop)
    }

    /// Whether all tasks of a job run, because only then a savepoint can be taken.
    pub(crate) async fn readiness(&self, job: JobId) -> Result<Readiness, JobManagerError> {
        match self.get::<Details>(&format!("/jobs/{job}")).await {
            Err(JobManagerError::Refused { status: StatusCode::NOT_FOUND, .. }) => {
                Ok(Readiness::Unknown)
            }
            answered => Ok(answered?.readiness()),
        }
    }

    /// The root cause of the job's last failure.
    pub(crate) async fn failure(&self, job: JobId) -> Result<Option<String>, JobManagerError> {
        let exceptions: Exceptions =
            self.get(&format!("/jobs/{job}/exceptions?maxExceptions=1")).await?;
        let last = exceptions.exception_history.entries.into_iter().next();
        Ok(last.map(|entry| cause_of(&entry.stacktrace)).filter(|cause| !cause.is_empty()))
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, JobManagerError> {
        let answer = self.call(Request::get(path).body(full(Bytes::new())), ANSWER_WITHIN).await?;
        understood(path, &answer)
    }

    async fn call(
        &self,
        request: Result<Request<Body>, http::Error>,
        within: Duration,
    ) -> Result<Bytes, JobManagerError> {
        let request = request.map_err(away)?;
        let answered = async {
            let answer = send(&self.transport, &self.endpoint, request).await.map_err(away)?;
            let status = answer.status();
            let body = collect(answer.into_body(), MAX_ANSWER_BYTES).await.map_err(away)?;
            Ok::<_, JobManagerError>((status, body))
        };
        let (status, body) = timeout(&self.clock, within, answered).await.map_err(away)??;
        if status.is_success() {
            return Ok(body);
        }
        Err(JobManagerError::Refused { status, message: root_cause(&body) })
    }
}

impl FailureCause {
    fn root(self) -> String {
        let cause = cause_of(&self.stack_trace);
        if cause.is_empty() { self.class } else { cause }
    }
}

fn understood<T: DeserializeOwned>(path: &str, answer: &[u8]) -> Result<T, JobManagerError> {
    serde_json::from_slice(answer).map_err(|error| JobManagerError::Refused {
        status: StatusCode::OK,
        message: format!("{path}: not understood: {error}"),
    })
}

fn away(error: impl ToString) -> JobManagerError {
    JobManagerError::Away(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_savepoint_waits_until_all_tasks_run() {
        let details = |state: &str, tasks: &[&str]| -> Readiness {
            let vertices: Vec<_> = tasks
                .iter()
                .map(|status| serde_json::json!({"id": "a", "status": status}))
                .collect();
            let answer = serde_json::json!({"state": state, "vertices": vertices});
            serde_json::from_value::<Details>(answer).unwrap().readiness()
        };
        for (state, tasks, expected) in [
            ("CREATED", &["CREATED"][..], Readiness::Starts),
            ("RUNNING", &[], Readiness::Starts),
            ("RUNNING", &["RUNNING", "INITIALIZING"], Readiness::Starts),
            ("RUNNING", &["RUNNING", "FINISHED"], Readiness::Runs),
            ("RESTARTING", &["RUNNING"], Readiness::Starts),
            ("FAILING", &["FAILED"], Readiness::Starts),
            ("FINISHED", &["FINISHED"], Readiness::Over),
            ("CANCELED", &["CANCELED"], Readiness::Over),
        ] {
            assert_eq!(details(state, tasks), expected, "{state} {tasks:?}");
        }
    }

    #[test]
    fn an_end_is_told_with_its_root_cause() {
        let failed = serde_json::json!({"status": {"id": "COMPLETED"}, "job-execution-result": {"id": "a",
            "application-status": "FAILED", "accumulator-results": {}, "net-runtime": 12,
            "failure-cause": {"class": "X", "stack-trace": "X: outer\n\tat y\nCaused by: Y: inner\n\tat z\n"}}});
        let read: ExecutionResult = serde_json::from_value(failed).unwrap();
        let end = read.job_execution_result.unwrap();
        assert_eq!((end.application_status.as_str(), end.net_runtime), ("FAILED", 12));
        assert_eq!(end.failure_cause.map(FailureCause::root).as_deref(), Some("Y: inner"));
        let running = serde_json::json!({"status": {"id": "IN_PROGRESS"}});
        assert!(
            serde_json::from_value::<ExecutionResult>(running)
                .unwrap()
                .job_execution_result
                .is_none()
        );
    }

    #[test]
    fn a_restart_is_told_by_its_time() {
        let answer = serde_json::json!({"timestamps": {"RUNNING": 5, "RESTARTING": 17}});
        assert_eq!(serde_json::from_value::<Details>(answer).unwrap().timestamps.restarting, 17);
    }

    #[test]
    fn records_are_counted_where_they_enter_and_leave() {
        let details: Details = serde_json::from_value(serde_json::json!({"duration": 1500, "vertices": [
            {"id": "a", "metrics": {"write-records": 10, "read-records": 0}},
            {"id": "b", "metrics": {"write-records": 4, "read-records": 10}},
            {"id": "c", "metrics": {"write-records": 0, "read-records": 4}}],
            "plan": {"nodes": [{"id": "a"}, {"id": "b", "inputs": [{"id": "a"}]}, {"id": "c", "inputs": [{"id": "b"}]}]}}))
        .unwrap();
        let progress = details.progress(2);
        assert_eq!((progress.rows_in, progress.rows_out, progress.restarts), (10, 4, 2));
        assert_eq!(
            progress.elapsed,
            Some(prost_types::Duration { seconds: 1, nanos: 500_000_000 })
        );
    }
}
