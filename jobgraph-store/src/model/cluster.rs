//! Lives of a cluster: each begins with a new incarnation, and the leader tells what becomes of it.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use chassis::failpoint;
use proto::{EpochFence, Incarnation, Place, api, jobgraph};

use super::event::Telling;
use super::{Dossier, Draft, Refusal};

/// After so many incarnations in a row without a job's end or a checkpoint, no further one is
/// begun.
pub const MAX_BARREN: u32 = 3;

/// So many clusters in a row may be replaced by one of another host before they bring anything.
/// They did not die, as far as is known, but a cluster that takes its leader's host down with it
/// would move from host to host for ever.
pub const MAX_MOVES: u32 = 12;

/// A cluster that was ready for so long before it moved has not taken its host down by starting.
/// Hosts go down every now and then, and what runs for a year moves with each of them. This is by
/// the wall clock, which is all that two hosts share: a clock that is wrong lets a cluster move too
/// often, or ends one that moved twelve times.
pub const STOOD: Duration = Duration::from_secs(3_600);

/// The condition that tells whether the current incarnation is ready, and since when.
const CLUSTER_READY: &str = "ClusterReady";

/// The condition that a leader sets to false when a process of the cluster has died and is started
/// again.
const PROCESSES_LIVE: &str = "ProcessesLive";

/// The answer to a leader. It has no token, because tokens are minted where the key is: on the
/// wire.
fn begun(incarnation: u64, barren_incarnations: u32) -> jobgraph::BeginClusterResponse {
    jobgraph::BeginClusterResponse { incarnation, barren_incarnations, jobs_token: String::new() }
}

/// Whether the current incarnation stands, as far as is known, and is not of this place. A cluster
/// of a build that named no place counts as one that died.
fn is_taken_over(dossier: &Dossier, place: Option<&Place>) -> Result<bool, Refusal> {
    let cluster = dossier.state.application().cluster.as_ref();
    let state = cluster.map(api::Cluster::state).unwrap_or_default();
    let stands = matches!(state, api::ClusterState::Starting | api::ClusterState::Ready);
    let known = dossier.state.record.as_ref().and_then(|record| record.cluster_place.clone());
    let moves = |(known, place): (Place, &Place)| known.uid() != place.uid();
    Ok(stands && Place::read(known)?.zip(place).is_some_and(moves))
}

/// Whether the current incarnation has been ready for long.
fn stood(draft: &Draft) -> bool {
    let conditions = &draft.dossier.state.application().conditions;
    let ready = conditions.iter().find(|known| {
        known.r#type == CLUSTER_READY && known.status() == api::ConditionStatus::True
    });
    let since = ready.and_then(|ready| SystemTime::try_from(ready.observed_at?).ok());
    since.and_then(|since| draft.now.duration_since(since).ok()).is_some_and(|stood| stood >= STOOD)
}

