//! A panic of a method is `Internal` for its caller and leaves every other call alone.

use std::panic::AssertUnwindSafe;
use std::task::{Context, Poll};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tower::{Layer, Service};

use super::withhold::{TraceId, internal};
use super::{Call, Reply};
use crate::tasks::panic_message;
use crate::telemetry::trace;

#[derive(Debug, Clone, Copy)]
pub(super) struct CatchPanicLayer;

impl<S> Layer<S> for CatchPanicLayer {
    type Service = CatchPanic<S>;

    fn layer(&self, inner: S) -> CatchPanic<S> {
        CatchPanic { inner }
    }
}

#[derive(Debug, Clone)]
pub(super) struct CatchPanic<S> {
    inner: S,
}

impl<S> Service<Call> for CatchPanic<S>
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

    fn call(&mut self, mut call: Call) -> Self::Future {
        // The topmost layer names the call, so that a panic of the layers below is found in the
        // logs as well.
        let trace_id = TraceId(trace::id_of_call(call.headers()));
        call.extensions_mut().insert(trace_id.clone());
        let method = call.uri().path().to_owned();
        let answer = self.inner.call(call);
        Box::pin(async move {
            match AssertUnwindSafe(answer).catch_unwind().await {
                Ok(answer) => answer,
                Err(panic) => {
                    let text = format!("{method} panicked: {}", panic_message(&*panic));
                    Ok(internal(&trace_id, &text).into_http())
                }
            }
        })
    }
}
