//! The wire's record in the words of the model.

mod places;

use std::collections::BTreeMap;

use ::record::MainExit;
use proto::{Epoch, Incarnation, InvalidId, JobId, Place, TriggerId, api, job, jobgraph};

use crate::error::PortError;
use crate::model::{
    ClusterState, Desired, JobOutcome, MainState, Outcome, Recorded, RecordedCluster, RecordedJob,
    RecordedJobEnd, RecordedMain, Wish,
};
use places::Places;

/// What decisions need of a record, as the runner at the place `own` sees it. A malformed id of a
/// job, of a graph or of a place is refused. A value that this build does not know counts as one
/// that was not given.
pub fn record(wire: &jobgraph::Record, own: Option<&Place>) -> Result<Recorded, PortError> {
    let places = Places::seen_from(own);
    let empty = api::Application::default();
    let application = wire.application.as_ref().unwrap_or(&empty);
    let spec = application.spec.clone().unwrap_or_default();
    let wanted_artifacts = 1 + spec.artifacts.len();
    let main_ended_at = application.main.as_ref().and_then(|main| main.ended_at);
    let mut jobs = BTreeMap::new();
    for wire in &application.jobs {
        let (id, job) = job(wire, main_ended_at)?;
        jobs.insert(id, job);
    }
    let elsewhere = places.other_of_cluster(wire.cluster_place.as_ref()).map_err(malformed)?;
    let held_by = places.holding(&wire.cluster_places, elsewhere.is_some()).map_err(malformed)?;
    let main_elsewhere = places.other(wire.main_place.as_ref()).map_err(malformed)?;
    Ok(Recorded {
        revision: application.revision,
        terminal: application.terminal,
        clean: application.clean,
        outcome: outcome(application.outcome()),
        desired: desired(application.desired.as_ref()),
        pinned: application.artifacts.len() >= wanted_artifacts,
        not_repeatable: spec.on_failover() == api::OnFailover::Fail,
        lost_is_final: lost_is_final(&spec),
        cluster: cluster(wire, application.cluster.as_ref(), elsewhere),
        held_by,
        main: main(wire.main_epoch, application, main_elsewhere),
        jobs,
    })
}

fn malformed(invalid: InvalidId) -> PortError {
    PortError::refused(proto::Reason::IdMalformed, invalid.to_string())
}

/// Whether a lost job stays lost. In a static cluster it does: such a cluster keeps nothing for the
/// application, so the job would begin anew there, unless the application begins from a savepoint
/// or allows a new beginning with `resubmit_lost`.
pub fn lost_is_final(spec: &api::ApplicationSpec) -> bool {
    let from_checkpoint =
        spec.program.as_ref().is_some_and(|program| !program.savepoint.is_empty());
    spec.target == proto::target::STATIC && !spec.resubmit_lost && !from_checkpoint
}

/// One job with its id. `main_ended_at` decides whether the job ended before main() did.
pub fn job(
    wire: &api::Job,
    main_ended_at: Option<Timestamp>,
) -> Result<(JobId, RecordedJob), PortError> {
    let id: JobId = wire.job_id.parse().map_err(malformed)?;
    let later = |a: Timestamp, b: Timestamp| (a.seconds, a.nanos) > (b.seconds, b.nanos);
    let ended_before_main = match (wire.ended_at, main_ended_at) {
        (Some(job), Some(main)) => !later(job, main),
        _ => false,
    };
    let job = RecordedJob {
        name: wire.name.clone(),
        graph: wire.graph_digest.parse().map_err(malformed)?,
        graph_bytes: wire.graph_size_bytes,
        incarnation: Incarnation(wire.incarnation),
        submissions: wire.submissions,
        end: wire.end.as_ref().map(end),
        published: wire.published,
        ended_before_main,
        staged: staged(wire),
        settled: wire.savepoints.iter().filter_map(|known| known.trigger_id.parse().ok()).collect(),
    };
    Ok((id, job))
}

/// The directories where the committed output of a job waits for its final names.
fn staged(wire: &api::Job) -> String {
    let outputs = wire
        .end
        .iter()
        .filter_map(|end| end.manifest.as_ref())
        .flat_map(|manifest| &manifest.outputs);
    let directories = outputs
        .map(|output| format!("{}/{}", output.location.trim_end_matches('/'), output.staging));
    directories.collect::<Vec<_>>().join(", ")
}

type Timestamp = prost_types::Timestamp;

