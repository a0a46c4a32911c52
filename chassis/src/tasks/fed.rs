//! A stream with the task that feeds it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::Stream;
use tokio::sync::mpsc;

use super::{OwnedTask, TaskFailed, owned};

/// A stream of what a task feeds. Dropping the stream cuts the task; an error of the task, or its
/// panic, is the last item.
#[derive(Debug)]
pub struct Fed<T, E> {
    items: mpsc::Receiver<T>,
    /// The feeder, until its end was looked at.
    feeder: Option<OwnedTask<Result<(), E>>>,
}

/// The feeder's end of a [`Fed`] stream.
#[derive(Debug)]
pub struct Feed<T>(mpsc::Sender<T>);

/// A stream of what `feeder` sends, with room for `room` items that were not read yet. The feeder
/// is cut where it waits when the reader leaves: what has to be done all the same is for a `Drop`,
/// or for another kind of task.
pub fn fed<T, E, F>(name: &'static str, room: usize, feeder: impl FnOnce(Feed<T>) -> F) -> Fed<T, E>
where
    T: Send + 'static,
    E: From<TaskFailed> + Send + 'static,
    F: Future<Output = Result<(), E>> + Send + 'static,
{
    let (sender, items) = mpsc::channel(room);
    Fed { items, feeder: Some(owned(name, feeder(Feed(sender)))) }
}

impl<T> Feed<T> {
    /// Hands an item on once there is room. The call does not return when the stream is gone,
    /// because the feeder is being cut.
    pub async fn send(&self, item: T) {
        if self.0.send(item).await.is_err() {
            std::future::pending().await
        }
    }

    /// Hands an item on if there is room; a slow reader misses it.
    pub fn offer(&self, item: T) {
        // The stream is full or gone, and either way the item is not read.
        let _ = self.0.try_send(item);
    }
}

impl<T, E: From<TaskFailed>> Stream for Fed<T, E> {
    type Item = Result<T, E>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(item) = ready!(self.items.poll_recv(cx)) {
            return Poll::Ready(Some(Ok(item)));
        }
        let Some(feeder) = &mut self.feeder else { return Poll::Ready(None) };
        let ended = ready!(Pin::new(feeder).poll(cx));
        self.feeder = None;
        Poll::Ready(ended.map_err(E::from).flatten().err().map(Err))
    }
}