/// Begins a new incarnation. This is the one writer of the cluster's fence. The same request is
/// answered the same number.
pub fn begin(
    draft: &mut Draft,
    fence: &EpochFence,
    request: &jobgraph::BeginClusterRequest,
) -> Result<jobgraph::BeginClusterResponse, Refusal> {
    draft.dossier.check_epoch(fence)?;
    if request.request_id.is_empty() {
        return Err(Refusal::RequestInvalid("request_id is empty: choose one per wish".into()));
    }
    let place = Place::read(request.place.clone())?;
    let stood = stood(draft);
    let dossier = &mut draft.dossier;
    let barren = dossier
        .state
        .application()
        .cluster
        .as_ref()
        .map_or(0, |cluster| cluster.barren_incarnations);
    if dossier.cluster.generation == fence.application.generation.get()
        && dossier.cluster.request_id == request.request_id
    {
        // The place of an incarnation never changes, so one wish cannot be for two places. Where an
        // older build has begun the incarnation or repeats the wish, there is no place to compare,
        // and the answer moves nothing: intents are compared with what was begun.
        let begun_at = Place::read(dossier.cluster.place.clone())?;
        if begun_at.zip(place).is_some_and(|(begun_at, place)| begun_at.uid() != place.uid()) {
            let why = format!("request_id {:?} was for another place", request.request_id);
            return Err(Refusal::RequestInvalid(why));
        }
        return Ok(begun(dossier.cluster.incarnation, barren));
    }
    if dossier.is_terminal() {
        return Err(dossier.already_ended());
    }
    // What is replaced by a cluster of another place did not die; its leader did.
    let moves = is_taken_over(dossier, place.as_ref())?;
    let barren = if moves { barren.saturating_sub(1) } else { barren };
    let moved = if stood { 0 } else { dossier.state.moves } + u32::from(moves);
    for (count, most) in [(barren, MAX_BARREN), (moved, MAX_MOVES)] {
        if count >= most {
            let application = dossier.application.clone();
            return Err(Refusal::ClusterKeepsDying { application, count });
        }
    }
    dossier.state.moves = moved;
    // A test plants the bug to see that it would be noticed.
    if dossier.cluster.incarnation == 0 || !failpoint::is_planted("store.incarnation-twice") {
        dossier.cluster.incarnation += 1;
    }
    dossier.cluster.generation = fence.application.generation.get();
    dossier.cluster.request_id.clone_from(&request.request_id);
    dossier.cluster.place = place.clone().map(Into::into);
    let begun = begun(dossier.cluster.incarnation, barren + 1);
    let record = dossier.state.record_mut();
    record.cluster_request_id.clone_from(&request.request_id);
    record.cluster_place = place.clone().map(Into::into);
    record.jobs_endpoint.clear();
    draft.app().cluster = Some(api::Cluster {
        incarnation: begun.incarnation,
        state: api::ClusterState::Starting.into(),
        engine: request.engine.clone(),
        engine_version: request.engine_version.clone(),
        engine_path: request.engine_path.clone(),
        ready_roles: HashMap::new(),
        barren_incarnations: begun.barren_incarnations,
        addresses: HashMap::new(),
        host: place.map(|place| place.to_string()).unwrap_or_default(),
    });
    draft.condition(CLUSTER_READY, api::ConditionStatus::False, "", &request.cause);
    // What died of an earlier incarnation says nothing of these processes.
    if draft.app().conditions.iter().any(|known| known.r#type == PROCESSES_LIVE) {
        draft.condition(PROCESSES_LIVE, api::ConditionStatus::True, "", "");
    }
    draft.tell(
        Telling::new("cluster", format!("incarnation {} starting", begun.incarnation))
            .incarnation(begun.incarnation)
            .with("incarnation", begun.incarnation)
            .with("state", "starting")
            .with("cause", &request.cause)
            .with("engine", &request.engine),
    );
    Ok(begun)
}

/// Records what became of the current incarnation.
pub fn record(
    draft: &mut Draft,
    fence: &EpochFence,
    request: &jobgraph::RecordClusterRequest,
) -> Result<(), Refusal> {
    draft.dossier.check_epoch(fence)?;
    let dossier = &mut draft.dossier;
    if !dossier.cluster.admits(fence.application.generation, Incarnation(request.incarnation)) {
        return Err(dossier.incarnation_superseded(request.incarnation));
    }
    let state = api::ClusterState::try_from(request.state).unwrap_or_default();
    let word = match state {
        api::ClusterState::Unspecified => {
            return Err(Refusal::RequestInvalid(
                "state is not set, or not one of this build".into(),
            ));
        }
        api::ClusterState::Starting => "starting",
        api::ClusterState::Ready => "ready",
        api::ClusterState::Gone => "gone",
    };
    let record = dossier.state.record_mut();
    let endpoint =
        if state == api::ClusterState::Gone { "" } else { request.jobs_endpoint.as_str() };
    let cluster = record.application.get_or_insert_default().cluster.get_or_insert_default();
    let unchanged = cluster.state() == state
        && cluster.ready_roles == request.ready_roles
        && cluster.addresses == request.addresses
        && record.jobs_endpoint == endpoint;
    if unchanged || (cluster.state() == api::ClusterState::Gone && state != api::ClusterState::Gone)
    {
        // The call is a repeat, or a late word about an incarnation that is known to be gone.
        return Ok(());
    }
    cluster.set_state(state);
    cluster.ready_roles.clone_from(&request.ready_roles);
    cluster.addresses.clone_from(&request.addresses);
    record.jobs_endpoint = endpoint.into();
    let mut roles: Vec<String> =
        request.ready_roles.iter().map(|(role, count)| format!("{role}={count}")).collect();
    roles.sort();
    let ready = if state == api::ClusterState::Ready {
        api::ConditionStatus::True
    } else {
        api::ConditionStatus::False
    };
    draft.condition(CLUSTER_READY, ready, "", &request.message);
    draft.tell(
        Telling::new("cluster", format!("incarnation {} {word}", request.incarnation))
            .incarnation(request.incarnation)
            .with("incarnation", request.incarnation)
            .with("state", word)
            .with("roles", roles.join(","))
            .with("message", &request.message),
    );
    Ok(())
}
