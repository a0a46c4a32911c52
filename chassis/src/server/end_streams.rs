//! Streams end when the process does: a subscriber is told `Unavailable` and connects again,
//! instead of holding up the shutdown for ever.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::Status;
use tonic::body::Body;

use super::around::{Answering, Around, Below};
use super::{Call, Reply};
use crate::tasks::Shutdown;

#[derive(Clone)]
pub(super) struct EndStreams {
    shutdown: Shutdown,
}

impl EndStreams {
    pub(super) fn new(shutdown: Shutdown) -> Self {
        Self { shutdown }
    }
}

impl Around for EndStreams {
    fn around<S: Below>(&self, below: &mut S, call: Call) -> Answering {
        let shutdown = self.shutdown.clone();
        let answer = below.call(call);
        Box::pin(async move {
            let (parts, inner) = answer.await?.into_parts();
            let shutdown = Box::pin(shutdown.token().cancelled_owned());
            Ok(Reply::from_parts(parts, Body::new(Ending { inner: Some(inner), shutdown })))
        })
    }
}

/// A body that ends at the shutdown, once it has nothing more to send at that moment.
struct Ending {
    inner: Option<Body>,
    shutdown: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl http_body::Body for Ending {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
        // The method comes first: an answer that is ready, or a last word of the method's own, is
        // delivered.
        if let Poll::Ready(frame) = Pin::new(inner).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        if this.shutdown.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        this.inner = None;
        let mut trailers = HeaderMap::new();
        let ended = Status::unavailable("this service is shutting down; connect again");
        Poll::Ready(Some(ended.add_header(&mut trailers).map(|()| Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}
