//! Savepoints: what users or main() asked for, and what became of it for each job. The wish is
//! desired state. The result is the leader's word, or, for a job that was stopped, part of the
//! cluster's word that the job ended.

use proto::{EpochFence, JobId, TriggerId, api, job};

use super::event::Telling;
use super::{Dossier, Draft, Refusal, cut};
use crate::keys::job::StoredJob;

/// How many wishes are kept; the oldest settled ones make room.
pub const MAX_WISHES: usize = 8;

/// How many results are kept of one job.
const MAX_RESULTS: usize = 10;

/// How many jobs one wish may be for.
pub const MAX_JOBS: usize = 64;

/// The longest directory, in bytes; a pointer is a little longer.
pub const MAX_DIRECTORY_BYTES: usize = 1024;

/// The longest pointer, in bytes.
const MAX_POINTER_BYTES: usize = 2 * 1024;

/// The longest message of a result, and the longest reason of a wish, in bytes.
const MAX_TEXT_BYTES: usize = 1024;

/// The longest word for a format, in bytes.
const MAX_FORMAT_BYTES: usize = 32;

/// The longest request id, in bytes.
const MAX_REQUEST_ID_BYTES: usize = 128;

/// Asks for savepoints; `wish` names its jobs in `job`, as people do. `true`: this request was
/// accepted before.
pub fn ask(draft: &mut Draft, mut wish: api::SavepointWish) -> Result<bool, Refusal> {
    check(&wish)?;
    wish.reason = cut(wish.reason, MAX_TEXT_BYTES);
    wish.requested_by = cut(wish.requested_by, 256);
    let application = draft.dossier.application.clone();
    if let Some(known) =
        draft.dossier.desired.savepoints.iter().find(|w| w.request_id == wish.request_id)
    {
        let content = |wish: &api::SavepointWish| {
            (wish.job.clone(), wish.directory.clone(), wish.stop, wish.drain, wish.format.clone())
        };
        if content(known) == content(&wish) {
            return Ok(true);
        }
        return Err(Refusal::RequestIdReused { request_id: wish.request_id, application });
    }
    if draft.dossier.is_terminal() {
        return Err(draft.dossier.already_ended());
    }
    let jobs = running(&draft.dossier, &wish.job)?;
    if jobs.len() > MAX_JOBS {
        let count = jobs.len();
        let why = format!(
            "{count} jobs run; at most {MAX_JOBS} can be asked at once: name them one by one"
        );
        return Err(Refusal::RequestInvalid(why));
    }
    make_room(draft)?;
    wish.job_ids = jobs.iter().map(JobId::to_string).collect();
    wish.requested_at = draft.at();
    let names: Vec<&str> =
        jobs.iter().map(|id| draft.dossier.jobs[id].shown().name.as_str()).collect();
    let what = if wish.stop { "stop with a savepoint requested" } else { "savepoint requested" };
    let because =
        if wish.reason.is_empty() { String::new() } else { format!(" ({})", wish.reason) };
    let telling = Telling::new("savepoint", format!("{what}: {}{because}", names.join(", ")))
        .with("state", "requested")
        .with("request_id", &wish.request_id)
        .with("stop", wish.stop)
        .with("requested_by", &wish.requested_by)
        .with("reason", &wish.reason);
    draft.dossier.desired.savepoints.push(wish);
    // The revision moves, so that an end that was decided without this wish does not commit.
    draft.dossier.desired.revision += 1;
    draft.tell_from(telling, "record".into(), 0);
    Ok(false)
}

fn check(wish: &api::SavepointWish) -> Result<(), Refusal> {
    let (id, directory) = (wish.request_id.len(), wish.directory.len());
    if id == 0 || id > MAX_REQUEST_ID_BYTES {
        let why = format!(
            "request_id has {id} bytes; choose one of 1 to {MAX_REQUEST_ID_BYTES} per wish"
        );
        return Err(Refusal::RequestInvalid(why));
    }
    if directory > MAX_DIRECTORY_BYTES {
        let why = format!("directory has {directory} bytes; at most {MAX_DIRECTORY_BYTES}");
        return Err(Refusal::RequestInvalid(why));
    }
    if wish.format.len() > MAX_FORMAT_BYTES {
        let why = format!("format {:?} is longer than {MAX_FORMAT_BYTES} bytes", wish.format);
        return Err(Refusal::RequestInvalid(why));
    }
    Ok(())
}

