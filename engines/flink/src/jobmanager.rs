//! The JobManager's REST API, as far as mainspring's own processes ask it.

mod cause;
mod details;
mod end;
mod listed;
mod savepoint;

use std::time::Duration;

use bytes::Bytes;
use chassis::clock::{SharedClock, timeout};
use chassis::transport::{Endpoint, SharedTransport};
use http::{Method, Request, StatusCode, header};
use jobs_service::Trigger;
use proto::{JobId, TriggerId};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use chassis::http::{Body, collect, full, send};

use cause::{Exceptions, root_cause};
use details::{Details, Metric};
use end::ExecutionResult;
use listed::JobsOverview;
use savepoint::SavepointStatus;

pub(crate) use details::{Look, Stage, elapsed};
pub(crate) use end::Ended;
pub(crate) use listed::Listed;
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
        Ok(read.ended(answer))
    }

    /// All jobs that the JobManager knows, ended ones included.
    pub(crate) async fn jobs(&self) -> Result<Vec<Listed>, JobManagerError> {
        Ok(self.get::<JobsOverview>("/jobs/overview").await?.jobs)
    }

    /// The counters of a job, and when it was restarted last.
    pub(crate) async fn look(&self, job: JobId) -> Result<Look, JobManagerError> {
        let details: Details = self.get(&format!("/jobs/{job}")).await?;
        let restarts: Vec<Metric> =
            self.get(&format!("/jobs/{job}/metrics?get=numRestarts")).await?;
        let restarts =
            restarts.first().and_then(|metric| metric.value.parse().ok()).unwrap_or_default();
        Ok(details.look(restarts))
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
            answered => Ok(SavepointStatus::into(answered?)),
        }
    }

    /// Asks for a savepoint; a repeat for the same trigger id changes nothing.
    pub(crate) async fn trigger(&self, trigger: &Trigger) -> Result<(), JobManagerError> {
        let (path, body) = savepoint::request(trigger);
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        self.call(request.body(full(body.to_string())), ANSWER_WITHIN).await.map(drop)
    }

    /// Whether all tasks of a job run, because only then a savepoint can be taken.
    pub(crate) async fn stage(&self, job: JobId) -> Result<Stage, JobManagerError> {
        match self.get::<Details>(&format!("/jobs/{job}")).await {
            Err(JobManagerError::Refused { status: StatusCode::NOT_FOUND, .. }) => {
                Ok(Stage::Unknown)
            }
            answered => Ok(answered?.stage()),
        }
    }

    /// The root cause of the job's last failure.
    pub(crate) async fn failure(&self, job: JobId) -> Result<Option<String>, JobManagerError> {
        let exceptions: Exceptions =
            self.get(&format!("/jobs/{job}/exceptions?maxExceptions=1")).await?;
        Ok(exceptions.latest())
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

fn understood<T: DeserializeOwned>(path: &str, answer: &[u8]) -> Result<T, JobManagerError> {
    serde_json::from_slice(answer).map_err(|error| JobManagerError::Refused {
        status: StatusCode::OK,
        message: format!("{path}: not understood: {error}"),
    })
}

fn away(error: impl ToString) -> JobManagerError {
    JobManagerError::Away(error.to_string())
}