/// A job's end. An outcome that is unspecified counts as a failure.
pub fn end(wire: &job::JobEnd) -> RecordedJobEnd {
    let outcome = match wire.outcome() {
        job::JobOutcome::Succeeded => JobOutcome::Succeeded,
        job::JobOutcome::Cancelled => JobOutcome::Cancelled,
        job::JobOutcome::Abandoned => JobOutcome::Abandoned,
        job::JobOutcome::Lost => JobOutcome::Lost,
        job::JobOutcome::Failed | job::JobOutcome::Unspecified => JobOutcome::Failed,
    };
    RecordedJobEnd {
        outcome,
        message: wire.message.clone(),
        leaves_checkpoints: wire.leaves_checkpoints,
    }
}

/// A job's outcome on the wire.
pub fn wire_job_outcome(outcome: JobOutcome) -> job::JobOutcome {
    match outcome {
        JobOutcome::Succeeded => job::JobOutcome::Succeeded,
        JobOutcome::Failed => job::JobOutcome::Failed,
        JobOutcome::Cancelled => job::JobOutcome::Cancelled,
        JobOutcome::Abandoned => job::JobOutcome::Abandoned,
        JobOutcome::Lost => job::JobOutcome::Lost,
    }
}

/// An application's outcome; `None` while it has none.
pub fn outcome(wire: api::Outcome) -> Option<Outcome> {
    match wire {
        api::Outcome::Unspecified => None,
        api::Outcome::Succeeded => Some(Outcome::Succeeded),
        api::Outcome::Failed => Some(Outcome::Failed),
        api::Outcome::Cancelled => Some(Outcome::Cancelled),
        api::Outcome::DeadlineExceeded => Some(Outcome::DeadlineExceeded),
    }
}

/// An application's outcome on the wire.
pub fn wire_outcome(outcome: Outcome) -> api::Outcome {
    match outcome {
        Outcome::Succeeded => api::Outcome::Succeeded,
        Outcome::Failed => api::Outcome::Failed,
        Outcome::Cancelled => api::Outcome::Cancelled,
        Outcome::DeadlineExceeded => api::Outcome::DeadlineExceeded,
    }
}

fn desired(wire: Option<&api::Desired>) -> Desired {
    wire.map_or_else(Desired::default, |wire| Desired {
        cancel: wire.cancel,
        abandon: wire.abandon,
        reason: wire.reason.clone(),
        requested_by: wire.requested_by.clone(),
        revision: wire.revision,
        savepoints: wire.savepoints.iter().flat_map(wishes).collect(),
    })
}

/// One wish for each job that a request names. An id that cannot be parsed is skipped, because no
/// store has written it.
fn wishes(wire: &api::SavepointWish) -> impl Iterator<Item = Wish> {
    let jobs = wire.job_ids.iter().filter_map(|id| id.parse::<JobId>().ok());
    jobs.map(|job| Wish {
        job,
        trigger: TriggerId::derive(&wire.request_id, job),
        directory: wire.directory.clone(),
        stop: wire.stop,
        drain: wire.drain,
        format: wire.format.clone(),
    })
}

fn cluster(
    record: &jobgraph::Record,
    wire: Option<&api::Cluster>,
    elsewhere: Option<String>,
) -> RecordedCluster {
    let Some(wire) = wire.filter(|cluster| cluster.incarnation != 0) else {
        return RecordedCluster::default();
    };
    let state = match wire.state() {
        api::ClusterState::Ready if !record.jobs_endpoint.is_empty() => ClusterState::Ready,
        api::ClusterState::Gone => ClusterState::Gone,
        _ => ClusterState::Starting,
    };
    RecordedCluster {
        incarnation: Incarnation(wire.incarnation),
        state,
        jobs_endpoint: record.jobs_endpoint.clone(),
        elsewhere,
    }
}

fn main(epoch: u64, application: &api::Application, elsewhere: Option<String>) -> RecordedMain {
    let Some(wire) = &application.main else { return RecordedMain::default() };
    let state = match wire.state() {
        api::MainState::Unspecified => MainState::Never,
        api::MainState::Starting | api::MainState::Running => MainState::Begun,
        api::MainState::Ended => MainState::Ended,
    };
    let past = |ended: Timestamp, deadline: Timestamp| {
        (ended.seconds, ended.nanos) >= (deadline.seconds, deadline.nanos)
    };
    let ended_after_deadline = match (wire.ended_at, application.deadline_at) {
        (Some(ended), Some(deadline)) => past(ended, deadline),
        _ => false,
    };
    let exit = (state == MainState::Ended).then(|| MainExit {
        code: wire.exit_code,
        signal: wire.signal,
        signal_sender: wire.signal_sender.clone(),
    });
    let kills = wire.kills;
    RecordedMain { state, epoch: Epoch(epoch), elsewhere, exit, ended_after_deadline, kills }
}
