//! What a job resumes from: pointers to checkpoints, and the counter of their ids. They belong to
//! the job, and the current incarnation writes them. No event tells of them, because they come
//! several times a second.

use prost::Message as _;
use proto::jobgraph::ReadCheckpointsResponse;
use proto::{IncarnationFence, JobId, job};

use super::{Dossier, Draft, Refusal, savepoint};
use crate::keys::checkpoint::Checkpoints;

/// How many checkpoints of one job are kept at once.
pub const MAX_KEPT: usize = 100;

/// The longest pointer, in bytes.
pub const MAX_POINTER_BYTES: usize = 4 * 1024;

/// How many bytes the checkpoints of one job may take together, encoded: they are one value of the
/// record.
const MAX_KEPT_BYTES: usize = 60 * 1024;

/// What the current incarnation resumes a job from.
pub fn resume(
    dossier: &Dossier,
    fence: &IncarnationFence,
    id: JobId,
) -> Result<ReadCheckpointsResponse, Refusal> {
    dossier.check_incarnation(fence)?;
    let ended = dossier.job(id)?.shown().end.is_some();
    let known = dossier.checkpoints.get(&id).cloned().unwrap_or_default();
    let stopping = savepoint::stopping(dossier, id);
    Ok(ReadCheckpointsResponse {
        ended,
        checkpoints: known.kept,
        next_checkpoint_id: known.next_id.max(1),
        stop_trigger_id: stopping.map(|trigger| trigger.to_string()).unwrap_or_default(),
    })
}

/// Keeps a checkpoint. A kept checkpoint with the same id is replaced, because the current
/// incarnation completed the new one later.
pub fn add(
    draft: &mut Draft,
    fence: &IncarnationFence,
    id: JobId,
    checkpoint: &job::Checkpoint,
) -> Result<(), Refusal> {
    let name = writable(draft, fence, id)?;
    let bytes = checkpoint.pointer.len();
    if checkpoint.id == 0 || bytes == 0 || bytes > MAX_POINTER_BYTES {
        return Err(Refusal::RequestInvalid(format!(
            "checkpoint {} with a pointer of {bytes} bytes: an id is a number from 1, a pointer has 1 to {MAX_POINTER_BYTES} bytes",
            checkpoint.id
        )));
    }
    let mut kept = draft.dossier.checkpoints.get(&id).cloned().unwrap_or_default();
    match kept.kept.binary_search_by_key(&checkpoint.id, |known| known.id) {
        Ok(at) => kept.kept[at] = checkpoint.clone(),
        Err(at) => kept.kept.insert(at, checkpoint.clone()),
    }
    raise(&mut kept, checkpoint.id.saturating_add(1));
    let bytes = kept.encoded_len();
    if kept.kept.len() > MAX_KEPT || bytes > MAX_KEPT_BYTES {
        let (count, most, most_bytes) = (kept.kept.len(), MAX_KEPT, MAX_KEPT_BYTES);
        return Err(Refusal::TooManyCheckpoints {
            application: draft.dossier.application.clone(),
            job: name,
            count,
            bytes,
            most,
            most_bytes,
        });
    }
    draft.dossier.checkpoints.insert(id, kept);
    if draft
        .dossier
        .state
        .application()
        .cluster
        .as_ref()
        .is_some_and(|cluster| cluster.barren_incarnations > 0)
        && let Some(cluster) = draft.app().cluster.as_mut()
    {
        // The incarnation came to something: the next one goes on from here.
        cluster.barren_incarnations = 0;
        draft.dossier.state.moves = 0;
    }
    Ok(())
}

/// Forgets a checkpoint, if it is kept. This is allowed after the end, too, because engines clean
/// up then.
pub fn remove(
    draft: &mut Draft,
    fence: &IncarnationFence,
    id: JobId,
    number: u64,
) -> Result<(), Refusal> {
    draft.dossier.check_incarnation(fence)?;
    draft.dossier.job(id)?;
    if let Some(known) = draft.dossier.checkpoints.get_mut(&id) {
        known.kept.retain(|checkpoint| checkpoint.id != number);
    }
    Ok(())
}

/// Raises the counter of ids, and answers the counter that stands.
pub fn advance(
    draft: &mut Draft,
    fence: &IncarnationFence,
    id: JobId,
    next: u64,
) -> Result<u64, Refusal> {
    writable(draft, fence, id)?;
    let mut known = draft.dossier.checkpoints.get(&id).cloned().unwrap_or_default();
    raise(&mut known, next);
    let stands = known.next_id.max(1);
    // A counter that says nothing is not kept.
    if known != Checkpoints::default() {
        draft.dossier.checkpoints.insert(id, known);
    }
    Ok(stands)
}

fn raise(known: &mut Checkpoints, next: u64) {
    known.next_id = known.next_id.max(next);
}

/// Checks that the current incarnation writes, and that the application has not ended; answers the
/// job's name.
fn writable(draft: &Draft, fence: &IncarnationFence, id: JobId) -> Result<String, Refusal> {
    draft.dossier.check_incarnation(fence)?;
    let name = draft.dossier.job(id)?.shown().name.clone();
    if draft.dossier.is_terminal() {
        return Err(draft.dossier.already_ended());
    }
    Ok(name)
}
