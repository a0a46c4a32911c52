//! A program that cancels a job of its own.

use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use super::answers::parse;
use super::{ErrorAnswer, Front};
use crate::json::Json;

/// `PATCH /jobs/ID?mode=cancel`.
pub(super) async fn cancel(
    State(front): State<Front>,
    Path(job): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ErrorAnswer> {
    let query = query.unwrap_or_default();
    match query.split('&').find_map(|pair| pair.strip_prefix("mode=")) {
        None | Some("cancel") => {}
        Some(other) => {
            let text = format!("mode={other} is not there any more: use stop with a savepoint");
            return Err(ErrorAnswer::new(StatusCode::BAD_REQUEST, text));
        }
    }
    front.0.execution.cancel_job(parse(&job)?, "main() asked for it").await?;
    Ok((StatusCode::ACCEPTED, Json(serde_json::json!({}))).into_response())
}
