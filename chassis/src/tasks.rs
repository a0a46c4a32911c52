//! Tasks with names, and how they end. Everything that runs beside its caller begins here;
//! `tokio::spawn` is shut off elsewhere. Which of these to take depends on what the work belongs
//! to:
//!
//! | the work belongs to | take | when it ends badly |
//! | --- | --- | --- |
//! | a process, or an attempt | [`TaskSet`], [`Tasks`] | all of it ends, with the task's name |
//! | a value | [`owned`] | its owner hears of it or finds its channel closed; cut with the value |
//! | a stream's reader | [`fed`] | the stream's last item is the error; it is cut with the stream |
//! | nothing: it goes on after its caller | [`detached`], with a reason | the log says so |
//!
//! A shutdown is asked for once, waits a grace period, and then cuts.

mod fed;
mod owned;
mod shutdown;
mod watchdog;

use std::any::Any;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle};
use tracing::Instrument as _;

use crate::BoxError;
use crate::clock::{SharedClock, timeout};

pub use fed::{Fed, Feed, fed};
pub use owned::{OwnedTask, detached, owned};
pub use shutdown::Shutdown;
pub use watchdog::Pulse;

/// A task that ended when it should not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("task {task} {how}")]
pub struct TaskFailed {
    /// The name of the task.
    pub task: String,
    /// How the task ended.
    pub how: HowItEnded,
}

/// How a task ended that should not have ended so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HowItEnded {
    /// The task returned before the process was asked to end.
    #[error("returned early")]
    Returned,
    /// The task returned an error.
    #[error("failed: {0}")]
    Failed(String),
    /// The task panicked.
    #[error("panicked: {0}")]
    Panicked(String),
    /// The task was still there when the grace period was over, and was cut.
    #[error("did not end within the grace period")]
    Cut,
}

impl From<TaskFailed> for tonic::Status {
    /// A failed task is a defect, so the server withholds the text from callers.
    fn from(failed: TaskFailed) -> Self {
        Self::internal(failed.to_string())
    }
}

/// The tasks of one process, or of a part of it with an end of its own.
///
/// [`spawn`](Tasks::spawn) and [`spawn_loop`](Tasks::spawn_loop) are for parts that live as long as
/// the process, [`spawn_job`](Tasks::spawn_job) for work that ends by itself. Each kind ends the
/// process by an error or a panic. No task outlives the set: dropping the set cuts what is left.
#[derive(Debug)]
pub struct TaskSet {
    tasks: Tasks,
    clock: SharedClockDebug,
    ended: mpsc::UnboundedReceiver<Ended>,
}

/// A handle for spawning on a [`TaskSet`] from elsewhere; all clones spawn on the same set.
#[derive(Debug, Clone)]
pub struct Tasks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shutdown: Shutdown,
    /// Holds at most one message per task.
    ended: mpsc::UnboundedSender<Ended>,
    roster: Mutex<Roster>,
}

#[derive(Debug, Default)]
struct Roster {
    next: u64,
    tasks: BTreeMap<u64, (String, AbortHandle)>,
    /// Whether the set is gone: the end of a task that begins now would not be noticed.
    closed: bool,
}

#[derive(Debug)]
struct Ended {
    id: u64,
    name: String,
    how: Option<HowItEnded>,
}

/// Tells of a task's end, also when the task is cut.
struct Tells {
    inner: Arc<Inner>,
    id: u64,
    name: String,
    how: Option<HowItEnded>,
}

impl Tells {
    fn of(mut self, how: Option<HowItEnded>) {
        self.how = how;
    }
}

impl Drop for Tells {
    fn drop(&mut self) {
        let ended =
            Ended { id: self.id, name: std::mem::take(&mut self.name), how: self.how.take() };
        // Sending fails only when the set is gone, and then the end concerns no task.
        let _ = self.inner.ended.send(ended);
    }
}

struct SharedClockDebug(SharedClock);

impl std::fmt::Debug for SharedClockDebug {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

impl TaskSet {
    /// An empty set that ends when `shutdown` begins.
    pub fn new(shutdown: Shutdown, clock: SharedClock) -> Self {
        let (sender, ended) = mpsc::unbounded_channel();
        let inner = Inner { shutdown, ended: sender, roster: Mutex::default() };
        Self { tasks: Tasks(Arc::new(inner)), clock: SharedClockDebug(clock), ended }
    }

    /// A handle for spawning from elsewhere.
    pub fn handle(&self) -> Tasks {
        self.tasks.clone()
    }

    /// See [`Tasks::spawn`].
    pub fn spawn<F, E>(&self, name: impl Into<String>, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        self.tasks.spawn(name, task);
    }

    /// See [`Tasks::spawn_job`].
    pub fn spawn_job<F, E>(&self, name: impl Into<String>, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        self.tasks.spawn_job(name, task);
    }

    /// See [`Tasks::spawn_loop`].
    pub fn spawn_loop<F>(&self, name: impl Into<String>, turns: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks.spawn_loop(name, turns);
    }

