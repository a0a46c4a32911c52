//! Jobs: their way into the cluster, to their ends, and of their outputs to final names.

use std::sync::Arc;
use std::time::Duration;

use chassis::clock::Clock as _;
use chassis::failpoint;
use proto::{Incarnation, JobId, Reason, job};

use super::{Complaint, Performed, complain};
use crate::error::{PortError, PortErrorKind};
use crate::model::{Fact, Failure, JobOutcome, RecordedJob};
use crate::ports::jobs::Submission;
use crate::ports::{PortResult, view};
use crate::service::retry::backoff;
use crate::service::shared::Shared;

/// How long cancelled jobs may take to record their ends before the leader records them.
const CANCEL_BOUND: Duration = Duration::from_secs(10);

pub(super) async fn submit(
    shared: &Arc<Shared>,
    job: JobId,
    incarnation: Incarnation,
) -> Performed {
    let Some(submission) = submission(shared, job).await? else { return Ok(Vec::new()) };
    // The record knows before the cluster hears of the job: a short job may have ended before
    // another write came through.
    shared
        .patiently("record a submission", || {
            let submitted = shared.ports.record.job_submitted(&shared.fence, job, incarnation);
            failpoint::around("runner.record-submission", submitted)
        })
        .await?;
    let submitted = shared
        .patiently("submit a job", || {
            let submitted = shared.ports.jobs.submit(incarnation, &submission);
            failpoint::around("runner.submit", submitted)
        })
        .await;
    match submitted {
        Ok(()) => {}
        Err(error) if error.is_superseded() => return Err(error),
        Err(error) if error.reason == Some(Reason::NotAdopted) => {
            return Ok(vec![Fact::AdoptAgain(incarnation)]);
        }
        Err(error) if error.reason == Some(Reason::IncarnationSuperseded) => {
            return Ok(vec![Fact::ClusterDied { incarnation, message: error.message }]);
        }
        Err(error) => {
            return end(shared, job, JobOutcome::Failed, &error.failure(Reason::GraphUnreadable))
                .await;
        }
    }
    Ok(vec![Fact::Submitted { job, incarnation }])
}

/// The stored graph of a job. A job that the latest record lacks was stored a moment ago, so the
/// record is read anew.
async fn submission(shared: &Shared, job: JobId) -> PortResult<Option<Submission>> {
    if shared.job(job).is_none() {
        shared.refresh().await?;
    }
    let Some(stored) = shared.job(job) else { return Ok(None) };
    let (_, recorded) = view::job(&stored, None)?;
    let RecordedJob { name, graph, graph_bytes, .. } = recorded;
    Ok(Some(Submission { job, name, graph, graph_bytes, own: shared.own_jobs() }))
}

pub(super) async fn cancel(
    shared: &Arc<Shared>,
    job: JobId,
    incarnation: Incarnation,
    reason: &str,
) -> Performed {
    let cancelled =
        shared.patiently("cancel a job", || shared.ports.jobs.cancel(incarnation, job, reason));
    match cancelled.await {
        Ok(()) => Ok(vec![Fact::CancelSent(job)]),
        Err(error) if error.is_superseded() => Err(error),
        Err(error) if error.reason == Some(Reason::NotAdopted) => {
            Ok(vec![Fact::AdoptAgain(incarnation)])
        }
        Err(error) => {
            // The job counts as asked to end. The bound of the wait records the end if the cluster
            // does not.
            tracing::warn!("job {job} cannot be cancelled in its cluster: {error}");
            Ok(vec![Fact::CancelSent(job)])
        }
    }
}

pub(super) async fn cancel_bound(shared: &Arc<Shared>) -> Vec<Fact> {
    shared.ports.clock.sleep(CANCEL_BOUND).await;
    vec![Fact::CancelBoundPassed]
}

