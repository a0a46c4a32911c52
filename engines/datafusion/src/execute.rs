//! Runs a stored graph: rows into one Arrow IPC file, or files staged below their target.
//!
//! Nothing that a reader could see is written here; [`crate::publish`] does that after the end is in the record.

mod progress;
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

pub use progress::{Progress, ProgressGauge};

/// Memory of a job without a setting: 512 MiB, beyond which it spills.
pub const DEFAULT_MEMORY_LIMIT_BYTES: usize = 512 << 20;
/// Largest result of a SELECT without a setting: 256 MiB of Arrow IPC.
pub const DEFAULT_RESULT_LIMIT_BYTES: u64 = 256 << 20;
/// Deeply nested expressions recurse; the usual 2 MiB are too few.
const STACK_BYTES: usize = 32 << 20;

/// A runtime whose threads can carry DataFusion's recursion.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .thread_name("datafusion")
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()
}

/// One life of a job, and what it may use.
#[derive(Clone, Debug)]
pub struct RunContext {
    /// 32 hex digits.
    pub job_id: String,
    /// The cluster's incarnation; part of the staging directory's name.
    pub incarnation: u64,
    /// A directory of this job's own: the result file and, below it, what is spilled.
    pub work_dir: PathBuf,
    /// Memory for operators, in bytes.
    pub memory_limit_bytes: usize,
    /// Largest result of a SELECT, in bytes of Arrow IPC.
    pub result_limit_bytes: u64,
    /// All job ids of this (application, generation): parts of any other make a target taken. `None`: not looked at.
    pub own_job_ids: Option<HashSet<String>>,
    /// Counters, readable at any time from elsewhere.
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

/// What a job left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobOutput {
    /// Rows of a SELECT.
    pub result: Option<ResultFile>,
    /// Staged files of a COPY or INSERT.
    pub outputs: Vec<Output>,
    /// Final counters.
    pub progress: Progress,
}

/// The rows of a SELECT as an Arrow IPC stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultFile {
    /// Below the job's work directory.
    pub path: PathBuf,
    /// Rows in it.
    pub rows: u64,
    /// Its size.
    pub size_bytes: u64,
}

/// Runs `graph` to its end. What was staged by a job that fails or is cancelled is removed again.
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
    // What is left of spilling is worthless, whatever happened.
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
