//! Work that belongs to a value, and work that belongs to nothing.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio_util::task::AbortOnDropHandle;

use super::{HowItEnded, TaskFailed, caught, spawn};

/// A task that ends with this value at the latest. Awaiting the value answers what the task came
/// to, or that it panicked.
#[derive(Debug)]
#[must_use = "the task is cut when this is dropped"]
pub struct OwnedTask<T> {
    name: &'static str,
    task: AbortOnDropHandle<Result<T, TaskFailed>>,
}

/// Begins work that belongs to the value that this returns. A panic is logged with the name, also
/// when the value is never awaited. The call has to come inside the runtime.
pub fn owned<F>(name: &'static str, task: F) -> OwnedTask<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    OwnedTask { name, task: AbortOnDropHandle::new(spawn(told(name, task))) }
}

/// Begins work that goes on after its caller has left. `why` is for readers of the code: nothing
/// waits for this work, no shutdown does either, and a panic in it is only logged.
pub fn detached<F>(name: &'static str, why: &'static str, task: F)
where
    F: Future<Output = ()> + Send + 'static,
{
    tracing::trace!(task = name, why, "detached");
    drop(spawn(told(name, task)));
}

async fn told<F: Future>(name: &str, task: F) -> Result<F::Output, TaskFailed> {
    let done = caught(name, task).await;
    if let Err(failed) = &done {
        tracing::error!("{failed}");
    }
    done
}

impl<T> OwnedTask<T> {
    /// Ends the task before its owner goes.
    pub fn cut(&self) {
        self.task.abort();
    }

    /// Whether the task has ended.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }
}

impl<T> Future for OwnedTask<T> {
    type Output = Result<T, TaskFailed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ended = ready!(Pin::new(&mut self.task).poll(cx));
        // Only the end of the runtime cuts a task while it is awaited.
        Poll::Ready(ended.unwrap_or_else(|_| {
            Err(TaskFailed { task: self.name.to_owned(), how: HowItEnded::Cut })
        }))
    }
}
