//! Passes on what is the JobManager's own business, byte for byte in both directions.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use chassis::BoxError;
use chassis::clock::{Boot, Clock as _};
use chassis::transport::Endpoint;
use http::{HeaderName, StatusCode, header};
use http_body_util::BodyExt as _;

use super::guest::{self, Share};
use super::{ErrorAnswer, Front};
use crate::session;
use chassis::http::{endpoint, full, send};

/// How long a request is held while there is no JobManager; after that Flink's client is told to
/// come again.
const HOLD: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The largest body that is kept to be sent again when a JobManager could not be reached.
const MAX_HELD_BYTES: u64 = 1 << 20;

/// Headers that are meant for this connection, and not for the next one.
const HOP_BY_HOP: [HeaderName; 5] =
    [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE, header::TE, header::TRAILER];

/// Passes a request on to the JobManager of the present incarnation.
pub(super) async fn pass(State(front): State<Front>, request: Request) -> Response {
    let until = front.0.clock.boot() + HOLD;
    match forward(&front, request, until).await {
        Ok(answer) => answer,
        Err(error) => error.into_response(),
    }
}

async fn forward(front: &Front, request: Request, until: Boot) -> Result<Response, ErrorAnswer> {
    let (mut parts, body) = request.into_parts();
    // The token is for the front; the JobManager has nothing to do with it.
    parts.headers.remove(header::AUTHORIZATION);
    for name in HOP_BY_HOP {
        parts.headers.remove(name);
    }
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    parts.uri = path
        .parse()
        .map_err(|_| ErrorAnswer::new(StatusCode::BAD_REQUEST, "the path is malformed"))?;
    let length = parts
        .headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let small = length.is_some_and(|length: u64| length <= MAX_HELD_BYTES);
    let mut streamed = None;
    let mut held = None;
    if small {
        let bytes = body
            .collect()
            .await
            .map_err(|error| ErrorAnswer::new(StatusCode::BAD_REQUEST, error.to_string()))?;
        held = Some(bytes.to_bytes());
    } else {
        streamed = Some(body.map_err(BoxError::from).boxed_unsync());
    }
    loop {
        let peer = jobmanager(front, until).await?;
        let share =
            if peer.is_shared { guest::share(front, &parts.method, &path)? } else { Share::Whole };
        let body = match (&held, streamed.take()) {
            (Some(bytes), _) => full(bytes.clone()),
            (None, Some(body)) => body,
            (None, None) => return Err(away("the JobManager could not be reached")),
        };
        match send(
            &front.0.transport,
            &peer.endpoint,
            http::Request::from_parts(parts.clone(), body),
        )
        .await
        {
            Ok(answer) => {
                let (mut parts, body) = answer.into_parts();
                for name in HOP_BY_HOP {
                    parts.headers.remove(name);
                }
                let answer = Response::from_parts(parts, axum::body::Body::new(body));
                return match share {
                    Share::Whole => Ok(answer),
                    Share::OwnJobs => guest::own_jobs(front, answer).await,
                };
            }
            Err(error) if error.unsent && front.0.clock.boot() < until => {
                tracing::debug!("{error}");
                front.0.clock.sleep(LOOK_AGAIN).await;
            }
            Err(error) => return Err(away(&error.to_string())),
        }
    }
}

/// The present JobManager.
struct Peer {
    endpoint: Endpoint,
    /// Whether other applications use it too.
    is_shared: bool,
}

/// Waits for a JobManager, and answers where the present one serves.
async fn jobmanager(front: &Front, until: Boot) -> Result<Peer, ErrorAnswer> {
    loop {
        let cluster = front.0.execution.cluster().await?;
        for (name, is_shared) in [(session::ADDRESS, true), ("jobmanager/rest", false)] {
            if let Some(endpoint) =
                cluster.addresses.get(name).and_then(|address| endpoint(address))
            {
                return Ok(Peer { endpoint, is_shared });
            }
        }
        if front.0.clock.boot() >= until {
            return Err(away("the application has no cluster right now"));
        }
        front.0.clock.sleep(LOOK_AGAIN).await;
    }
}

fn away(text: &str) -> ErrorAnswer {
    ErrorAnswer::new(StatusCode::SERVICE_UNAVAILABLE, text)
}
