//! The incarnations of a cluster, and what is said of them.

use proto::{Incarnation, Place, PlaceUid, api, jobgraph};

use super::{fence, graph, led, made};
use crate::model::{Draft, Refusal, cluster, job};

#[test]
fn three_clusters_in_a_row_that_come_to_nothing_are_the_last_ones() {
    let mut draft = led(1);
    let begin = |draft: &mut Draft, request_id: &str| {
        let request =
            jobgraph::BeginClusterRequest { request_id: request_id.into(), ..Default::default() };
        cluster::begin(draft, &fence(1), &request)
    };
    for n in 1..=3 {
        let begun = begin(&mut draft, &format!("c{n}")).unwrap();
        assert_eq!((begun.incarnation, begun.barren_incarnations), (u64::from(n), n));
    }
    let mut fourth = draft.clone();
    assert!(matches!(begin(&mut fourth, "c4"), Err(Refusal::ClusterKeepsDying { count: 3, .. })));
    // A job's end in the third incarnation starts the count anew.
    let put = job::put_graph(&mut draft, &fence(1), &graph("1", "a", 0)).unwrap();
    let cluster = proto::IncarnationFence {
        application: draft.dossier.application.clone(),
        incarnation: Incarnation(3),
    };
    let failed =
        proto::job::JobEnd { outcome: proto::job::JobOutcome::Failed.into(), ..Default::default() };
    assert!(job::ended(&mut draft, &cluster, made(&put), &failed).unwrap().0);
    assert_eq!(begin(&mut draft, "c4").unwrap().barren_incarnations, 1);
}

#[test]
fn what_died_in_one_cluster_says_nothing_of_the_next() {
    let mut draft = led(1);
    let begin = |draft: &mut Draft, request_id: &str| {
        let request =
            jobgraph::BeginClusterRequest { request_id: request_id.into(), ..Default::default() };
        cluster::begin(draft, &fence(1), &request).unwrap();
    };
    let live = |draft: &Draft| {
        let conditions = &draft.dossier.state.application().conditions;
        conditions.iter().find(|known| known.r#type == "ProcessesLive").map(api::Condition::status)
    };
    begin(&mut draft, "c1");
    assert_eq!(live(&draft), None);
    draft.condition("ProcessesLive", api::ConditionStatus::False, "", "taskmanager-0: restart 1");
    begin(&mut draft, "c2");
    assert_eq!(live(&draft), Some(api::ConditionStatus::True));
}

#[test]
fn the_cluster_that_is_known_to_be_gone_does_not_come_back() {
    let mut draft = led(1);
    let begin = jobgraph::BeginClusterRequest { request_id: "c".into(), ..Default::default() };
    cluster::begin(&mut draft, &fence(1), &begin).unwrap();
    let say = |draft: &mut Draft, incarnation, state: api::ClusterState| {
        let jobs_endpoint = "unix:/jobs".into();
        let request = jobgraph::RecordClusterRequest {
            incarnation,
            state: state.into(),
            jobs_endpoint,
            ..Default::default()
        };
        cluster::record(draft, &fence(1), &request)
    };
    say(&mut draft, 1, api::ClusterState::Ready).unwrap();
    assert_eq!(draft.dossier.state.record.as_ref().unwrap().jobs_endpoint, "unix:/jobs");
    say(&mut draft, 1, api::ClusterState::Gone).unwrap();
    say(&mut draft, 1, api::ClusterState::Ready).unwrap();
    assert_eq!(
        draft.dossier.state.application().cluster.as_ref().unwrap().state(),
        api::ClusterState::Gone
    );
    assert_eq!(draft.dossier.state.record.as_ref().unwrap().jobs_endpoint, "");
    assert!(matches!(
        say(&mut draft, 2, api::ClusterState::Ready),
        Err(Refusal::IncarnationSuperseded { current: 1, .. })
    ));
    assert!(matches!(
        say(&mut draft, 1, api::ClusterState::Unspecified),
        Err(Refusal::RequestInvalid(_))
    ));
}

#[test]
fn a_repeat_by_an_older_build_moves_no_cluster_and_one_for_another_place_is_refused() {
    let at = |byte: u8| Some(Place::host("a", PlaceUid::from_bytes([byte; 8])).unwrap());
    let begin = |draft: &mut Draft, place: Option<Place>| {
        let request = jobgraph::BeginClusterRequest {
            request_id: "c".into(),
            place: place.map(Into::into),
            ..Default::default()
        };
        cluster::begin(draft, &fence(1), &request).map(|begun| begun.incarnation)
    };
    for (first, again, answered) in [
        (None, None, true),
        (None, at(1), true),
        (at(1), None, true),
        (at(1), at(1), true),
        (at(1), at(2), false),
    ] {
        let mut draft = led(1);
        assert_eq!(begin(&mut draft, first.clone()).ok(), Some(1));
        let begun = draft.dossier.cluster.clone();
        let repeated = begin(&mut draft, again.clone());
        assert_eq!(repeated.ok(), answered.then_some(1), "{first:?}, then {again:?}");
        assert_eq!(draft.dossier.cluster, begun);
    }
}

#[test]
fn only_a_cluster_that_stands_on_another_known_host_is_taken_over() {
    let at = |byte: u8| Some(Place::host("a", PlaceUid::from_bytes([byte; 8])).unwrap());
    let begin = |draft: &mut Draft, request_id: &str, place: Option<Place>| {
        let request = jobgraph::BeginClusterRequest {
            request_id: request_id.into(),
            place: place.map(Into::into),
            ..Default::default()
        };
        cluster::begin(draft, &fence(1), &request).unwrap().barren_incarnations
    };
    for (first, second, counted) in [
        (at(1), at(2), 1),
        (at(1), at(1), 2),
        // An older build does not tell where it began a cluster.
        (None, at(2), 2),
        (at(1), None, 2),
    ] {
        let mut draft = led(1);
        begin(&mut draft, "c1", first.clone());
        assert_eq!(begin(&mut draft, "c2", second.clone()), counted, "{first:?}, then {second:?}");
    }
    // A cluster that had a checkpoint or an end counted for nothing before.
    let mut draft = led(1);
    begin(&mut draft, "c1", at(1));
    draft.app().cluster.as_mut().unwrap().barren_incarnations = 0;
    assert_eq!(begin(&mut draft, "c2", at(2)), 1);
}

/// A host that goes down once a week takes no application with it. Red without `stood` in
/// `model/cluster.rs`: the thirteenth host is refused.
#[test]
fn a_cluster_that_stood_for_an_hour_has_not_taken_its_host_down() {
    for (stood, moves) in [(cluster::STOOD, None), (cluster::STOOD / 2, Some(cluster::MAX_MOVES))] {
        let mut draft = led(1);
        let refused = (0..40).find(|&number| {
            let uid = PlaceUid::from_bytes([u8::try_from(number % 2).unwrap(); 8]);
            let request = jobgraph::BeginClusterRequest {
                request_id: format!("c{number}"),
                place: Some(Place::host("a", uid).unwrap().into()),
                ..Default::default()
            };
            let Ok(begun) = cluster::begin(&mut draft, &fence(1), &request) else { return true };
            let ready = jobgraph::RecordClusterRequest {
                incarnation: begun.incarnation,
                state: api::ClusterState::Ready.into(),
                ..Default::default()
            };
            cluster::record(&mut draft, &fence(1), &ready).unwrap();
            draft.now += stood;
            false
        });
        assert_eq!(refused, moves, "each is ready for {stood:?}");
    }
}
