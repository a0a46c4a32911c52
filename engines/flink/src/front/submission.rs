//! How a job comes in: its id first, then the plan and its files, from Flink's multipart form into
//! the record.

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};

use axum::extract::{Multipart, State};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use client::execution::{ExecuteCall, ExecuteEvent, MAX_GRAPH_BYTES};
use http::StatusCode;
use proto::{Digest, JobId};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;

use super::assigned::Call;
use super::{ErrorAnswer, Front};
use crate::graph::{GraphFile, JobGraph};
use crate::json::Json;
use crate::plan;

/// The name that Flink's client gives to the plan's file, before the 32 hex digits of the job's id.
const PLAN_PREFIX: &str = "flink-executionPlan-";

/// The name of that part of the form which says which file has which purpose.
const REQUEST_PART: &str = "request";

/// The name of a bug that a test can plant.
const REPEAT_IS_ANOTHER_JOB: &str = "front.repeat-is-another-job";

/// An `execute()` that asks for its job's id.
#[derive(Deserialize)]
pub(super) struct Ask {
    call_id: String,
    name: String,
    #[serde(default)]
    plan: String,
    #[serde(default)]
    prints: bool,
}

/// `POST /mainspring/v1/jobs`.
pub(super) async fn assign(
    State(front): State<Front>,
    Json(ask): Json<Ask>,
) -> Result<Json<serde_json::Value>, OwnErrorAnswer> {
    let (job, _) = front
        .0
        .execution
        .assign_job(&ask.call_id, &ask.name, plan::describe(&ask.plan, ask.prints))
        .await
        .map_err(|error| OwnErrorAnswer(error.into()))?;
    let Ask { call_id, name, plan, prints } = ask;
    let call = Call { job: job.to_string(), call_id, name, plan, prints };
    front.0.assigned.keep(call).map_err(|error| OwnErrorAnswer(not_kept(error)))?;
    Ok(Json(serde_json::json!({ "job_id": job.to_string() })))
}

/// An error for mainspring's own part of main()'s JVM, which takes a reason as well.
pub(super) struct OwnErrorAnswer(ErrorAnswer);

impl IntoResponse for OwnErrorAnswer {
    fn into_response(self) -> Response {
        let ErrorAnswer { status, reason, message } = self.0;
        (status, Json(serde_json::json!({ "reason": reason, "message": message }))).into_response()
    }
}

/// The part of the form that says which file has which purpose: `JobSubmitRequestBody` of Flink's
/// REST API.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestPart {
    /// The name in the client of Flink 2.3; others call it `jobGraphFileName`.
    #[serde(alias = "jobGraphFileName")]
    execution_plan_file_name: String,
    #[serde(default)]
    job_jar_file_names: Vec<String>,
    #[serde(default)]
    job_artifact_file_names: Vec<Artifact>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Artifact {
    entry_name: String,
    file_name: String,
}

/// `POST /jobs`, which is answered once the graph is in the record. From then on the job survives.
pub(super) async fn submit(
    State(front): State<Front>,
    form: Multipart,
) -> Result<Response, ErrorAnswer> {
    let spool = Spool::new(&front.0.directory).map_err(not_kept)?;
    let received = receive(form, &spool).await?;
    let job = received.job()?;
    let call = front.0.assigned.of(job).ok_or_else(|| {
        let text = format!(
            "job {job} was not announced: submit through Flink's execute() with execution.target=mainspring"
        );
        ErrorAnswer::new(StatusCode::BAD_REQUEST, text)
    })?;
    let mut files = Vec::new();
    for (name, entry) in received.named()? {
        let file = received.files.get(&name).ok_or_else(|| missing(&name))?;
        front.0.execution.put_payload_file(file.digest, file.size_bytes, &file.path).await?;
        files.push(GraphFile { name, digest: file.digest, size_bytes: file.size_bytes, entry });
    }
    let payload_digests = files.iter().map(|file| file.digest).collect();
    let graph = JobGraph { job, plan: received.plan()?, files }.encode();
    let mut running = front.0.execution.execute(ExecuteCall {
        call_id: call_id(&front, &call),
        description: call.description(),
        name: call.name,
        graph,
        payload_digests,
        ..ExecuteCall::default()
    });
    let accepted = match running.next().await {
        Some(Ok(ExecuteEvent::Accepted(accepted))) => accepted,
        Some(Err(error)) => return Err(error.into()),
        Some(Ok(other)) => {
            let text = format!("the runner answered {other:?} before it accepted the job");
            return Err(ErrorAnswer::new(StatusCode::INTERNAL_SERVER_ERROR, text));
        }
        None => {
            return Err(ErrorAnswer::new(StatusCode::SERVICE_UNAVAILABLE, "the runner is away"));
        }
    };
    if accepted.job_id != job.to_string() && !chassis::failpoint::is_planted(REPEAT_IS_ANOTHER_JOB)
    {
        let text =
            format!("the record knows this call as job {}, its plan says {job}", accepted.job_id);
        return Err(ErrorAnswer::new(StatusCode::INTERNAL_SERVER_ERROR, text));
    }
    chassis::failpoint::hit("front.job-stored").await;
    // The job is in the record, and the call has to stay open until the job's end, because the
    // runner counts it as in flight.
    front.0.tasks.spawn_job("execute", async move {
        while running.next().await.is_some() {}
        Ok::<(), Infallible>(())
    });
    let body = serde_json::json!({ "jobUrl": format!("/jobs/{job}") });
    Ok((StatusCode::ACCEPTED, Json(body)).into_response())
}

