//! Bugs that tests plant, to see that the tests would notice them. A build without debug assertions
//! has none of them.

use chassis::failpoint;
use proto::IncarnationFence;

use crate::model::{Dossier, Refusal};

/// The planted bug: an intent of a cluster is kept although another incarnation, or another place,
/// is the one that may start processes.
pub(super) fn intents_are_unfenced() -> bool {
    failpoint::is_planted("places.same-incarnation")
}

/// The planted bug: a commit compares the revisions of a later read than the one that its decision
/// rests on, so it takes back what was written between the two.
pub(super) fn compares_later_revisions() -> bool {
    failpoint::is_planted("store.compares-later-revisions")
}

/// The planted bug: the record points to a payload without having looked for its bytes.
pub(super) fn points_before_the_blob() -> bool {
    failpoint::is_planted("store.pointer-before-blob")
}

/// The planted bug: a pointer rests on a mark that was not sweeping when it was read, and its
/// commit does not compare the mark. A sweep that begins and ends in between goes unnoticed.
pub(super) fn leaves_marks_uncompared() -> bool {
    failpoint::is_planted("store.mark-uncompared")
}

/// The planted bug: a checkpoint pointer is fenced by the epoch of the leader that began the
/// cluster, as if a leader decided it. Then the cluster of a leader that died cannot checkpoint any
/// more.
pub(super) fn pointers_fenced_by_epoch(
    dossier: &Dossier,
    fence: &IncarnationFence,
) -> Result<(), Refusal> {
    if !failpoint::is_planted("store.pointers-fenced-by-epoch") {
        return Ok(());
    }
    // The request id of a cluster begins with the epoch of the leader that asked for it.
    let begun_by = dossier.cluster.request_id.split('.').next();
    if begun_by == Some(dossier.attempt.epoch.to_string().as_str()) {
        return Ok(());
    }
    let (incarnation, current) = (fence.incarnation.get(), dossier.cluster.incarnation);
    Err(Refusal::IncarnationSuperseded {
        application: dossier.application.clone(),
        incarnation,
        current,
    })
}