/// The jobs that a wish is for: all jobs without an end, or those of them with this id or name.
fn running(dossier: &Dossier, named: &str) -> Result<Vec<JobId>, Refusal> {
    let meant = |id: &JobId, job: &StoredJob| {
        named.is_empty()
            || job.shown().name == named
            || named.parse().is_ok_and(|named: JobId| named == *id)
    };
    let all: Vec<_> = dossier.jobs.iter().filter(|(id, job)| meant(id, job)).collect();
    let (application, job) = (dossier.application.clone(), named.to_owned());
    if all.is_empty() && !named.is_empty() {
        return Err(Refusal::JobNotFound { application, job });
    }
    let open: Vec<JobId> =
        all.into_iter().filter(|(_, job)| job.shown().end.is_none()).map(|(id, _)| *id).collect();
    if open.is_empty() { Err(Refusal::JobNotRunning { application, job }) } else { Ok(open) }
}

/// Forgets the oldest settled wishes, so that one more wish can be kept.
fn make_room(draft: &mut Draft) -> Result<(), Refusal> {
    while draft.dossier.desired.savepoints.len() >= MAX_WISHES {
        let dossier = &draft.dossier;
        let is_settled = |wish: &api::SavepointWish| pending_of(dossier, wish).next().is_none();
        let Some(oldest) = dossier.desired.savepoints.iter().position(is_settled) else {
            return Err(Refusal::TooManySavepoints {
                application: dossier.application.clone(),
                most: MAX_WISHES,
            });
        };
        draft.dossier.desired.savepoints.remove(oldest);
    }
    Ok(())
}

/// The jobs of a wish that have no result, each with the id that its savepoint is taken under.
fn pending_of<'a>(
    dossier: &'a Dossier,
    wish: &'a api::SavepointWish,
) -> impl Iterator<Item = (JobId, TriggerId)> + 'a {
    let ids = wish.job_ids.iter().filter_map(|id| id.parse().ok());
    ids.filter_map(|id: JobId| {
        let trigger = TriggerId::derive(&wish.request_id, id);
        let job = dossier.jobs.get(&id)?.shown();
        let word = trigger.to_string();
        (!job.savepoints.iter().any(|known| known.trigger_id == word)).then_some((id, trigger))
    })
}

/// All savepoints that were asked for and have no result.
pub fn pending(dossier: &Dossier) -> impl Iterator<Item = (&api::SavepointWish, JobId, TriggerId)> {
    dossier
        .desired
        .savepoints
        .iter()
        .flat_map(|wish| pending_of(dossier, wish).map(move |(job, trigger)| (wish, job, trigger)))
}

/// The savepoint that a job is to be stopped with, as long as that savepoint has no result.
pub fn stopping(dossier: &Dossier, id: JobId) -> Option<TriggerId> {
    pending(dossier).find(|(wish, job, _)| wish.stop && *job == id).map(|(_, _, trigger)| trigger)
}

/// Records what became of a savepoint, by the leader's word. The first result stands; the answer is
/// whether this result is that one, and the result that stands.
pub fn settle(
    draft: &mut Draft,
    fence: &EpochFence,
    id: JobId,
    result: &job::Savepoint,
) -> Result<(bool, job::Savepoint), Refusal> {
    draft.dossier.check_epoch(fence)?;
    let known = draft.dossier.job(id)?.shown();
    if let Some(stands) =
        known.savepoints.iter().find(|known| known.trigger_id == result.trigger_id)
    {
        let same = (&stands.pointer, &stands.reason) == (&result.pointer, &result.reason);
        return Ok((same, stands.clone()));
    }
    if draft.dossier.is_terminal() {
        return Err(draft.dossier.already_ended());
    }
    let bytes = result.pointer.len();
    if (bytes == 0) == result.reason.is_empty() || bytes > MAX_POINTER_BYTES {
        return Err(Refusal::RequestInvalid(format!(
            "a savepoint has a pointer of 1 to {MAX_POINTER_BYTES} bytes, or a reason why it was not taken; this has {bytes} bytes and {:?}",
            result.reason
        )));
    }
    let asked = pending(&draft.dossier)
        .find(|(_, job, trigger)| *job == id && trigger.to_string() == result.trigger_id);
    let Some((wish, _, _)) = asked else {
        let why = format!("savepoint {:?} of job {id} was not asked for", result.trigger_id);
        return Err(Refusal::RequestInvalid(why));
    };
    let settled = job::Savepoint {
        request_id: wish.request_id.clone(),
        stop: wish.stop,
        message: cut(result.message.clone(), MAX_TEXT_BYTES),
        settled_at: draft.at(),
        ..result.clone()
    };
    let source = draft.dossier.attempt.holder.clone();
    let epoch = draft.dossier.attempt.epoch;
    keep(draft, id, settled.clone(), source, epoch);
    Ok((true, settled))
}

