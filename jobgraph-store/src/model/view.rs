//! Facts as people and leaders read them.

use std::collections::BTreeSet;

use proto::{JobId, api, jobgraph};

use super::Dossier;
use crate::keys::checkpoint::Checkpoints;
use crate::keys::job::StoredJob;

/// The application as people see it, without its observation.
pub fn application(dossier: &Dossier, revision: u64) -> api::Application {
    let spec = dossier.spec.clone();
    let mut shown = dossier.state.application().clone();
    shown.application_id = dossier.application.id.to_string();
    shown.generation = dossier.application.generation.get();
    shown.spec = spec.spec;
    shown.labels = spec.labels.into_iter().collect();
    shown.annotations = spec.annotations.into_iter().collect();
    shown.submitted_at = spec.submitted_at;
    shown.deadline_at = spec.deadline_at;
    shown.jobs = dossier.jobs.iter().map(|(id, job)| shown_job(dossier, *id, job)).collect();
    shown.jobs.sort_by(|a, b| {
        (a.ordinal, a.occurrence, &a.job_id).cmp(&(b.ordinal, b.occurrence, &b.job_id))
    });
    shown.artifacts.clone_from(&dossier.artifacts.pinned);
    shown.desired = Some(dossier.desired.clone());
    shown.traceparent.clone_from(&dossier.spec.traceparent);
    shown.uid.clone_from(&dossier.spec.uid);
    shown.revision = revision;
    shown
}

/// A job as people see it, with what it would resume from.
pub fn shown_job(dossier: &Dossier, id: JobId, job: &StoredJob) -> api::Job {
    let checkpoint = dossier.checkpoints.get(&id).and_then(Checkpoints::last).cloned();
    api::Job { checkpoint, ..job.shown().clone() }
}

/// The record as leaders see it.
pub fn record(dossier: &Dossier, application: api::Application) -> jobgraph::Record {
    let mut record = dossier.state.record.clone().unwrap_or_default();
    record.application = Some(application);
    record.traceparent.clone_from(&dossier.spec.traceparent);
    let staging: BTreeSet<&String> =
        dossier.jobs.values().flat_map(|job| &job.staging_locations).collect();
    record.staging_locations = staging.into_iter().cloned().collect();
    record
}
