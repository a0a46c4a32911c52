//! W3C trace context between processes: in gRPC metadata, in the environment, in the record. Where
//! traces are off there is nothing to pass on, and everything here does nothing.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::context::FutureExt as _;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use rand::Rng as _;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The environment variable through which a child continues its parent's trace.
pub const TRACEPARENT_VARIABLE: &str = "TRACEPARENT";

/// The header of the trace context, and its key in any other carrier.
pub const TRACEPARENT: &str = "traceparent";

/// Writes the current span's context into headers. Does nothing if the span is not part of a trace.
pub fn inject(headers: &mut HeaderMap) {
    if let Some(context) = current() {
        TraceContextPropagator::new().inject_context(&context, &mut Headers(headers));
    }
}

/// The caller's context in headers, if there is a valid one.
pub fn extract(headers: &HeaderMap) -> Option<Context> {
    headers.contains_key(TRACEPARENT).then_some(())?;
    valid(TraceContextPropagator::new().extract_with_context(&Context::new(), &HeadersRef(headers)))
}

/// The current span's context as a `traceparent`, for a record or for a child's
/// [`TRACEPARENT_VARIABLE`].
pub fn current_traceparent() -> Option<String> {
    let mut headers = HeaderMap::new();
    inject(&mut headers);
    Some(headers.get(TRACEPARENT)?.to_str().ok()?.to_owned())
}

/// Makes `span`, which must not have been entered yet, a child of the span that a `traceparent`
/// names. Does nothing for a malformed `traceparent`: a trace is never worth an error.
pub fn continue_from(span: &Span, traceparent: &str) {
    if let Some(context) = named(traceparent) {
        set_parent(span, context);
    }
}

/// As [`continue_from`], with the `traceparent` that this process was started with.
pub fn continue_from_environment(span: &Span) {
    if let Ok(traceparent) = std::env::var(TRACEPARENT_VARIABLE) {
        continue_from(span, &traceparent);
    }
}

/// As [`continue_from`], with the current span. A plain child would hold its parent open until its
/// own end, so this is for a span that outlives its cause, as a job outlives the call that
/// submitted it.
pub fn continue_from_current(span: &Span) {
    if let Some(context) = current() {
        set_parent(span, context);
    }
}

/// Keeps a task that is about to be spawned in the current trace, without holding the current span
/// open.
pub fn carry<F: Future>(task: F) -> impl Future<Output = F::Output> + use<F> {
    let context = current().map(|context| context.span().span_context().clone());
    // Only the ids are carried: the rest of the context would live as long as the task.
    let remote = context.map(|ids| Context::new().with_remote_span_context(ids));
    task.with_context(remote.unwrap_or_default())
}

/// As [`carry`], below the span that a `traceparent` names; outside of all traces if the text names
/// none.
pub fn carry_from<F: Future>(
    traceparent: &str,
    task: F,
) -> impl Future<Output = F::Output> + use<F> {
    task.with_context(named(traceparent).unwrap_or_default())
}

/// The current span's trace id, 32 hex digits, if it is part of a trace.
pub fn current_trace_id() -> Option<String> {
    Some(current()?.span().span_context().trace_id().to_string())
}

/// The id under which an rpc is found in the logs: its caller's trace id, or a new one where there
/// is none.
pub(crate) fn id_of_call(headers: &HeaderMap) -> String {
    let of_caller =
        extract(headers).map(|context| context.span().span_context().trace_id().to_string());
    of_caller.unwrap_or_else(|| {
        let mut bytes = [0; 16];
        rand::rng().fill_bytes(&mut bytes);
        hex::encode(bytes)
    })
}

pub(crate) fn set_parent(span: &Span, context: Context) {
    // The parent is refused when traces are off or the span was entered already; either way the
    // trace is merely shorter.
    let _ = span.set_parent(context);
}

/// The context of the current span, or else the context that this task [carries](carry).
fn current() -> Option<Context> {
    valid(Span::current().context()).or_else(|| valid(Context::current()))
}

/// The context that a `traceparent` names.
fn named(traceparent: &str) -> Option<Context> {
    let mut headers = HeaderMap::new();
    headers.insert(TRACEPARENT, HeaderValue::from_str(traceparent).ok()?);
    extract(&headers)
}

fn valid(context: Context) -> Option<Context> {
    let is_valid = context.span().span_context().is_valid();
    is_valid.then_some(context)
}

struct Headers<'a>(&'a mut HeaderMap);

impl Injector for Headers<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}

struct HeadersRef<'a>(&'a HeaderMap);

impl Extractor for HeadersRef<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

#[cfg(test)]
mod tests;
