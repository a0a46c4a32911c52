//! A stored graph as the multipart form that Flink's client would send.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use chassis::BoxError;
use client::error::CallError;
use client::payloads::Payloads;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;

use crate::graph::{GraphFile, JobGraph};
use chassis::http::Body;

const PLAN_NAME: &str = "plan.bin";

/// The form that `POST /jobs` takes.
pub(super) struct Form {
    pub(super) content_type: String,
    pub(super) body: Body,
    /// Why a file could not be read to its end, which cuts the body off; the JobManager then
    /// reports no more than a broken connection.
    pub(super) unreadable: Unreadable,
}

/// An error that is set at most once.
pub(super) type Unreadable = Arc<OnceLock<CallError>>;

/// The form of a graph, as Flink's client would send it. Files are read from the record while they
/// are sent.
pub(super) fn form(graph: &JobGraph, payloads: &Payloads) -> Form {
    let unreadable = Unreadable::default();
    let boundary = hex::encode(rand::random::<[u8; 16]>());
    let mut parts = vec![
        // Netty takes no line break before the first boundary.
        once(head(&boundary, "request", None).slice(2..)).boxed(),
        once(request(graph).into()).boxed(),
        once(head(&boundary, "file_0", Some(PLAN_NAME))).boxed(),
        once(graph.plan.clone()).boxed(),
    ];
    for (number, file) in (1..).zip(&graph.files) {
        parts.push(once(head(&boundary, &format!("file_{number}"), Some(&file.name))).boxed());
        parts.push(content(file.clone(), payloads.clone(), unreadable.clone()).boxed());
    }
    parts.push(once(format!("\r\n--{boundary}--\r\n").into()).boxed());
    let frames = stream::iter(parts).flatten().map_ok(Frame::data);
    let content_type = format!("multipart/form-data; boundary={boundary}");
    Form { content_type, body: StreamBody::new(frames).boxed_unsync(), unreadable }
}

/// The part of the form that says which file has which purpose.
fn request(graph: &JobGraph) -> String {
    let jars: Vec<&str> = graph
        .files
        .iter()
        .filter(|file| file.entry.is_none())
        .map(|file| file.name.as_str())
        .collect();
    let artifacts: Vec<_> = graph
        .files
        .iter()
        .filter_map(|file| {
            let entry = file.entry.as_ref()?;
            Some(serde_json::json!({"entryName": entry, "fileName": file.name}))
        })
        .collect();
    serde_json::json!({
        "executionPlanFileName": PLAN_NAME,
        "jobJarFileNames": jars,
        "jobArtifactFileNames": artifacts,
    })
    .to_string()
}

fn head(boundary: &str, name: &str, file: Option<&str>) -> Bytes {
    let kind = if file.is_some() { "application/octet-stream" } else { "application/json" };
    let file = file.map(|file| format!("; filename=\"{}\"", file.replace(['"', '\r', '\n'], "_")));
    let file = file.unwrap_or_default();
    let head = format!(
        "\r\n--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\nContent-Type: {kind}\r\n\r\n"
    );
    head.into()
}

fn once(bytes: Bytes) -> impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static {
    stream::iter([Ok(bytes)])
}

fn content(
    file: GraphFile,
    payloads: Payloads,
    unreadable: Unreadable,
) -> impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static {
    let opened = async move { payloads.get_verified(file.digest).await };
    stream::once(opened).try_flatten().map_err(move |error| {
        // The first error stands, because nothing is sent after it.
        let _ = unreadable.set(error.clone());
        BoxError::from(error)
    })
}
