//! One job from its start to the record of its end.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chassis::backoff::Backoff;
use chassis::clock::{Clock as _, SharedClock};
use chassis::failpoint;
use chassis::tasks::Tasks;
use chassis::telemetry::{fields, trace};
use client::error::CallError;
use client::payloads::Payloads;
use jobs_service::NewJob;
use proto::JobId;
use proto::engine::EngineJobState;
use proto::job::JobEnd;
use record::{Record, Standing};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::config::Config;
use super::queries::Queries;
use super::results;
use crate::error::JobError;
use crate::execute::{self, JobOutput, ProgressGauge, RunContext};
use crate::graph::JobGraph;
use crate::wire;

/// The shortest and the longest pause between two tries while the store is away. The first pauses
/// are short, so that a restart of the store costs little.
const MIN_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// What all jobs of this process run with.
pub(super) struct Workshop {
    pub(super) config: Config,
    pub(super) record: Arc<dyn Record>,
    pub(super) payloads: Payloads,
    pub(super) clock: SharedClock,
    pub(super) tasks: Tasks,
    /// The threads that jobs run on.
    pub(super) queries: Queries,
    /// How many jobs may run at once.
    pub(super) turns: Arc<Semaphore>,
}

/// One run of a job.
pub(super) struct Run {
    pub(super) graph: JobGraph,
    pub(super) progress: ProgressGauge,
    pub(super) cancel: CancellationToken,
    /// Called with each state that the job comes to.
    pub(super) tell: Box<dyn Fn(EngineJobState) + Send + Sync>,
}

pub(super) fn spawn(workshop: Arc<Workshop>, job: NewJob, run: Run) {
    let own = workshop.config.cluster.fence();
    let span = tracing::info_span!(
        parent: None,
        "job",
        { fields::APP_ID } = %own.application.id,
        { fields::INCARNATION } = own.incarnation.get(),
        { fields::EPOCH } = job.epoch.get(),
        { fields::JOB_ID } = %job.id,
        { fields::JOB_NAME } = job.name,
    );
    trace::continue_from_current(&span);
    let tasks = workshop.tasks.clone();
    let name = format!("job {}", job.id);
    let work = async move {
        let shutdown = workshop.tasks.shutdown().clone();
        tokio::select! {
            // The cluster is going away, and its next incarnation runs the job again, so that no
            // end is told.
            () = shutdown.begun() => Ok(()),
            done = until_recorded(&workshop, job, run) => done,
        }
    };
    tasks.spawn_job(name, work.instrument(span));
}

/// Runs the job and records its end. An error ends the process, because the record refuses an end
/// for good once a later incarnation has superseded this one.
async fn until_recorded(workshop: &Workshop, job: NewJob, run: Run) -> Result<(), CallError> {
    let Run { graph, progress, cancel, tell } = run;
    let began = workshop.clock.boot();
    let work_dir = workshop.config.work_dir.join(format!("job-{}", job.id));
    let context = RunContext {
        incarnation: workshop.config.cluster.incarnation,
        memory_limit_bytes: workshop.config.memory_limit_bytes,
        result_limit_bytes: workshop.config.result_limit_bytes,
        own_job_ids: (!job.own_job_ids.is_empty()).then_some(job.own_job_ids),
        progress: progress.clone(),
        cancel,
        ..RunContext::new(job.id.to_string(), workshop.config.cluster.incarnation, work_dir.clone())
    };
    let done = attempt(workshop, &tell, graph, context).await;
    tell(EngineJobState::Ending);
    let elapsed = workshop.clock.boot().saturating_duration_since(began);
    let end = match &done {
        Ok(output) => {
            let mut end = wire::succeeded(output, elapsed);
            if let Some(result) = &output.result {
                let (digest, size) =
                    patiently(workshop, || results::keep(&workshop.payloads, &result.path)).await?;
                end.result_digest = digest.to_string();
                end.result_size_bytes = size;
            }
            end
        }
        Err(error) => wire::failed(error, progress.snapshot(), elapsed),
    };
    record(workshop, job.id, end, done.ok()).await?;
    let _ = tokio::fs::remove_dir_all(&work_dir).await;
    tell(EngineJobState::Ended);
    Ok(())
}

async fn attempt(
    workshop: &Workshop,
    tell: &(dyn Fn(EngineJobState) + Send + Sync),
    graph: JobGraph,
    context: RunContext,
) -> Result<JobOutput, JobError> {
    let turn = tokio::select! {
        () = context.cancel.cancelled() => return Err(JobError::Cancelled),
        turn = workshop.turns.acquire() => turn.expect("the semaphore is never closed"),
    };
    tell(EngineJobState::Running);
    tokio::fs::create_dir_all(&context.work_dir)
        .await
        .map_err(|source| JobError::Io { path: PathBuf::from(&context.work_dir), source })?;
    let query = async move { execute::run(&graph, &context).await };
    let done = workshop.queries.run(query.in_current_span()).await;
    drop(turn);
    done
}

/// Records the end. If another end stands already, what was staged here is removed, because it will
/// never be published.
async fn record(
    workshop: &Workshop,
    id: JobId,
    end: JobEnd,
    output: Option<JobOutput>,
) -> Result<(), CallError> {
    let outcome = end.outcome();
    let fence = workshop.config.cluster.fence();
    let Standing { recorded, stands } = patiently(workshop, || async {
        let ended = workshop.record.job_ended(&fence, id, end.clone());
        failpoint::around("worker.record-job-end", ended).await.map_err(CallError::from)
    })
    .await?;
    tracing::info!(outcome = outcome.as_str_name(), message = %end.message, recorded, "ended");
    let ours = recorded || stands.manifest == end.manifest;
    if let (false, Some(output)) = (ours, output) {
        for output in &output.outputs {
            let _ = tokio::fs::remove_dir_all(output.location.join(&output.staging)).await;
        }
    }
    Ok(())
}

/// Repeats the call, with jitter, for as long as the store is away; the store's refusals are final.
async fn patiently<T, F, Fut>(workshop: &Workshop, call: F) -> Result<T, CallError>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<T, CallError>>,
{
    let mut backoff = Backoff::new(MIN_PAUSE, MAX_PAUSE);
    loop {
        let error = match call().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        // A connection that breaks shows as one of several codes without a reason of ours. A store
        // that is full is waited for, too.
        let away = error.is_retryable()
            || error.reason().is_none()
            || error.reason() == Some(proto::Reason::StoreFull);
        if !away {
            return Err(error);
        }
        let pause = backoff.next_delay().max(error.retry_after().unwrap_or_default());
        tracing::warn!(error = %error, "the store is away; the end of the job waits");
        workshop.clock.sleep(pause).await;
    }
}
