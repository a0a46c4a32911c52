//! What changes in an entry on its way from a backup into a record: fences are raised, and clusters
//! are gone.

use bytes::Bytes;
use proto::api;

use crate::keys::Kind as _;
use crate::keys::fence::{AttemptFence, ClusterFence};
use crate::keys::generation::GenerationState;
use crate::store::{Key, StoreError};

/// How far fences are raised. No application has had so many leaders, or clusters, since its backup
/// was taken.
const FAR: u64 = 1 << 32;

/// The value that is put in place of this one.
pub(super) fn raised(key: &Key, value: Bytes) -> Result<Bytes, StoreError> {
    let text = String::from_utf8_lossy(key.as_bytes());
    let mut parts = text.split('/');
    let (kind, rest) = (parts.next(), parts.skip(1).collect::<Vec<_>>());
    Ok(match (kind, rest.as_slice()) {
        (Some("a"), ["attempt"]) => {
            let fence = AttemptFence::from_stored(&value)?;
            AttemptFence { epoch: fence.epoch + FAR, ..fence }.to_stored()
        }
        (Some("a"), ["cluster"]) => {
            let fence = ClusterFence::from_stored(&value)?;
            ClusterFence { incarnation: fence.incarnation + FAR, ..fence }.to_stored()
        }
        (Some("a"), ["g", _, "state"]) => match gone(GenerationState::from_stored(&value)?) {
            Some(state) => state.to_stored(),
            None => value,
        },
        _ => value,
    })
}

/// The state of a generation whose cluster is gone; `None` for one that is clean or has no cluster,
/// which stays as it is. The number is that of the raised fence, so that what the next leader says
/// of this cluster is taken.
fn gone(mut state: GenerationState) -> Option<GenerationState> {
    let record = state.record_mut();
    let application = record.application.get_or_insert_default();
    let cluster = application.cluster.as_mut().filter(|_| !application.clean)?;
    cluster.incarnation += FAR;
    cluster.set_state(api::ClusterState::Gone);
    cluster.ready_roles.clear();
    cluster.addresses.clear();
    record.jobs_endpoint.clear();
    Some(state)
}
