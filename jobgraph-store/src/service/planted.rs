//! Bugs that tests plant, to see that the tests would notice them. A build without debug assertions
//! has none of them.

use chassis::failpoint;
use proto::IncarnationFence;

use crate::model::{Facts, Refusal};

/// The planted bug: a checkpoint pointer is fenced by the epoch of the leader that began the
/// cluster, as if a leader decided it. Then the cluster of a leader that died cannot checkpoint any
/// more.
pub(super) fn pointers_fenced_by_epoch(
    facts: &Facts,
    fence: &IncarnationFence,
) -> Result<(), Refusal> {
    if !failpoint::is_planted("store.pointers-fenced-by-epoch") {
        return Ok(());
    }
    // The request id of a cluster begins with the epoch of the leader that asked for it.
    let begun_by = facts.cluster.request_id.split('.').next();
    if begun_by == Some(facts.attempt.epoch.to_string().as_str()) {
        return Ok(());
    }
    let (incarnation, current) = (fence.incarnation.get(), facts.cluster.incarnation);
    Err(Refusal::IncarnationSuperseded {
        application: facts.application.clone(),
        incarnation,
        current,
    })
}
