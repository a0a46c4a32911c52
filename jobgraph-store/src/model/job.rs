//! A job: kept under its static id, submitted, ended once, published.

use std::collections::BTreeSet;

use proto::{Digest, EpochFence, Incarnation, IncarnationFence, JobId, Reason, api, job, jobgraph};

use super::event::{Telling, job_outcome_word, one_line, output_attributes};
use super::identity::{Asked, Identity, There};
use super::{Draft, Refusal, cut, likeness, savepoint};
use crate::keys::job::{Call, StoredJob};
use crate::keys::payload::Use;

/// The longest message of an end, in bytes: an engine's root cause may be a whole plan.
const MAX_MESSAGE_BYTES: usize = 8 * 1024;

/// How many files one graph may need: their references are written with the graph, in one
/// transaction.
const MAX_FILES: usize = 64;

/// Which job a graph is kept for, and how that job was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Put {
    /// The job; the graph in the record is the one that runs.
    pub job: api::Job,
    /// Whether the job was in the record before.
    pub found: bool,
    /// Whether the recorded job has another graph.
    pub diverged: bool,
    /// Whether the recorded job has another name.
    pub by_position: bool,
    /// The new job, if this write made it.
    pub made: Option<Made>,
}

/// A job that a write has made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The id of the job.
    pub id: JobId,
    /// The payloads that have to be there: the job's graph, kept with the generation, and the files
    /// that the graph needs, kept until clean.
    pub needs: Vec<(Digest, Use)>,
}

/// Keeps a graph if its name has none, and answers the job that runs.
pub fn put_graph(
    draft: &mut Draft,
    fence: &EpochFence,
    request: &jobgraph::PutJobGraphRequest,
) -> Result<Put, Refusal> {
    draft.dossier.check_epoch(fence)?;
    let digest: Digest = request.graph_digest.parse()?;
    let files = files(request)?;
    if request.call_id.is_empty() {
        return Err(Refusal::RequestInvalid("call_id is empty: choose one per execute()".into()));
    }
    let epoch = fence.epoch.get();
    let repeated = |job: &&StoredJob| {
        job.call.as_ref().is_some_and(|call| call.id == request.call_id && call.epoch == epoch)
    };
    if let Some(StoredJob { job, call: Some(call), .. }) =
        draft.dossier.jobs.values().find(repeated)
    {
        let job = job.clone().unwrap_or_default();
        let Call { found, diverged, by_position, .. } = *call;
        return Ok(Put { job, found, diverged, by_position, made: None });
    }
    if draft.dossier.is_terminal() {
        return Err(Refusal::ApplicationEnding(draft.dossier.application.clone()));
    }
    let asked = Asked { request, epoch };
    let Identity { id, name, occurrence } = asked.by_name(&draft.dossier)?;
    if request.overlapped {
        draft.dossier.state.overlapped = true;
    }
    let told = Some(&request.job_id).filter(|told| !told.is_empty());
    let told: Option<JobId> = told.map(|told| told.parse()).transpose()?;
    if let Some(told) = told.filter(|told| *told != id) {
        let told = asked.told(&draft.dossier, told, &name)?;
        return Ok(found(draft, told, asked, digest, Some(&name)));
    }
    if draft.dossier.jobs.contains_key(&id) {
        return Ok(found(draft, id, asked, digest, None));
    }
    match asked.there(&draft.dossier, &name) {
        There::Nothing => {}
        There::SameJob(there) if told.is_none() => {
            return Ok(found(draft, there, asked, digest, Some(&name)));
        }
        // The graph carries the id of its own name already, so it cannot stand for the recorded
        // job.
        There::SameJob(there) => {
            let recorded = draft.dossier.job(there)?.shown().name.clone();
            return Err(asked.diverged(&draft.dossier, name, recorded));
        }
        There::Other(recorded) => return Err(asked.diverged(&draft.dossier, name, recorded)),
    }
    let needs =
        [(digest, Use::Graph)].into_iter().chain(files.iter().map(|file| (*file, Use::Artifact)));
    let needs = needs.collect();
    let job = api::Job {
        job_id: id.to_string(),
        name: name.clone(),
        occurrence,
        ordinal: request.ordinal,
        state: api::JobState::Stored.into(),
        graph_digest: digest.to_string(),
        graph_size_bytes: request.graph_size_bytes,
        created_at: draft.at(),
        prints_in: request.description.as_ref().map(|of| of.prints_in.clone()).unwrap_or_default(),
        ..Default::default()
    };
    let call = Call { id: request.call_id.clone(), epoch, ..Call::default() };
    let stored = StoredJob {
        job: Some(job.clone()),
        call: Some(call),
        shape: asked.shape(),
        staging_locations: request.staging_locations.clone(),
        payload_digests: files.iter().map(Digest::to_string).collect(),
    };
    draft.dossier.jobs.insert(id, stored);
    draft.dossier.state.jobs += 1;
    draft.tell(
        Telling::new("job", format!("{}: graph stored", one_line(&name)))
            .job(&job.job_id)
            .with("name", name)
            .with("state", "stored")
            .with("digest", digest)
            .with("prints_in", &job.prints_in),
    );
    if !request.name_is_literal {
        warn_of_name(draft, &job);
    }
    Ok(Put {
        job,
        found: false,
        diverged: false,
        by_position: false,
        made: Some(Made { id, needs }),
    })
}

