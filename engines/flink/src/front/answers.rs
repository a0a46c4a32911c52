//! The questions that Flink's client asks of a job, answered from the record. Flink's own REST API
//! would show an end before the end is recorded; main() hears of an end only when it can not be
//! lost any more.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use chassis::clock::timeout;
use futures::TryStreamExt as _;
use http::{StatusCode, header};
use proto::JobId;
use proto::engine::EngineJobState;
use proto::job::{JobEnd, JobOutcome};
use serde_json::{Value, json};

use super::views::View;
use super::{ErrorAnswer, Front};
use crate::json::Json;

/// How long a question is held while the answer is "not yet", because the client would ask again 50
/// ms to 2 s later.
const HOLD: Duration = Duration::from_secs(10);

/// The largest answer of Flink's own that is passed on; accumulators travel in it.
const MAX_RESULT_BYTES: usize = 64 << 20;

/// `GET /jobs/ID/status`. The question is held while the job is on its way to the JobManager,
/// because what main() does next may need the job there.
pub(super) async fn status(
    State(front): State<Front>,
    Path(job): Path<String>,
) -> Result<Response, ErrorAnswer> {
    let view = look(&front, parse(&job)?, |view| {
        !view.unknown && (view.end.is_some() || view.state >= EngineJobState::Starting)
    })
    .await?;
    let word = match (&view.end, view.state) {
        (Some(end), _) => match end.outcome() {
            JobOutcome::Succeeded => "FINISHED",
            JobOutcome::Cancelled | JobOutcome::Abandoned => "CANCELED",
            _ => "FAILED",
        },
        (None, EngineJobState::Unspecified) => "INITIALIZING",
        (None, EngineJobState::Starting) => "CREATED",
        (None, _) => "RUNNING",
    };
    Ok(Json(json!({ "status": word })).into_response())
}

/// `GET /jobs/ID/execution-result`.
pub(super) async fn execution_result(
    State(front): State<Front>,
    Path(job): Path<String>,
) -> Result<Response, ErrorAnswer> {
    let job = parse(&job)?;
    let view = look(&front, job, |view| view.end.is_some()).await?;
    let Some(end) = view.end else {
        return Ok(Json(json!({"status": {"id": "IN_PROGRESS"}})).into_response());
    };
    if end.result_digest.is_empty() {
        return Ok(Json(ended_elsewhere(job, &end)).into_response());
    }
    let chunks = front.0.execution.read_result(job);
    let mut chunks = std::pin::pin!(chunks);
    let mut body = BytesMut::new();
    while let Some(chunk) = chunks.try_next().await? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_RESULT_BYTES {
            let text = format!("the result of job {job} has more than {MAX_RESULT_BYTES} bytes");
            return Err(ErrorAnswer::new(StatusCode::INTERNAL_SERVER_ERROR, text));
        }
    }
    Ok(([(header::CONTENT_TYPE, "application/json")], body.freeze()).into_response())
}

/// Waits for a view that says enough; answers the last view when that takes too long.
async fn look(
    front: &Front,
    job: JobId,
    enough: impl Fn(&View) -> bool,
) -> Result<View, ErrorAnswer> {
    let mut views = front.0.views.of(job);
    let seen = views.wait_for(|view| view.refused.is_some() || enough(view));
    let seen = match timeout(&front.0.clock, HOLD, seen).await {
        Ok(Ok(view)) => Some(view.clone()),
        _ => None,
    };
    let view = seen.unwrap_or_else(|| views.borrow().clone());
    match view.refused {
        Some(error) => Err(error.into()),
        None => Ok(view),
    }
}

/// An end that no JobManager has told but the leader, such as that of a job that was given up. The
/// end is said in Flink's words, without a cause, which would have to be a Java object.
fn ended_elsewhere(job: JobId, end: &JobEnd) -> Value {
    let status = match end.outcome() {
        JobOutcome::Succeeded => "SUCCEEDED",
        JobOutcome::Cancelled | JobOutcome::Abandoned => "CANCELED",
        _ => "FAILED",
    };
    let elapsed = end.progress.as_ref().and_then(|progress| progress.elapsed).unwrap_or_default();
    json!({
        "status": {"id": "COMPLETED"},
        "job-execution-result": {
            "id": job.to_string(),
            "application-status": status,
            "accumulator-results": {},
            "net-runtime": elapsed.seconds * 1000 + i64::from(elapsed.nanos / 1_000_000),
        }
    })
}

pub(super) fn parse(job: &str) -> Result<JobId, ErrorAnswer> {
    job.parse().map_err(|error: proto::InvalidId| {
        ErrorAnswer::new(StatusCode::BAD_REQUEST, error.to_string())
    })
}
