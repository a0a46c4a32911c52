//! Which job an `execute()` is for: the job of its name, or the job that an earlier attempt
//! executed at its place under a name that varies.

use std::collections::BTreeSet;

use proto::{EpochFence, JobId, jobgraph};

use super::likeness;
use super::{Dossier, Refusal};
use crate::keys::job::StoredJob;

/// What one call of an attempt says of the job that it asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) request: &'a jobgraph::PutJobGraphRequest,
    pub(super) epoch: u64,
}

/// A job as a call names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) id: JobId,
    pub(super) name: String,
    pub(super) occurrence: u32,
}

/// What the record has at the place of a call that asks for an unknown name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum There {
    /// No job of an earlier attempt is there, or the order of calls tells nothing.
    Nothing,
    /// The same job is there, under another name.
    SameJob(JobId),
    /// Another job is there, of this name.
    Other(String),
}

impl Asked<'_> {
    pub(super) fn shape(&self) -> String {
        likeness::shape(self.request.description.as_ref())
    }

    /// The job's name; an unnamed call is named by its ordinal.
    fn name(&self) -> String {
        let jobgraph::PutJobGraphRequest { name, ordinal, .. } = self.request;
        if name.is_empty() { format!("job-{ordinal}") } else { name.clone() }
    }

    /// The job that this call's name stands for.
    pub(super) fn by_name(&self, dossier: &Dossier) -> Result<Identity, Refusal> {
        let name = self.name();
        let occurrence = self.occurrence(dossier, &name)?;
        let id = JobId::derive(&dossier.application, &dossier.spec.uid, &name, occurrence);
        Ok(Identity { id, name, occurrence })
    }

    /// Which of several jobs with this name the call is for. The occurrence that a runner has
    /// assigned stands, because the graph may carry the job's id already: calls arrive in another
    /// order than they were assigned in, and earlier ones may never arrive. No two calls of one
    /// attempt share an occurrence.
    fn occurrence(&self, dossier: &Dossier, name: &str) -> Result<u32, Refusal> {
        let taken: BTreeSet<u32> = dossier
            .jobs
            .values()
            .filter(|job| job.shown().name == name && self.is_taken(job))
            .map(|job| job.shown().occurrence)
            .collect();
        let one_only = !self.request.equal_names_allowed;
        if one_only && self.request.occurrence.is_some_and(|assigned| assigned > 0) {
            return Err(Refusal::RequestInvalid(
                "occurrence is more than 0, and this engine gives a name to one job only".into(),
            ));
        }
        let lowest = (0..).find(|free| !taken.contains(free)).unwrap_or(u32::MAX);
        let wanted = self.request.occurrence.unwrap_or(lowest);
        if !taken.contains(&wanted) && (!one_only || taken.is_empty()) {
            return Ok(wanted);
        }
        let by_position = |job: &StoredJob| {
            job.shown().name == name && job.call.as_ref().is_some_and(|call| call.by_position)
        };
        if dossier.jobs.values().any(|job| self.is_taken(job) && by_position(job)) {
            // The record took an earlier call, under another name, for this job, and was wrong.
            return Err(self.diverged(dossier, name.into(), name.into()));
        }
        Err(Refusal::JobNameTaken { application: dossier.application.clone(), name: name.into() })
    }

    /// Whether another call of this attempt has asked for the job.
    fn is_taken(&self, job: &StoredJob) -> bool {
        job.call.as_ref().is_some_and(|call| call.epoch == self.epoch)
    }

    /// What the call of this ordinal made in an earlier attempt, unless ordinals tell nothing.
    pub(super) fn there(&self, dossier: &Dossier, name: &str) -> There {
        if self.request.overlapped || dossier.state.overlapped {
            return There::Nothing;
        }
        let there = |(_, job): &(&JobId, &StoredJob)| {
            job.shown().ordinal == self.request.ordinal && !self.is_taken(job)
        };
        let Some((id, job)) = dossier.jobs.iter().find(there) else { return There::Nothing };
        let same = !job.shape.is_empty() && job.shape == self.shape();
        if same && likeness::alike(name, &job.shown().name) {
            There::SameJob(*id)
        } else {
            There::Other(job.shown().name.clone())
        }
    }

    /// The job that the runner was told before the graph was made, because the graph carries the
    /// job's id. No other call of this attempt may have taken the job.
    pub(super) fn told(&self, dossier: &Dossier, id: JobId, name: &str) -> Result<JobId, Refusal> {
        let job = dossier.job(id)?;
        if self.is_taken(job) {
            return Err(self.diverged(dossier, name.into(), job.shown().name.clone()));
        }
        Ok(id)
    }

    pub(super) fn diverged(&self, dossier: &Dossier, asked: String, recorded: String) -> Refusal {
        Refusal::MainDiverged {
            application: dossier.application.clone(),
            ordinal: self.request.ordinal,
            asked,
            recorded,
        }
    }
}

/// Which job a call will be for. A call that is going to be refused is answered the job that its
/// name stands for; the refusal comes when the graph is put.
pub fn find(
    dossier: &Dossier,
    fence: &EpochFence,
    request: jobgraph::FindJobRequest,
) -> Result<JobId, Refusal> {
    dossier.check_epoch(fence)?;
    let request = jobgraph::PutJobGraphRequest {
        call_id: request.call_id,
        name: request.name,
        ordinal: request.ordinal,
        overlapped: request.overlapped,
        equal_names_allowed: request.equal_names_allowed,
        occurrence: request.occurrence,
        description: request.description,
        ..Default::default()
    };
    let asked = Asked { request: &request, epoch: fence.epoch.get() };
    let repeated = |job: &StoredJob| {
        asked.is_taken(job) && job.call.as_ref().is_some_and(|call| call.id == request.call_id)
    };
    if let Some((id, _)) = dossier.jobs.iter().find(|(_, job)| repeated(job)) {
        return Ok(*id);
    }
    let Identity { id, name, .. } = match asked.by_name(dossier) {
        Err(Refusal::JobNameTaken { .. } | Refusal::MainDiverged { .. }) => {
            let (name, occurrence) = (asked.name(), request.occurrence.unwrap_or_default());
            return Ok(JobId::derive(&dossier.application, &dossier.spec.uid, &name, occurrence));
        }
        identity => identity?,
    };
    if dossier.jobs.contains_key(&id) {
        return Ok(id);
    }
    Ok(match asked.there(dossier, &name) {
        There::SameJob(there) => there,
        There::Nothing | There::Other(_) => id,
    })
}