/// Takes the savepoint that an ended job was stopped with as the result of the wish to stop the
/// job.
pub(super) fn settle_with_end(draft: &mut Draft, id: JobId, end: &job::JobEnd, incarnation: u64) {
    if end.savepoint.is_empty() {
        return;
    }
    let asked = pending(&draft.dossier).find(|(wish, job, _)| wish.stop && *job == id);
    let Some((wish, _, trigger)) = asked else { return };
    let settled = job::Savepoint {
        trigger_id: trigger.to_string(),
        request_id: wish.request_id.clone(),
        stop: true,
        pointer: end.savepoint.clone(),
        settled_at: draft.at(),
        ..Default::default()
    };
    keep(draft, id, settled, format!("cluster-{incarnation}"), 0);
}

/// The savepoint that a job was stopped with: the cluster's word, or what the leader was told
/// before the cluster said anything. A pointer that is too long is left out, because the end counts
/// for more.
pub(super) fn stopped_with(dossier: &Dossier, id: JobId, end: &job::JobEnd) -> String {
    if end.savepoint.is_empty() && end.outcome() == job::JobOutcome::Succeeded {
        let results = dossier.jobs.get(&id).into_iter().flat_map(|job| &job.shown().savepoints);
        let stopped = results.rev().find(|result| result.stop && !result.pointer.is_empty());
        return stopped.map(|result| result.pointer.clone()).unwrap_or_default();
    }
    if end.savepoint.len() > MAX_POINTER_BYTES { String::new() } else { end.savepoint.clone() }
}

fn keep(draft: &mut Draft, id: JobId, settled: job::Savepoint, source: String, epoch: u64) {
    let kept: Vec<String> =
        draft.dossier.desired.savepoints.iter().map(|wish| wish.request_id.clone()).collect();
    let job = draft.dossier.jobs.entry(id).or_default().shown_mut();
    job.savepoints.push(settled.clone());
    // A result whose wish is still kept stays: without the result the wish would look unsettled
    // again.
    while job.savepoints.len() > MAX_RESULTS
        && let Some(oldest) = job.savepoints.iter().position(|old| !kept.contains(&old.request_id))
    {
        job.savepoints.remove(oldest);
    }
    let (name, job_id) = (job.name.clone(), job.job_id.clone());
    let (state, said) = if settled.pointer.is_empty() {
        ("failed", format!("{name}: no savepoint: {}", settled.message))
    } else {
        ("taken", format!("{name}: savepoint {}", settled.pointer))
    };
    let telling = Telling::new("savepoint", said)
        .job(&job_id)
        .reason(&settled.reason)
        .with("name", name)
        .with("state", state)
        .with("request_id", &settled.request_id)
        .with("stop", settled.stop)
        .with("pointer", &settled.pointer)
        .with("message", &settled.message);
    draft.tell_from(telling, source, epoch);
}

/// Refuses the end of an application while a savepoint that was asked for has no result.
pub(super) fn check_settled(dossier: &Dossier) -> Result<(), Refusal> {
    let jobs: Vec<String> =
        pending(dossier).map(|(_, id, _)| dossier.jobs[&id].shown().name.clone()).collect();
    if jobs.is_empty() {
        return Ok(());
    }
    Err(Refusal::SavepointPending { application: dossier.application.clone(), jobs })
}
