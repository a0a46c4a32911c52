//! Stands in for Flink's high-availability services: the JobManager keeps pointers, counters and
//! ends here, and so in the record. A write is answered once it is durable. A write is refused with
//! 409 once this cluster is superseded or the job's end stands, and with 400 if it would be as
//! wrong the next time; in every other case (503) the JobManager has to repeat it.

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use chassis::credential::Credential;
use client::error::CallError;
use http::{StatusCode, header};
use proto::job::{Checkpoint, JobOutcome};
use proto::{JobId, Reason};
use serde::{Deserialize, Serialize};

use super::ends::{self, Ends};
use super::unclean::Unclean;
use crate::jobmanager::Ended;
use crate::json::Json;

/// What the handlers share.
#[derive(Clone)]
pub(super) struct Ha {
    pub(super) ends: Ends,
    pub(super) token: Credential,
    pub(super) unclean: Unclean,
}

#[derive(Serialize)]
struct ResumePoint {
    ended: bool,
    checkpoints: Vec<KeptCheckpoint>,
    next_checkpoint_id: u64,
}

#[derive(Serialize)]
struct KeptCheckpoint {
    id: u64,
    #[serde(flatten)]
    pointer: CheckpointPointer,
}

#[derive(Serialize, Deserialize)]
struct CheckpointPointer {
    pointer: String,
    created_ms: i64,
    completed_ms: i64,
    #[serde(default)]
    savepoint: bool,
    /// The names of outcomes.
    #[serde(default)]
    discarded_after: Vec<String>,
}

#[derive(Deserialize)]
struct Counter {
    next: u64,
}

/// A job's end, in Flink's words.
#[derive(Deserialize)]
struct End {
    status: String,
    #[serde(default)]
    net_runtime_ms: u64,
    #[serde(default)]
    message: String,
    /// Flink's own answer about this end, for Flink's own client.
    execution_result: String,
}

/// Why a call was not answered as it asks.
enum HaError {
    Malformed(String),
    Record(CallError),
}

impl From<CallError> for HaError {
    fn from(error: CallError) -> Self {
        Self::Record(error)
    }
}

impl From<record::Error> for HaError {
    fn from(error: record::Error) -> Self {
        Self::Record(error.into())
    }
}

impl IntoResponse for HaError {
    fn into_response(self) -> Response {
        let (status, reason, message) = match self {
            Self::Malformed(message) => (StatusCode::BAD_REQUEST, None, message),
            Self::Record(error) => {
                let status = match error.reason() {
                    Some(Reason::IncarnationSuperseded | Reason::AlreadyEnded) => {
                        StatusCode::CONFLICT
                    }
                    // What this write says is wrong, and would be as wrong the next time.
                    _ if is_final(&error) => StatusCode::BAD_REQUEST,
                    _ => StatusCode::SERVICE_UNAVAILABLE,
                };
                (status, error.reason(), error.to_string())
            }
        };
        let reason = reason.map(Reason::as_str).unwrap_or_default();
        tracing::warn!(%status, reason, "the JobManager is refused: {message}");
        (status, Json(serde_json::json!({"reason": reason, "message": message}))).into_response()
    }
}

/// Whether this write would be refused the next time too.
fn is_final(error: &CallError) -> bool {
    matches!(
        error.reason(),
        Some(
            Reason::IncarnationSuperseded
                | Reason::AlreadyEnded
                | Reason::RequestInvalid
                | Reason::IdMalformed
                | Reason::JobNotFound
        )
    )
}

type Reply = Result<Json<serde_json::Value>, HaError>;

/// The routes, for holders of the incarnation's token.
pub(super) fn router(ha: Ha) -> Router {
    Router::new()
        .route("/v1/jobs/{job}", get(read))
        .route("/v1/jobs/{job}/checkpoints/{id}", put(add).delete(remove))
        .route("/v1/jobs/{job}/next-checkpoint-id", put(advance))
        .route("/v1/jobs/{job}/end", put(end))
        .route("/v1/jobs/{job}/clean", put(clean))
        .layer(axum::extract::DefaultBodyLimit::max(16 << 20))
        .layer(middleware::from_fn_with_state(ha.clone(), authorize))
        .with_state(ha)
}