    /// Runs until the shutdown begins or a task ends badly (which begins the shutdown), then waits
    /// for all tasks, at most for `grace`, and aborts what is left. The first bad end is the
    /// answer.
    pub async fn run(mut self, grace: Duration) -> Result<(), TaskFailed> {
        let mut verdict = Ok(());
        let shutdown = self.tasks.0.shutdown.clone();
        tokio::select! {
            () = shutdown.begun() => {}
            failed = self.failed() => {
                verdict = Err(failed);
                shutdown.begin();
            }
        }
        tracing::debug!("shutting down: waiting for {} task(s)", self.tasks.roster().tasks.len());
        let rest = async {
            while !self.tasks.roster().tasks.is_empty() {
                if let Some(ended) = self.ended.recv().await
                    && let Some(failed) = self.tasks.note(ended)
                    && verdict.is_ok()
                {
                    verdict = Err(failed);
                }
            }
        };
        if timeout(&self.clock.0, grace, rest).await.is_err() {
            // The drop of `self` cuts these tasks.
            for (name, _) in self.tasks.roster().tasks.values() {
                tracing::warn!(task = %name, "cut: did not end within {grace:?}");
                if verdict.is_ok() {
                    verdict = Err(TaskFailed { task: name.clone(), how: HowItEnded::Cut });
                }
            }
        }
        verdict
    }

    /// Waits for the first task that ends badly; for ever while none does. This is for a part of a
    /// process that looks at other things as well, and decides by itself what a bad end means.
    pub async fn failed(&mut self) -> TaskFailed {
        loop {
            match self.ended.recv().await {
                Some(ended) => {
                    if let Some(failed) = self.tasks.note(ended) {
                        return failed;
                    }
                }
                // The set holds a sender itself, so the channel never closes.
                None => std::future::pending().await,
            }
        }
    }

    /// Cuts all tasks, and returns when they are gone with everything that they held.
    pub async fn cut(mut self) {
        self.abort();
        while !self.tasks.roster().tasks.is_empty() {
            if let Some(ended) = self.ended.recv().await {
                self.tasks.note(ended);
            }
        }
    }

    fn abort(&self) {
        self.tasks.0.shutdown.begin();
        let mut roster = self.tasks.roster();
        roster.closed = true;
        for (_, task) in roster.tasks.values() {
            task.abort();
        }
    }
}

impl Drop for TaskSet {
    /// Cuts every task, also when `run` was dropped or never called: nothing lives detached.
    fn drop(&mut self) {
        self.abort();
    }
}

impl Tasks {
    /// Spawns a part of the process: its return before the shutdown, its error and its panic end
    /// the process.
    pub fn spawn<F, E>(&self, name: impl Into<String>, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        self.start(name.into(), task, true);
    }

    /// Spawns work that ends by itself: only its error and its panic end the process.
    pub fn spawn_job<F, E>(&self, name: impl Into<String>, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        self.start(name.into(), task, false);
    }

    /// Spawns a part of the process that never ends by itself: the shutdown cuts it where it waits.
    /// Its return and its panic end the process.
    pub fn spawn_loop<F>(&self, name: impl Into<String>, turns: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let shutdown = self.0.shutdown.token();
        self.spawn(name, async move {
            shutdown.run_until_cancelled(turns).await;
            Ok::<_, Infallible>(())
        });
    }

    /// The shutdown that the tasks live under.
    pub fn shutdown(&self) -> &Shutdown {
        &self.0.shutdown
    }

    fn start<F, E>(&self, name: String, task: F, lasting: bool)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let span = tracing::debug_span!("task", name = %name);
        // The lock is held over the spawn, so that a task that ends at once is in the list before
        // its end is noted.
        let mut roster = self.roster();
        if roster.closed {
            tracing::debug!(task = %name, "not begun: all that it would belong to has ended");
            return;
        }
        let id = roster.next;
        roster.next += 1;
        let tells = Tells { inner: self.0.clone(), id, name: name.clone(), how: None };
        let run = async move {
            // The task is taken first and so dropped first, also when it is cut before it began:
            // what the task held is gone when its end is told.
            let task = task;
            let how = match caught(&tells.name, task).await {
                Ok(Ok(())) if lasting && !tells.inner.shutdown.is_begun() => {
                    Some(HowItEnded::Returned)
                }
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(HowItEnded::Failed(whole_chain(&*error.into()))),
                Err(panicked) => Some(panicked.how),
            };
            tells.of(how);
        };
        let task = spawn(run.instrument(span));
        roster.tasks.insert(id, (name, task.abort_handle()));
    }

    fn note(&self, ended: Ended) -> Option<TaskFailed> {
        self.roster().tasks.remove(&ended.id);
        let Some(how) = ended.how else {
            tracing::debug!(task = %ended.name, "ended");
            return None;
        };
        let failed = TaskFailed { task: ended.name, how };
        tracing::error!("{failed}");
        Some(failed)
    }

    fn roster(&self) -> MutexGuard<'_, Roster> {
        self.0.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Begins a task; this is the one place where tasks begin.
#[allow(clippy::disallowed_methods, reason = "the one place where tasks are spawned")]
fn spawn<F>(task: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(task)
}

/// What a task comes to. A panic becomes an error with the task's name.
async fn caught<F: Future>(name: &str, task: F) -> Result<F::Output, TaskFailed> {
    AssertUnwindSafe(task).catch_unwind().await.map_err(|panic| TaskFailed {
        task: name.to_owned(),
        how: HowItEnded::Panicked(panic_message(&*panic)),
    })
}

/// An error's text with those of its causes.
fn whole_chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without a message").to_owned()
}

#[cfg(test)]
mod tests;
