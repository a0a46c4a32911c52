//! A service keeps its own defects to itself: the text of an `Internal` goes to the log, and the
//! caller gets the id under which the text is found there. What tonic itself refuses gets its
//! stable reason here.

use http::HeaderMap;
use http_body_util::BodyExt as _;
use proto::{Problem, Reason};
use tonic::body::Body;
use tonic::{Code, Status};

use super::around::{Answering, Around, Below};
use super::{Call, Reply};
use crate::telemetry::fields;

/// The id under which a call is found in the logs: the caller's trace id, or one made for the call,
/// 32 hex digits. Every request has it in its extensions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TraceId(pub String);

#[derive(Clone, Copy)]
pub(super) struct Withhold;

impl Around for Withhold {
    fn around<S: Below>(&self, below: &mut S, call: Call) -> Answering {
        let trace_id = call.extensions().get::<TraceId>().cloned().unwrap_or_default();
        let answer = below.call(call);
        Box::pin(async move {
            let (mut parts, body) = answer.await?.into_parts();
            replace(&mut parts.headers, &trace_id);
            let body = body.map_frame(move |mut frame| {
                if let Some(trailers) = frame.trailers_mut() {
                    replace(trailers, &trace_id);
                }
                frame
            });
            Ok(Reply::from_parts(parts, Body::new(body)))
        })
    }
}

/// The status for a defect, whose text is logged here and nowhere else.
pub(super) fn internal(trace_id: &TraceId, text: &str) -> Status {
    tracing::error!({ fields::TRACE_ID } = %trace_id.0, "internal: {text}");
    let message =
        format!("a defect of this service; its log has the details under trace {}", trace_id.0);
    Problem::new(Reason::Internal, message).metadata("trace_id", &trace_id.0).into_status()
}

/// How tonic begins its refusal of a message over the limit. The refusal has no reason, and the
/// method never sees the message.
const TOO_LARGE: &str = "Error, decoded message length too large: ";

/// The refusal of a message over the limit, with its reason.
fn too_large(status: &Status) -> Option<Status> {
    let sizes =
        status.message().strip_prefix(TOO_LARGE).filter(|_| status.code() == Code::OutOfRange)?;
    let message = format!("the message is too large: {sizes}");
    let problem = Problem::new(Reason::MessageTooLarge, message);
    Some(problem.metadata("limit_bytes", crate::MAX_MESSAGE_BYTES).into_status())
}

/// Replaces an `Internal`, and a refusal of tonic's, in headers or trailers.
fn replace(headers: &mut HeaderMap, trace_id: &TraceId) {
    let Some(status) = Status::from_header_map(headers) else { return };
    let replaced = match status.code() {
        Code::Internal => internal(trace_id, status.message()),
        _ => match too_large(&status) {
            Some(replaced) => replaced,
            None => return,
        },
    };
    for name in ["grpc-message", "grpc-status-details-bin"] {
        headers.remove(name);
    }
    if replaced.add_header(headers).is_err() {
        tracing::debug!("a status that does not fit into headers");
    }
}
