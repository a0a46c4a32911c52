//! A program that has a savepoint taken of a job of its own, or stops the job with one, makes a
//! wish in the record, as any other caller does.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use proto::runner::RequestSavepointRequest;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answers::parse;
use super::{ErrorAnswer, Front};
use crate::json::Json;

/// `SavepointTriggerRequestBody` of Flink's REST API.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Take {
    target_directory: Option<String>,
    cancel_job: Option<bool>,
    #[serde(rename = "formatType")]
    format_type: Option<String>,
    #[serde(rename = "triggerId")]
    trigger_id: Option<String>,
}

/// `StopWithSavepointRequestBody` of Flink's REST API.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stop {
    target_directory: Option<String>,
    drain: Option<bool>,
    format_type: Option<String>,
    trigger_id: Option<String>,
}

/// `POST /jobs/ID/savepoints`.
pub(super) async fn take(
    State(front): State<Front>,
    Path(job): Path<String>,
    Json(asked): Json<Take>,
) -> Result<Response, ErrorAnswer> {
    if asked.cancel_job == Some(true) {
        let text = "cancel-job=true is not there any more: use stop with a savepoint";
        return Err(ErrorAnswer::new(StatusCode::BAD_REQUEST, text));
    }
    let request = RequestSavepointRequest {
        request_id: asked.trigger_id.unwrap_or_else(any_id),
        job_id: parse(&job)?.to_string(),
        directory: asked.target_directory.unwrap_or_default(),
        format: asked.format_type.unwrap_or_default().to_lowercase(),
        ..RequestSavepointRequest::default()
    };
    wish(&front, request).await
}

/// `POST /jobs/ID/stop`.
pub(super) async fn stop(
    State(front): State<Front>,
    Path(job): Path<String>,
    Json(asked): Json<Stop>,
) -> Result<Response, ErrorAnswer> {
    let request = RequestSavepointRequest {
        request_id: asked.trigger_id.unwrap_or_else(any_id),
        job_id: parse(&job)?.to_string(),
        directory: asked.target_directory.unwrap_or_default(),
        stop: true,
        drain: asked.drain.unwrap_or_default(),
        format: asked.format_type.unwrap_or_default().to_lowercase(),
    };
    wish(&front, request).await
}

/// A new trigger id. What Flink calls the trigger's id is the wish's: 32 hex digits.
fn any_id() -> String {
    hex::encode(rand::random::<[u8; 16]>())
}

async fn wish(front: &Front, request: RequestSavepointRequest) -> Result<Response, ErrorAnswer> {
    let id = request.request_id.clone();
    front.0.execution.request_savepoint(request).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "request-id": id }))).into_response())
}

/// `GET /jobs/ID/savepoints/TRIGGER`.
pub(super) async fn status(
    State(front): State<Front>,
    Path((job, trigger)): Path<(String, String)>,
) -> Result<Response, ErrorAnswer> {
    let Some(savepoint) = front.0.execution.savepoint(parse(&job)?, &trigger).await? else {
        return Ok(Json(told("IN_PROGRESS", Value::Null)).into_response());
    };
    if savepoint.pointer.is_empty() {
        // Flink would answer with a Java object; its client takes a text as well.
        return Err(ErrorAnswer::new(StatusCode::INTERNAL_SERVER_ERROR, savepoint.message));
    }
    Ok(Json(told("COMPLETED", json!({ "location": savepoint.pointer }))).into_response())
}

fn told(status: &str, operation: Value) -> Value {
    json!({ "status": { "id": status }, "operation": operation })
}
