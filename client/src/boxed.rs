//! A boxed stream that has a type of its own.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;
use futures::stream::BoxStream;

/// A stream of any type. Within an async trait the compiler cannot show that a future which holds a
/// `dyn Stream + 'static` is `Send`; for a named type it can.
pub struct Boxed<T>(pub BoxStream<'static, T>);

impl<T> Stream for Boxed<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl<T> std::fmt::Debug for Boxed<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Boxed")
    }
}