/// The id of the `execute()` that the form belongs to, however often the form comes. With the bug
/// planted, a form that comes again, because its answer was lost, counts as another `execute()`.
fn call_id(front: &Front, call: &Call) -> String {
    let comes_again = || {
        std::fs::File::create_new(front.0.directory.join(format!("posted-{}", call.job))).is_err()
    };
    if chassis::failpoint::is_planted(REPEAT_IS_ANOTHER_JOB) && comes_again() {
        return hex::encode(rand::random::<[u8; 8]>());
    }
    call.call_id.clone()
}

/// A form that was received. Its files lie in the spool.
#[derive(Default)]
struct Received {
    request: Option<RequestPart>,
    /// The files, by the names that the request part uses.
    files: HashMap<String, SpooledFile>,
    plan: Option<(String, Bytes)>,
}

struct SpooledFile {
    path: PathBuf,
    digest: Digest,
    size_bytes: u64,
}

impl Received {
    fn request(&self) -> Result<&RequestPart, ErrorAnswer> {
        self.request.as_ref().ok_or_else(|| missing(REQUEST_PART))
    }

    /// The job's id, which is in the name of the plan's file, before the digits of a temporary
    /// file.
    fn job(&self) -> Result<JobId, ErrorAnswer> {
        let name = &self.request()?.execution_plan_file_name;
        let id = name
            .strip_prefix(PLAN_PREFIX)
            .and_then(|rest| rest.get(..32))
            .and_then(|id| id.parse().ok());
        id.ok_or_else(|| {
            ErrorAnswer::new(
                StatusCode::BAD_REQUEST,
                format!("the plan's file {name:?} does not name its job"),
            )
        })
    }

    fn plan(&self) -> Result<Bytes, ErrorAnswer> {
        self.plan.as_ref().map(|(_, bytes)| bytes.clone()).ok_or_else(|| missing("the plan"))
    }

    /// The files beside the plan, each with the cache entry that it is.
    fn named(&self) -> Result<Vec<(String, Option<String>)>, ErrorAnswer> {
        let request = self.request()?;
        let jars = request.job_jar_file_names.iter().map(|name| (name.clone(), None));
        let artifacts = request
            .job_artifact_file_names
            .iter()
            .map(|artifact| (artifact.file_name.clone(), Some(artifact.entry_name.clone())));
        Ok(jars.chain(artifacts).collect())
    }
}

async fn receive(mut form: Multipart, spool: &Spool) -> Result<Received, ErrorAnswer> {
    let broken = |error: axum::extract::multipart::MultipartError| {
        ErrorAnswer::new(StatusCode::BAD_REQUEST, format!("the form is broken: {error}"))
    };
    let mut received = Received::default();
    while let Some(mut field) = form.next_field().await.map_err(broken)? {
        if field.name() == Some(REQUEST_PART) {
            let text = field.bytes().await.map_err(broken)?;
            let parsed = serde_json::from_slice(&text).map_err(|error| {
                ErrorAnswer::new(
                    StatusCode::BAD_REQUEST,
                    format!("the form's request part: {error}"),
                )
            })?;
            received.request = Some(parsed);
            continue;
        }
        let Some(name) = field.file_name().map(str::to_owned) else { continue };
        if name.starts_with(PLAN_PREFIX) {
            let mut plan = BytesMut::new();
            while let Some(chunk) = field.chunk().await.map_err(broken)? {
                plan.extend_from_slice(&chunk);
                if plan.len() > MAX_GRAPH_BYTES {
                    let text = format!(
                        "the plan has more than {MAX_GRAPH_BYTES} bytes: a collection in the program is part of it; \
                         read large data from files"
                    );
                    return Err(ErrorAnswer::new(StatusCode::PAYLOAD_TOO_LARGE, text));
                }
            }
            received.plan = Some((name, plan.freeze()));
            continue;
        }
        let mut file = spool.file(received.files.len()).await.map_err(not_kept)?;
        while let Some(chunk) = field.chunk().await.map_err(broken)? {
            file.write(&chunk).await.map_err(not_kept)?;
        }
        received.files.insert(name, file.finish().await.map_err(not_kept)?);
    }
    Ok(received)
}

/// A directory for the files of one form, removed when this value is dropped.
struct Spool(PathBuf);

impl Spool {
    fn new(directory: &Path) -> std::io::Result<Self> {
        let path = directory.join(format!("front-{}", hex::encode(rand::random::<[u8; 8]>())));
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }

    async fn file(&self, number: usize) -> std::io::Result<Writing> {
        let path = self.0.join(number.to_string());
        let file =
            tokio::io::BufWriter::with_capacity(1 << 20, tokio::fs::File::create(&path).await?);
        Ok(Writing { path, file, hasher: Sha256::new(), size_bytes: 0 })
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        // What cannot be removed goes with the attempt's directory.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Writing {
    path: PathBuf,
    file: tokio::io::BufWriter<tokio::fs::File>,
    hasher: Sha256,
    size_bytes: u64,
}

impl Writing {
    async fn write(&mut self, chunk: &[u8]) -> std::io::Result<()> {
        self.hasher.update(chunk);
        self.size_bytes += chunk.len() as u64;
        self.file.write_all(chunk).await
    }

    async fn finish(mut self) -> std::io::Result<SpooledFile> {
        self.file.flush().await?;
        let digest = Digest::from_bytes(self.hasher.finalize().into());
        Ok(SpooledFile { path: self.path, digest, size_bytes: self.size_bytes })
    }
}

fn missing(what: &str) -> ErrorAnswer {
    ErrorAnswer::new(StatusCode::BAD_REQUEST, format!("the form lacks {what}"))
}

fn not_kept(error: std::io::Error) -> ErrorAnswer {
    ErrorAnswer::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        format!("the upload cannot be kept: {error}"),
    )
}
