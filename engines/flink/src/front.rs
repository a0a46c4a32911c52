//! Flink's REST API as the JVM that runs main() sees it, one front per attempt. A request that
//! concerns the life of jobs becomes a call of `ExecutionService` and is answered from the record;
//! everything else is passed on to the JobManager as it is.
//!
//! | request | becomes |
//! | --- | --- |
//! | `POST /mainspring/v1/jobs` | `AssignJob`: the static id, before there is a plan |
//! | `POST /jobs` | jars into the record, then `Execute`; answered once the graph is there |
//! | `GET /jobs/ID/status`, `/execution-result` | `WatchJob`: from the record, until it changes |
//! | `PATCH /jobs/ID`, `GET /jobs/ID/yarn-cancel`, `/yarn-stop` | `CancelJob` |
//! | `POST /jobs/ID/savepoints`, `/stop` | `RequestSavepoint`: a wish in the record |
//! | `GET /jobs/ID/savepoints/TRIGGER` | `GetSavepoint` |
//! | anything else | the JobManager's |

mod answers;
mod assigned;
mod cancel;
mod guest;
mod proxy;
mod savepoint;
mod submission;
mod views;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use chassis::clock::SharedClock;
use chassis::credential::Credential;
use chassis::tasks::Tasks;
use chassis::transport::{Endpoint, Incoming, SharedTransport};
use client::error::CallError;
use client::execution::Execution;
use http::{StatusCode, header};

use crate::json::Json;
use assigned::Assigned;
use views::Views;

/// The host at which the JVM that runs main() finds the front, because both are always on one
/// machine.
const HOST: &str = "127.0.0.1";

/// The file with the port, beside the other files of the attempt. main() has the port in its
/// configuration, and has to find a restarted front at the same port.
const PORT_FILE: &str = "front.port";

/// The front of one attempt; cheap to clone.
///
/// The front keeps on the disk what a restart must not lose: its port, and the calls that have a
/// job's id and no plan yet. Everything else is in the record or at the JobManager.
#[derive(Clone)]
pub struct Front(Arc<Inner>);

struct Inner {
    execution: Execution,
    token: Credential,
    assigned: Assigned,
    views: Views,
    /// Where uploads are put down until their digests are known.
    directory: PathBuf,
    transport: SharedTransport,
    clock: SharedClock,
    tasks: Tasks,
}

impl Front {
    /// A front that takes this token, main()'s, from its callers. `directory` is this attempt's
    /// own.
    pub fn new(
        execution: Execution,
        token: Credential,
        directory: PathBuf,
        transport: SharedTransport,
        clock: SharedClock,
        tasks: Tasks,
    ) -> io::Result<Self> {
        let assigned = Assigned::open(&directory)?;
        let views = Views::new(execution.clone());
        Ok(Self(Arc::new(Inner {
            execution,
            token,
            assigned,
            views,
            directory,
            transport,
            clock,
            tasks,
        })))
    }
}

/// Binds the front's port; a front that is started again binds the port that it had.
pub async fn listen(transport: &SharedTransport, directory: &Path) -> io::Result<(Incoming, u16)> {
    let file = directory.join(PORT_FILE);
    let kept = std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok());
    let incoming =
        transport.listen(&Endpoint::Tcp(HOST.to_owned(), kept.unwrap_or_default())).await?;
    let Endpoint::Tcp(_, port) = incoming.endpoint().clone() else {
        return Err(io::Error::other("the front needs a TCP port"));
    };
    std::fs::write(file, port.to_string())?;
    Ok((incoming, port))
}

/// The routes, below `/v1` as Flink's client asks, and without it as Flink's web page and people
/// do.
pub fn router(front: Front) -> Router {
    let api = Router::new()
        .route("/jobs", post(submission::submit).get(proxy::pass))
        .route("/jobs/{job}/status", get(answers::status))
        .route("/jobs/{job}/execution-result", get(answers::execution_result))
        .route("/jobs/{job}/savepoints", post(savepoint::take))
        .route("/jobs/{job}/savepoints/{trigger}", get(savepoint::status))
        .route("/jobs/{job}/stop", post(savepoint::stop))
        .route("/jobs/{job}/yarn-cancel", get(cancel::cancel))
        .route("/jobs/{job}/yarn-stop", get(cancel::cancel))
        .route("/jobs/{job}", patch(cancel::cancel).get(proxy::pass));
    Router::new()
        .route("/mainspring/v1/jobs", post(submission::assign))
        .nest("/v1", api.clone())
        .merge(api)
        .fallback(proxy::pass)
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(front.clone(), authorize))
        .with_state(front)
}

async fn authorize(State(front): State<Front>, request: Request, next: Next) -> Response {
    let shown = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = shown.and_then(|text| text.strip_prefix("Bearer "));
    if token.is_some_and(|token| front.0.token.matches(token.trim())) {
        next.run(request).await
    } else {
        let message = "this is the front of a mainspring application: only its main() may call it";
        ErrorAnswer::new(StatusCode::UNAUTHORIZED, message).into_response()
    }
}

/// An answer that Flink's client shows to the program: an error with a text.
#[derive(Debug)]
struct ErrorAnswer {
    status: StatusCode,
    reason: String,
    message: String,
}

impl ErrorAnswer {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, reason: String::new(), message: message.into() }
    }
}

impl From<CallError> for ErrorAnswer {
    fn from(error: CallError) -> Self {
        use proto::Code;
        let status = match error.code() {
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => StatusCode::CONFLICT,
            Code::InvalidArgument | Code::ResourceExhausted | Code::OutOfRange => {
                StatusCode::BAD_REQUEST
            }
            // Flink's client tries again after this status, and after no other.
            Code::Unavailable | Code::DeadlineExceeded => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let reason = error.reason().map(|reason| reason.as_str().to_owned()).unwrap_or_default();
        Self { status, reason, message: error.to_string() }
    }
}

impl IntoResponse for ErrorAnswer {
    fn into_response(self) -> Response {
        // Flink's client takes this field for an error, and no other.
        (self.status, Json(serde_json::json!({ "errors": [self.message] }))).into_response()
    }
}
