//! Bugs that tests plant to see that they would notice them; never there in a build without debug assertions.

use chassis::failpoint;
use proto::IncarnationFence;

use crate::model::{Facts, Refusal};

/// A pointer that carried the epoch of the leader that began its cluster, as everything that leaders decide carries one: the cluster of a
/// leader that died could not checkpoint any more.
pub(super) fn pointers_fenced_by_epoch(facts: &Facts, fence: &IncarnationFence) -> Result<(), Refusal> {
    if !failpoint::is_planted("store.pointers-fenced-by-epoch") {
        return Ok(());
    }
    // The wish for a cluster begins with the epoch of who had it.
    let begun_by = facts.cluster.request_id.split('.').next();
    if begun_by == Some(facts.attempt.epoch.to_string().as_str()) {
        return Ok(());
    }
    let (incarnation, current) = (fence.incarnation.get(), facts.cluster.incarnation);
    Err(Refusal::IncarnationSuperseded { application: facts.application.clone(), incarnation, current })
}