pub(super) async fn end(
    shared: &Arc<Shared>,
    job: JobId,
    outcome: JobOutcome,
    why: &Failure,
) -> Performed {
    let end = job::JobEnd {
        outcome: view::wire_job_outcome(outcome).into(),
        reason: why.reason.map(|reason| reason.as_str().to_owned()).unwrap_or_default(),
        message: why.message.clone(),
        ..job::JobEnd::default()
    };
    let standing = shared
        .patiently("record a job's end", || {
            shared.ports.record.leader_job_ended(&shared.fence, job, end.clone())
        })
        .await?;
    let live = *shared.live.borrow();
    if outcome != JobOutcome::Failed
        && let Some(incarnation) = live
        && let Err(error) = shared.ports.jobs.cancel(incarnation, job, &why.message).await
    {
        // The cluster may never have known the job; an end of its own would come too late to count.
        tracing::debug!("job {job} in its cluster: {error}");
    }
    shared.refresh().await?;
    Ok(vec![Fact::JobEnded { job, end: view::end(&standing.stands) }])
}

pub(super) async fn publish(shared: &Arc<Shared>, job: JobId) -> Performed {
    if shared.job(job).is_none_or(|job| job.end.is_none()) {
        shared.refresh().await?;
    }
    // A test plants the bug to see that it would be noticed.
    if failpoint::is_planted("runner.recorded-before-published") {
        record_published(shared, job).await?;
    }
    failpoint::around("runner.publish", publish_files(shared, job)).await?;
    record_published(shared, job).await?;
    Ok(vec![Fact::Published(job)])
}

async fn record_published(shared: &Shared, job: JobId) -> PortResult<()> {
    let record = || async {
        // What follows is not passed for sure: the watch of the record overtakes the answer.
        failpoint::hit("runner.before-record-published").await;
        shared.ports.record.published(&shared.fence, job).await
    };
    shared.patiently("record a publication", record).await
}

fn manifest(shared: &Shared, job: JobId) -> job::Manifest {
    shared.job(job).and_then(|job| job.end).and_then(|end| end.manifest).unwrap_or_default()
}

/// Publishes a job's files. The end of the job is committed, so the publication is tried until it
/// works or a user says `abandon`; each cause that keeps it from working is told once.
async fn publish_files(shared: &Shared, job: JobId) -> PortResult<()> {
    let mut manifest = manifest(shared, job);
    let own = shared.own_jobs();
    let mut backoff = backoff();
    loop {
        let published = if manifest.outputs.is_empty() {
            return Ok(());
        } else if manifest.files_digest.is_empty() {
            shared.ports.engine.publish(job, manifest.clone(), &own).await
        } else {
            // The store hands out what it can read of a damaged manifest: the places without their
            // files.
            let digest = &manifest.files_digest;
            let text = format!("the list of its files is damaged in the record: payload {digest}");
            Err(PortError::refused(Reason::DataCorrupt, text))
        };
        let error = match published {
            Ok(()) => return Ok(()),
            Err(error) if matches!(error.kind, PortErrorKind::Superseded(_)) => return Err(error),
            Err(error) => error,
        };
        // An error without a reason means that `describe` is away; it is started again.
        if let Some(reason) = error.reason {
            complain(shared, unpublished(shared, job, reason, &error.message)).await;
        }
        shared.ports.clock.sleep(backoff.next_delay()).await;
        if error.reason == Some(Reason::DataCorrupt) {
            // An operator may have restored the payload.
            shared.refresh().await?;
            manifest = self::manifest(shared, job);
        }
    }
}

fn unpublished(shared: &Shared, job: JobId, reason: Reason, why: &str) -> Complaint<'static> {
    let name = shared.job(job).map_or_else(|| job.to_string(), |job| job.name);
    let why = why.split("; help: ").next().unwrap_or(why);
    let application = shared.application();
    let text = format!(
        "the output of job {name:?} is committed and cannot be put in its place; it is tried again: {why}; help: once the \
         target can be written it goes on by itself; to give the output up: mainspring abandon {application} (if main() \
         still waits for it, mainspring cancel {application} first)"
    );
    Complaint { condition: "Published", kind: "warning", reason, text, job: Some(job) }
}