/// The files that a graph needs, each once.
fn files(request: &jobgraph::PutJobGraphRequest) -> Result<BTreeSet<Digest>, Refusal> {
    let count = request.payload_digests.len();
    if count > MAX_FILES {
        return Err(Refusal::RequestInvalid(format!(
            "{count} payload_digests; a graph has at most {MAX_FILES}"
        )));
    }
    Ok(request.payload_digests.iter().map(|digest| digest.parse()).collect::<Result<_, _>>()?)
}

/// Answers a call for a recorded job. `asked` is the name in the call, if the job has another one.
fn found(draft: &mut Draft, id: JobId, of: Asked<'_>, digest: Digest, asked: Option<&str>) -> Put {
    let (request, by_position) = (of.request, asked.is_some());
    let stored = draft.dossier.jobs.entry(id).or_default();
    let diverged = if request.graph_bytes_vary {
        !stored.shape.is_empty() && stored.shape != of.shape()
    } else {
        stored.shown().graph_digest != digest.to_string()
    };
    let call =
        Call { id: request.call_id.clone(), epoch: of.epoch, found: true, diverged, by_position };
    stored.call = Some(call);
    if diverged {
        stored.shown_mut().diverged_digest = digest.to_string();
    }
    let job = stored.shown().clone();
    let name = one_line(&job.name);
    let (what, outcome) = match &job.end {
        Some(end) => ("its end is recorded", job_outcome_word(end.outcome())),
        None => ("its graph is recorded", ""),
    };
    let telling = Telling::new("job", format!("{name}: {what}"))
        .job(&job.job_id)
        .with("name", &job.name)
        .with("state", "attached")
        .with("outcome", outcome)
        .with("asked", asked.unwrap_or_default())
        .with("diverged_digest", &job.diverged_digest);
    draft.tell(telling);
    let warning =
        |said: String| Telling::new("warning", said).job(&job.job_id).with("name", &job.name);
    if let Some(asked) = asked {
        let asked = one_line(asked);
        draft.tell(warning(format!(
            "main() asks for {asked:?} where it asked for {name:?} before, with the same operators: taken for the same job; \
             help: give it a name that is the same each time"
        )));
    }
    if diverged {
        draft.tell(warning(format!(
            "{name}: main() sent another graph ({digest}); the stored one ({}) runs",
            job.graph_digest
        )));
    }
    Put { job, found: true, diverged, by_position, made: None }
}

/// Warns at once of a job that is going to have another name when main() is executed again, and not
/// only when that job is looked for.
fn warn_of_name(draft: &mut Draft, job: &api::Job) {
    if let Some(part) = likeness::unstable_part(&job.name) {
        let said = format!(
            "job {:?} is named after a moment or by chance ({:?}): a main() that is executed again calls it otherwise, and it is found by its \
             position and its operators; help: give it a name that is the same each time",
            one_line(&job.name),
            one_line(part)
        );
        draft.tell(Telling::new("warning", said).job(&job.job_id).with("name", &job.name));
    }
}

/// Records that the leader gave the job to this incarnation.
pub fn submitted(
    draft: &mut Draft,
    fence: &EpochFence,
    id: JobId,
    incarnation: Incarnation,
) -> Result<(), Refusal> {
    draft.dossier.check_epoch(fence)?;
    let current = draft.dossier.cluster.admits(fence.application.generation, incarnation);
    let known = draft.dossier.job(id)?.shown();
    if known.end.is_some() || (known.submissions > 0 && known.incarnation == incarnation.get()) {
        return Ok(());
    }
    if !current {
        return Err(draft.dossier.incarnation_superseded(incarnation.get()));
    }
    let job = draft.dossier.jobs.entry(id).or_default().shown_mut();
    job.incarnation = incarnation.get();
    job.submissions += 1;
    job.set_state(api::JobState::Running);
    let (name, job_id, submissions) = (job.name.clone(), job.job_id.clone(), job.submissions);
    draft.tell(
        Telling::new("job", format!("{}: submitted", one_line(&name)))
            .job(&job_id)
            .incarnation(incarnation.get())
            .with("name", name)
            .with("state", "submitted")
            .with("submissions", submissions),
    );
    Ok(())
}

/// Records the cluster's word that a job ended; answers whether this end stands, and the end that
/// stands.
pub fn ended(
    draft: &mut Draft,
    fence: &IncarnationFence,
    id: JobId,
    end: &job::JobEnd,
) -> Result<(bool, job::JobEnd), Refusal> {
    draft.dossier.check_incarnation(fence)?;
    let answer = end_once(draft, id, end, fence.incarnation.get())?;
    if answer.0
        && let Some(cluster) = draft.app().cluster.as_mut()
    {
        cluster.barren_incarnations = 0;
        draft.dossier.state.moves = 0;
    }
    Ok(answer)
}

