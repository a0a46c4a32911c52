//! Turns the refusal of the load shed into an answer that the caller understands.

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use proto::{Problem, Reason};
use tower::load_shed::error::Overloaded;
use tower::{Layer, Service};

use super::withhold::{TraceId, internal};
use super::{Call, Reply};
use crate::BoxError;

/// When a refused caller should try again; clients add jitter.
const RETRY_AFTER: Duration = Duration::from_millis(200);

#[derive(Debug, Clone, Copy)]
pub(super) struct AnswerOverloadLayer;

impl<S> Layer<S> for AnswerOverloadLayer {
    type Service = AnswerOverload<S>;

    fn layer(&self, inner: S) -> AnswerOverload<S> {
        AnswerOverload { inner }
    }
}

#[derive(Debug, Clone)]
pub(super) struct AnswerOverload<S> {
    inner: S,
}

impl<S> Service<Call> for AnswerOverload<S>
where
    S: Service<Call, Response = Reply, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = Reply;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Reply, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // The load shed is always ready and refuses in the call itself; an error here comes again
        // from the call.
        self.inner.poll_ready(cx).map(|_| Ok(()))
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let trace_id = call.extensions().get::<TraceId>().cloned().unwrap_or_default();
        let answer = self.inner.call(call);
        Box::pin(async move {
            Ok(answer.await.unwrap_or_else(|error| {
                if error.is::<Overloaded>() {
                    let text =
                        "the service has as many calls as it takes; nothing was done, try again";
                    let refusal = Problem::new(Reason::Overloaded, text);
                    refusal.retry_after(RETRY_AFTER).into_status().into_http()
                } else {
                    internal(&trace_id, &error.to_string()).into_http()
                }
            }))
        })
    }
}
