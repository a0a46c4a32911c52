//! One span per call, a child of the caller's span.

use std::task::{Context, Poll};

use futures::future::BoxFuture;
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::Instrument as _;
use tracing::field::Empty;

use super::withhold::TraceId;
use super::{Call, Reply, authenticate};
use crate::telemetry::{fields, trace};

#[derive(Debug, Clone, Copy)]
pub(super) struct TraceLayer;

impl<S> Layer<S> for TraceLayer {
    type Service = Trace<S>;

    fn layer(&self, inner: S) -> Trace<S> {
        Trace { inner }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Trace<S> {
    inner: S,
}

impl<S> Service<Call> for Trace<S>
where
    S: Service<Call, Response = Reply>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Reply;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Reply, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let span = span(&call);
        if let Some(context) = trace::extract(call.headers()) {
            trace::set_parent(&span, context);
        }
        let answer = span.in_scope(|| self.inner.call(call));
        Box::pin(
            async move {
                let answer = answer.await?;
                let code = Status::from_header_map(answer.headers()).map_or(Code::Ok, |status| status.code());
                tracing::Span::current().record(fields::RPC_CODE, tracing::field::debug(code));
                Ok(answer)
            }
            .instrument(span),
        )
    }
}

/// Probes of health and reflection are no part of anybody's story: theirs are debug spans, which are not exported.
fn span(call: &Call) -> tracing::Span {
    let method = call.uri().path();
    let id = call.extensions().get::<TraceId>().map_or("", |id| id.0.as_str());
    if authenticate::is_exempt(method) {
        return tracing::debug_span!("rpc", { fields::RPC_METHOD } = method, { fields::RPC_CODE } = Empty);
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
