//! One span per call, a child of the caller's span. The span lasts until the answer's last byte:
//! the span of a stream is as long as the stream.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use super::around::{Answering, Around, Below};
use super::withhold::TraceId;
use super::{Call, Reply, authenticate};
use crate::telemetry::{fields, trace};

#[derive(Clone, Copy)]
pub(super) struct Trace;

impl Around for Trace {
    fn around<S: Below>(&self, below: &mut S, call: Call) -> Answering {
        let span = span(&call);
        if let Some(context) = trace::extract(call.headers()) {
            trace::set_parent(&span, context);
        }
        let answer = span.in_scope(|| below.call(call));
        let until_answered = span.clone();
        let answered = async move {
            let (parts, body) = answer.await?.into_parts();
            // An answer without a body has its status here, and any other answer in its trailers.
            record_code(&span, &parts.headers);
            Ok(Reply::from_parts(parts, Body::new(Traced { body, span })))
        };
        Box::pin(answered.instrument(until_answered))
    }
}

/// Writes down how a call ended, if these headers say so.
fn record_code(span: &Span, headers: &HeaderMap) {
    if let Some(status) = Status::from_header_map(headers) {
        span.record(fields::RPC_CODE, tracing::field::debug(status.code()));
    }
}

/// A body that keeps its call's span open and writes the call's status into it.
struct Traced {
    body: Body,
    span: Span,
}

impl http_body::Body for Traced {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let polled = this.span.in_scope(|| Pin::new(&mut this.body).poll_frame(cx));
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(trailers) = frame.trailers_ref()
        {
            record_code(&this.span, trailers);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The span of a call. Probes of health and reflection are no part of an application's story, so
/// theirs are debug spans, which are not exported.
fn span(call: &Call) -> tracing::Span {
    let method = call.uri().path();
    let id = call.extensions().get::<TraceId>().map_or("", |id| id.0.as_str());
    if authenticate::is_exempt(method) {
        return tracing::debug_span!(
            "rpc",
            { fields::RPC_METHOD } = method,
            { fields::RPC_CODE } = Empty
        );
    }
    tracing::info_span!(
        "rpc",
        otel.name = method.trim_start_matches('/'),
        otel.kind = "server",
        { fields::RPC_METHOD } = method,
        { fields::TRACE_ID } = id,
        { fields::RPC_CODE } = Empty,
    )
}