async fn authorize(State(ha): State<Ha>, request: Request, next: Next) -> Response {
    let shown = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = shown.and_then(|text| text.strip_prefix("Bearer "));
    if token.is_some_and(|token| ha.token.matches(token.trim())) {
        next.run(request).await
    } else {
        StatusCode::UNAUTHORIZED.into_response()
    }
}

fn job(text: &str) -> Result<JobId, HaError> {
    text.parse().map_err(|error: proto::InvalidId| HaError::Malformed(error.to_string()))
}

fn done() -> Reply {
    Ok(Json(serde_json::json!({})))
}

async fn read(State(ha): State<Ha>, Path(id): Path<String>) -> Result<Json<ResumePoint>, HaError> {
    let kept = ha.ends.record.read_checkpoints(&ha.ends.fence, job(&id)?).await?;
    let checkpoints = kept.checkpoints.into_iter().map(|checkpoint| {
        let discarded_after =
            checkpoint.discarded_after().map(|outcome| outcome.as_str_name().to_owned()).collect();
        KeptCheckpoint {
            id: checkpoint.id,
            pointer: CheckpointPointer {
                pointer: checkpoint.pointer,
                created_ms: checkpoint.created_at.map(millis).unwrap_or_default(),
                completed_ms: checkpoint.completed_at.map(millis).unwrap_or_default(),
                savepoint: checkpoint.savepoint,
                discarded_after,
            },
        }
    });
    Ok(Json(ResumePoint {
        ended: kept.ended,
        checkpoints: checkpoints.collect(),
        next_checkpoint_id: kept.next_checkpoint_id.max(1),
    }))
}

async fn add(
    State(ha): State<Ha>,
    Path((id, checkpoint)): Path<(String, u64)>,
    Json(pointer): Json<CheckpointPointer>,
) -> Reply {
    let outcome = |name: &String| {
        let unknown = || HaError::Malformed(format!("{name:?} is no outcome of a job"));
        JobOutcome::from_str_name(name).map(i32::from).ok_or_else(unknown)
    };
    let checkpoint = Checkpoint {
        id: checkpoint,
        pointer: pointer.pointer,
        created_at: Some(timestamp(pointer.created_ms)),
        completed_at: Some(timestamp(pointer.completed_ms)),
        savepoint: pointer.savepoint,
        discarded_after: pointer.discarded_after.iter().map(outcome).collect::<Result<_, _>>()?,
    };
    ha.ends.record.add_checkpoint(&ha.ends.fence, job(&id)?, checkpoint).await?;
    done()
}

async fn remove(State(ha): State<Ha>, Path((id, checkpoint)): Path<(String, u64)>) -> Reply {
    ha.ends.record.remove_checkpoint(&ha.ends.fence, job(&id)?, checkpoint).await?;
    done()
}

async fn advance(
    State(ha): State<Ha>,
    Path(id): Path<String>,
    Json(Counter { next }): Json<Counter>,
) -> Reply {
    ha.ends.record.advance_checkpoint_id(&ha.ends.fence, job(&id)?, next).await?;
    done()
}

/// Records an end; Flink cleans up after this has been answered.
async fn end(State(ha): State<Ha>, Path(id): Path<String>, Json(end): Json<End>) -> Reply {
    let job = job(&id)?;
    let ended = Ended {
        status: end.status,
        net_runtime: end.net_runtime_ms,
        cause: end.message,
        answer: end.execution_result.into(),
    };
    let outcome = ends::outcome(&ended).map_err(|error| HaError::Malformed(error.to_string()))?;
    ha.unclean.ends(job);
    if let Err(error) = ha.ends.record(job, outcome, ended).await {
        if is_final(&error) {
            ha.unclean.is_clean(job);
        }
        return Err(error.into());
    }
    done()
}

/// Notes that Flink has removed what was the job's own.
async fn clean(State(ha): State<Ha>, Path(id): Path<String>) -> Reply {
    ha.unclean.is_clean(job(&id)?);
    done()
}

fn timestamp(millis: i64) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: millis.div_euclid(1000),
        nanos: i32::try_from(millis.rem_euclid(1000) * 1_000_000).unwrap_or_default(),
    }
}

fn millis(at: prost_types::Timestamp) -> i64 {
    at.seconds * 1000 + i64::from(at.nanos / 1_000_000)
}
