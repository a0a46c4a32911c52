//! Which processes of a cluster may be started, and where.
//!
//! Lifecycle keeps an intent before every start, the first one and every later one. So what is
//! refused here is never started: no process of an incarnation that another one has replaced, and
//! none at a second place, however long its lifecycle was away.

use proto::{ApplicationRef, Place, PlaceUid, jobgraph};

use super::Refusal;
use crate::keys::fence::ClusterFence;

/// Lifecycle's word for the processes of a cluster.
const CLUSTER: &str = "cluster";

/// Whether the process is of a cluster and may live. A tombstone says that nothing lives, which is
/// true under any incarnation.
pub fn is_intended_for_cluster(process: &jobgraph::Process) -> bool {
    process.kind == CLUSTER && may_live(process)
}

/// Whether the process is at this place. `own` is the host that an older build meant, which named
/// no place.
pub fn is_at(process: &jobgraph::Process, place: PlaceUid, own: Option<&Place>) -> bool {
    match &process.place {
        Some(known) => known.uid.parse::<PlaceUid>().is_ok_and(|uid| uid == place),
        None => own.map(Place::uid) == Some(place),
    }
}

/// Whether the process may live: it is intended, or an older build has not said what it is.
pub fn may_live(process: &jobgraph::Process) -> bool {
    use jobgraph::ProcessState::{Intended, Unspecified};
    matches!(process.state(), Intended | Unspecified)
}

/// Refuses an intent that is not of the current incarnation at its place. `own` is the host that an
/// older build meant, which named no place.
pub fn admit(
    application: &ApplicationRef,
    process: &jobgraph::Process,
    cluster: &ClusterFence,
    own: Option<&Place>,
) -> Result<(), Refusal> {
    let (asked, incarnation) = (Place::read(process.place.clone())?, process.number);
    let application = application.clone();
    if cluster.incarnation != incarnation || cluster.generation != application.generation.get() {
        let current = cluster.incarnation;
        return Err(Refusal::IncarnationSuperseded { application, incarnation, current });
    }
    let begun = Place::read(cluster.place.clone())?;
    let (asked, begun) = (asked.as_ref().or(own), begun.as_ref().or(own));
    if asked.map(Place::uid) == begun.map(Place::uid) {
        return Ok(());
    }
    let place = begun.map_or_else(|| "a host without a name".to_owned(), Place::to_string);
    Err(Refusal::IncarnationElsewhere { application, incarnation, place })
}