/// Records an end that only a leader can know, which is never a success.
pub fn ended_by_leader(
    draft: &mut Draft,
    fence: &EpochFence,
    id: JobId,
    end: &job::JobEnd,
) -> Result<(bool, job::JobEnd), Refusal> {
    draft.dossier.check_epoch(fence)?;
    if end.outcome() == job::JobOutcome::Succeeded {
        return Err(Refusal::RequestInvalid("only a cluster knows that a job succeeded".into()));
    }
    let mut end = end.clone();
    if end.outcome() == job::JobOutcome::Lost && end.reason.is_empty() {
        // Every reader of this end is told the same reason, whichever leader recorded it.
        end.reason = Reason::JobLost.as_str().into();
    }
    end_once(draft, id, &end, 0)
}

/// Whether outputs of this end have to be published.
pub fn has_outputs(end: &job::JobEnd) -> bool {
    end.outcome() == job::JobOutcome::Succeeded
        && end.manifest.as_ref().is_some_and(|manifest| !manifest.outputs.is_empty())
}

fn end_once(
    draft: &mut Draft,
    id: JobId,
    end: &job::JobEnd,
    incarnation: u64,
) -> Result<(bool, job::JobEnd), Refusal> {
    if end.outcome() == job::JobOutcome::Unspecified {
        return Err(Refusal::RequestInvalid(
            "end.outcome is not set, or not one of this build".into(),
        ));
    }
    if !end.result_digest.is_empty() {
        let _: Digest = end.result_digest.parse()?;
    }
    let (message, savepoint) = (
        cut(end.message.clone(), MAX_MESSAGE_BYTES),
        savepoint::stopped_with(&draft.dossier, id, end),
    );
    let end = &job::JobEnd { message, savepoint, ..end.clone() };
    if let Some(stands) = &draft.dossier.job(id)?.shown().end {
        return Ok((stands == end, stands.clone()));
    }
    if draft.dossier.is_terminal() {
        // The job was given up with its application: an end now would have outputs that no leader
        // publishes.
        return Err(draft.dossier.already_ended());
    }
    let now = draft.at();
    let job = draft.dossier.jobs.entry(id).or_default().shown_mut();
    let publish = has_outputs(end);
    job.end = Some(end.clone());
    job.ended_at = now;
    job.progress = end.progress;
    job.set_state(if publish { api::JobState::Publishing } else { api::JobState::Ended });
    job.published = !publish && end.outcome() == job::JobOutcome::Succeeded;
    let (name, job_id) = (job.name.clone(), job.job_id.clone());
    let outcome = job_outcome_word(end.outcome());
    let called = one_line(&name);
    let told = match end.message.lines().next() {
        Some(why) if end.outcome() != job::JobOutcome::Succeeded => {
            format!("{called}: {outcome}: {why}")
        }
        _ => format!("{called}: {outcome}"),
    };
    let mut telling = Telling::new("job", told)
        .job(&job_id)
        .incarnation(incarnation)
        .reason(&end.reason)
        .with("name", name)
        .with("state", "ended")
        .with("outcome", outcome)
        .with("message", &end.message);
    for (attribute, value) in output_attributes(end) {
        telling = telling.with(attribute, value);
    }
    if incarnation == 0 {
        draft.tell(telling);
    } else {
        draft.tell_from(telling, format!("cluster-{incarnation}"), 0);
        savepoint::settle_with_end(draft, id, end, incarnation);
    }
    Ok((true, end.clone()))
}

/// Records that all outputs of a committed end stand at their final names.
pub fn published(draft: &mut Draft, fence: &EpochFence, id: JobId) -> Result<(), Refusal> {
    draft.dossier.check_epoch(fence)?;
    let known = draft.dossier.job(id)?.shown();
    let Some(end) = known.end.clone().filter(|end| end.outcome() == job::JobOutcome::Succeeded)
    else {
        return Err(Refusal::JobsNotEnded {
            application: draft.dossier.application.clone(),
            jobs: vec![known.name.clone()],
        });
    };
    if known.published {
        return Ok(());
    }
    let job = draft.dossier.jobs.entry(id).or_default().shown_mut();
    job.published = true;
    job.set_state(api::JobState::Ended);
    let (name, job_id) = (job.name.clone(), job.job_id.clone());
    let unpublished = |job: &StoredJob| {
        let job = job.shown();
        !job.published && job.end.as_ref().is_some_and(has_outputs)
    };
    if has_outputs(&end) && !draft.dossier.jobs.values().any(unpublished) {
        draft.condition("Published", api::ConditionStatus::True, "", "");
    }
    let mut telling = Telling::new("published", format!("{}: published", one_line(&name)))
        .job(&job_id)
        .with("name", name);
    for (attribute, value) in output_attributes(&end) {
        telling = telling.with(attribute, value);
    }
    draft.tell(telling);
    Ok(())
}
