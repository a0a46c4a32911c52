//! A layer of the stack as one function: what is done around a call.

use std::convert::Infallible;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use tower::{Layer, Service};

use super::{Call, Reply};

/// The answer that a layer will give. A layer cannot fail, because refusals are answers too.
pub(super) type Answering = BoxFuture<'static, Result<Reply, Infallible>>;

/// What one layer does around the calls that pass it.
pub(super) trait Around: Clone {
    /// Answers the call, as a rule with what `below` answers. `below` is ready for one call.
    fn around<S: Below>(&self, below: &mut S, call: Call) -> Answering;
}

/// Everything below a layer, as one service.
pub(super) trait Below:
    Service<Call, Response = Reply, Error = Infallible, Future: Send + 'static>
{
}

impl<S> Below for S where
    S: Service<Call, Response = Reply, Error = Infallible, Future: Send + 'static>
{
}

/// The layer that does this around each call.
pub(super) fn around<A: Around>(around: A) -> AroundLayer<A> {
    AroundLayer(around)
}

#[derive(Clone)]
pub(super) struct AroundLayer<A>(A);

impl<A: Around, S> Layer<S> for AroundLayer<A> {
    type Service = Layered<A, S>;

    fn layer(&self, below: S) -> Layered<A, S> {
        Layered { around: self.0.clone(), below }
    }
}

#[derive(Clone)]
pub(super) struct Layered<A, S> {
    around: A,
    below: S,
}

impl<A: Around, S: Below> Service<Call> for Layered<A, S> {
    type Response = Reply;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.below.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Answering {
        self.around.around(&mut self.below, call)
    }
}
