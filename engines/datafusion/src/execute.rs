//! Runs a stored graph: rows go into one Arrow IPC file, or files are staged below their target.
//!
//! Nothing is written here where a reader of the target would see it; [`crate::publish`] does that
//! once the job's end is in the record.

mod counters;
mod rows;
mod stage;

use std::collections::HashSet;
use std::path::PathBuf;

use datafusion::execution::context::SessionContext;
use tokio_util::sync::CancellationToken;

use crate::error::JobError;
use crate::graph::{JobGraph, JobKind};
use crate::manifest::Output;
use crate::session;

pub use counters::{Counters, ProgressGauge};

/// The memory of a job without a setting: 512 MiB, beyond which the job spills.
pub const DEFAULT_MEMORY_LIMIT_BYTES: usize = 512 << 20;
/// The largest result of a SELECT without a setting: 256 MiB of Arrow IPC.
pub const DEFAULT_RESULT_LIMIT_BYTES: u64 = 256 << 20;
/// The stack of each thread, because deeply nested expressions recurse and the usual 2 MiB are too
/// few.
const STACK_BYTES: usize = 32 << 20;

/// A runtime whose threads can carry DataFusion's recursion.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .thread_name("datafusion")
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()
}

/// One run of a job, and what it may use.
#[derive(Clone, Debug)]
pub struct RunContext {
    /// The job's id, 32 hex digits.
    pub job_id: String,
    /// The cluster's incarnation, which is a part of the staging directory's name.
    pub incarnation: u64,
    /// A directory of this job's own: the result file and, below it, what is spilled.
    pub work_dir: PathBuf,
    /// The memory for operators, in bytes.
    pub memory_limit_bytes: usize,
    /// The largest result of a SELECT, in bytes of Arrow IPC.
    pub result_limit_bytes: u64,
    /// All job ids of this (application, generation); a target that holds a part of any other job
    /// is taken. `None` means that targets are not searched.
    pub own_job_ids: Option<HashSet<String>>,
    /// The job's counters, which can be read at any time from elsewhere.
    pub progress: ProgressGauge,
    /// Ends the job as cancelled.
    pub cancel: CancellationToken,
}

impl RunContext {
    /// A context with default limits and no check for foreign parts.
    pub fn new(job_id: impl Into<String>, incarnation: u64, work_dir: impl Into<PathBuf>) -> Self {
        Self {
            job_id: job_id.into(),
            incarnation,
            work_dir: work_dir.into(),
            memory_limit_bytes: DEFAULT_MEMORY_LIMIT_BYTES,
            result_limit_bytes: DEFAULT_RESULT_LIMIT_BYTES,
            own_job_ids: None,
            progress: ProgressGauge::default(),
            cancel: CancellationToken::new(),
        }
    }
}

/// What a job that succeeded has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobOutput {
    /// The rows of a SELECT.
    pub result: Option<ResultFile>,
    /// The staged files of a COPY or INSERT.
    pub outputs: Vec<Output>,
    /// The final counters.
    pub progress: Counters,
}

/// The rows of a SELECT as an Arrow IPC stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultFile {
    /// The file, below the job's work directory.
    pub path: PathBuf,
    /// How many rows are in it.
    pub rows: u64,
    /// Its size in bytes.
    pub size_bytes: u64,
}

/// Runs `graph` to its end. What a job that fails or is cancelled has staged is removed again.
pub async fn run(graph: &JobGraph, context: &RunContext) -> Result<JobOutput, JobError> {
    let spill = context.work_dir.join("spill");
    std::fs::create_dir_all(&spill).map_err(JobError::io(&spill))?;
    let session = session::worker(&graph.settings, context.memory_limit_bytes, &spill)
        .map_err(|e| JobError::from_datafusion(e, context.memory_limit_bytes))?;
    let done = tokio::select! {
        biased;
        () = context.cancel.cancelled() => Err(JobError::Cancelled),
        done = run_in(&session, graph, context) => done,
    };
    if done.is_err()
        && let JobKind::Sink(sink) = &graph.kind
    {
        stage::discard(sink, context);
    }
    // Spilled data is worthless once the job is over, however the job ended.
    drop(session);
    let _ = std::fs::remove_dir_all(&spill);
    done
}

async fn run_in(
    session: &SessionContext,
    graph: &JobGraph,
    context: &RunContext,
) -> Result<JobOutput, JobError> {
    let query = graph.query(&session.task_ctx())?;
    match &graph.kind {
        JobKind::Rows => rows::run(session, &query, context).await,
        JobKind::Sink(sink) => stage::run(session, query, sink, context).await,
    }
}

#[cfg(test)]
mod tests;
