//! What main() may ask of a cluster that other applications use too: about its own jobs, and about
//! nothing that concerns others.

use axum::response::Response;
use chassis::BoxError;
use chassis::http::collect;
use http::{Method, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::Value;

use super::{ErrorAnswer, Front};

/// The largest list of jobs that is read, in bytes.
const MAX_LIST_BYTES: usize = 64 << 20;

/// The part of the answer that is for main().
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    /// The whole answer.
    Whole,
    /// Only what it says of main()'s own jobs.
    OwnJobs,
}

/// Whether main() may ask for this, and which part of the answer it is shown.
pub(super) fn share(front: &Front, method: &Method, path: &str) -> Result<Share, ErrorAnswer> {
    share_of(method, path, |job| job.parse().is_ok_and(|job| front.0.assigned.of(job).is_some()))
}

fn share_of(
    method: &Method,
    path: &str,
    is_own: impl Fn(&str) -> bool,
) -> Result<Share, ErrorAnswer> {
    let path = path.split('?').next().unwrap_or_default();
    let path = path.strip_prefix("/v1/").or_else(|| path.strip_prefix('/')).unwrap_or(path);
    let parts: Vec<&str> = path.split('/').collect();
    match (method, parts.as_slice()) {
        (&Method::GET, ["jobs"] | ["jobs", "overview"]) => Ok(Share::OwnJobs),
        (&Method::GET, ["config" | "overview"]) => Ok(Share::Whole),
        (_, ["jobs", job, ..]) if is_own(job) => Ok(Share::Whole),
        (_, ["jobs", job, ..]) => {
            let text =
                format!("this application has no job {job}, and does not see those of others");
            Err(ErrorAnswer::new(StatusCode::NOT_FOUND, text))
        }
        _ => {
            let text = format!(
                "{method} /{path} concerns everybody who uses this session cluster: ask it directly"
            );
            Err(ErrorAnswer::new(StatusCode::FORBIDDEN, text))
        }
    }
}

/// A list of jobs, without those of others.
pub(super) async fn own_jobs(front: &Front, answer: Response) -> Result<Response, ErrorAnswer> {
    let (mut parts, body) = answer.into_parts();
    let broken =
        |error: &dyn ToString| ErrorAnswer::new(StatusCode::BAD_GATEWAY, error.to_string());
    let bytes = collect(body.map_err(BoxError::from).boxed_unsync(), MAX_LIST_BYTES)
        .await
        .map_err(|e| broken(&e))?;
    let mut list: Value = serde_json::from_slice(&bytes).map_err(|error| broken(&error))?;
    if let Some(jobs) = list.get_mut("jobs").and_then(Value::as_array_mut) {
        jobs.retain(|job| {
            let id = job
                .get("id")
                .or_else(|| job.get("jid"))
                .and_then(Value::as_str)
                .unwrap_or_default();
            id.parse().is_ok_and(|id| front.0.assigned.of(id).is_some())
        });
    }
    parts.headers.remove(header::CONTENT_LENGTH);
    Ok(Response::from_parts(parts, axum::body::Body::from(list.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn main_asks_about_its_own_jobs_and_changes_nothing_of_others() {
        let asked = |method: &str, path: &str| {
            let method: Method = method.parse().unwrap();
            share_of(&method, path, |job| job == "own").map_err(|error| error.status.as_u16())
        };
        for (method, path, expected) in [
            ("GET", "/v1/jobs", Ok(Share::OwnJobs)),
            ("GET", "/jobs/overview?x=1", Ok(Share::OwnJobs)),
            ("GET", "/v1/jobs/own/accumulators", Ok(Share::Whole)),
            ("POST", "/jobs/own/coordinators/7", Ok(Share::Whole)),
            ("GET", "/config", Ok(Share::Whole)),
            ("GET", "/jobs/other", Err(404)),
            ("PATCH", "/v1/jobs/other?mode=cancel", Err(404)),
            ("POST", "/jobs/other/stop", Err(404)),
            ("GET", "/jobs//other", Err(404)),
            ("GET", "/v1/v1/jobs/other", Err(403)),
            ("DELETE", "/v1/cluster", Err(403)),
            ("POST", "/jars/upload", Err(403)),
            ("GET", "/taskmanagers", Err(403)),
            ("POST", "/config", Err(403)),
        ] {
            assert_eq!(asked(method, path), expected, "{method} {path}");
        }
    }
}
