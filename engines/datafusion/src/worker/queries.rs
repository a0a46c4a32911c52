//! Threads for queries alone, because a query that keeps its threads busy must not keep a leader's
//! calls, or probes, waiting.

use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::error::JobError;
use crate::execute;

/// The runtime that jobs run on. A query that still runs when this value is dropped is left to end
/// with the process.
pub(super) struct Queries(Option<Runtime>);

impl Queries {
    pub(super) fn start() -> std::io::Result<Self> {
        execute::runtime().map(|runtime| Self(Some(runtime)))
    }

    /// Runs one query on those threads; dropping the future ends the query. A panic in a query is a
    /// failure of its job, not of the worker.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        query: impl Future<Output = Result<T, JobError>> + Send + 'static,
    ) -> Result<T, JobError> {
        let runtime = self.0.as_ref().expect("it is taken only when it is dropped");
        let mut task = JoinSet::new();
        task.spawn_on(query, runtime.handle());
        let ended = task.join_next().await.expect("it was spawned here");
        ended.unwrap_or_else(|error| {
            Err(JobError::Failed(format!("the engine gave up on this query: {error}")))
        })
    }
}

impl Drop for Queries {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
