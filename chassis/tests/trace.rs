//! Trace context through the wire. This is a test binary of its own, because the subscriber is the
//! process's, and other tests want none.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

#[allow(dead_code, reason = "this binary needs only a part of it")]
#[path = "grpc/fixture.rs"]
mod fixture;

use std::sync::Once;

use chassis::telemetry::trace::{
    carry, carry_from, continue_from, current_trace_id, current_traceparent, extract, inject,
};
use fixture::{Fixture, resign, soon};
use http::HeaderMap;
use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Instrument as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// Turns traces on for this process.
fn traced() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let provider = SdkTracerProvider::builder().build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing_subscriber::registry().with(layer).init();
    });
}

#[test]
fn a_span_continues_the_trace_it_is_given_and_passes_it_on() {
    traced();
    let span = tracing::info_span!("child");
    continue_from(&span, PARENT);
    let _entered = span.enter();
    assert_eq!(current_trace_id().unwrap(), TRACE);
    let mut sent = HeaderMap::new();
    inject(&mut sent);
    let context = extract(&sent).unwrap();
    assert_eq!(context.span().span_context().trace_id().to_string(), TRACE);
    let onward = current_traceparent().unwrap();
    assert!(
        onward.starts_with(&format!("00-{TRACE}-")) && onward != PARENT,
        "{onward} names a span of its own"
    );
}

#[test]
fn a_malformed_parent_begins_a_trace_of_its_own() {
    traced();
    for text in ["", "x", "00-zz-b7ad6b7169203331-01", "\n"] {
        let span = tracing::info_span!("child");
        continue_from(&span, text);
        let id = span.in_scope(current_trace_id).unwrap();
        assert!(id.len() == 32 && id != TRACE, "{text:?} gave {id}");
    }
}

#[tokio::test]
async fn a_call_continues_its_callers_trace() {
    traced();
    let server = Fixture::start().await;
    let span = tracing::info_span!("caller");
    continue_from(&span, PARENT);
    let mut client = server.client();
    let call = async { soon(client.resign(resign("names its trace"))).await };
    assert_eq!(call.instrument(span).await.unwrap_err().message(), TRACE);
}

#[tokio::test]
async fn a_task_stays_in_the_trace_that_it_was_spawned_in() {
    traced();
    let span = tracing::info_span!("cause");
    continue_from(&span, PARENT);
    let task =
        span.in_scope(|| carry(async { (current_traceparent(), tracing::Span::current().id()) }));
    let cause = span.in_scope(current_traceparent);
    // The cause is over before what it began.
    drop(span);
    let (carried, open) = tokio::spawn(task).await.unwrap();
    assert_eq!((carried, open), (cause, None));
    let named = tokio::spawn(carry_from(PARENT, async {
        tracing::info_span!("child").in_scope(current_trace_id)
    }));
    assert_eq!(named.await.unwrap().unwrap(), TRACE);
    let of_none = tokio::spawn(carry_from("", async { current_trace_id() }));
    assert_eq!(of_none.await.unwrap(), None);
}
