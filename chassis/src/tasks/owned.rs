//! Work that belongs to a value, and work that belongs to nobody.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio_util::task::AbortOnDropHandle;

use super::{HowItEnded, TaskFailed, caught, spawn};

/// A task that ends with this value at the latest. Awaited, it answers what the task came to, or
/// that it panicked.
#[derive(Debug)]
#[must_use = "the task is cut when this is dropped"]
pub struct OwnedTask<T> {
    name: &'static str,
    task: AbortOnDropHandle<Result<T, TaskFailed>>,
}

/// Begins work that belongs to whoever keeps the answer. A panic is logged with the name, also when
/// nobody awaits it. Call it inside the runtime.
pub fn owned<F>(name: &'static str, task: F) -> OwnedTask<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    OwnedTask { name, task: AbortOnDropHandle::new(spawn(told(name, task))) }
}

/// Begins work that goes on after whoever began it. `why` is for those who read the code: nothing
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
    /// Ends it before its owner goes.
    pub fn cut(&self) {
        self.task.abort();
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }
}

impl<T> Future for OwnedTask<T> {
    type Output = Result<T, TaskFailed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ended = ready!(Pin::new(&mut self.task).poll(cx));
        // Cut while it was awaited: only the end of the runtime does that.
        Poll::Ready(
            ended.unwrap_or_else(|_| Err(TaskFailed { task: self.name.to_owned(), how: HowItEnded::Cut })),
        )
    }
}
