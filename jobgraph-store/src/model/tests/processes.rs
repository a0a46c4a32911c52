//! Which processes of a cluster may be intended, and where; and which places have a share.

use proto::{Place, PlaceUid, api, fences, jobgraph};

use super::{draft, fence, led};
use crate::keys::fence::ClusterFence;
use crate::model::{Refusal, ending, place as shares, process};

fn place(name: &str, byte: u8) -> Place {
    Place::host(name, PlaceUid::from_bytes([byte; 8])).unwrap()
}

fn wire(place: &Place) -> Option<fences::Place> {
    Some(place.clone().into())
}

#[test]
fn who_names_no_place_means_the_host_of_the_record() {
    let (here, there) = (place("here", 1), place("there", 2));
    let renamed = place("renamed", 1);
    let application = draft().dossier.application;
    for (begun, asked, own, admitted) in [
        // An older build began the cluster, or an older lifecycle asks, or both.
        (None, None, None, true),
        (None, None, Some(&here), true),
        (None, wire(&here), Some(&here), true),
        (None, wire(&there), Some(&here), false),
        (wire(&here), None, Some(&here), true),
        (wire(&there), None, Some(&here), false),
        // Both know their place, so the host of the record means nothing.
        (wire(&there), wire(&there), Some(&here), true),
        (wire(&there), wire(&here), Some(&here), false),
        // A host that got another name is the same host.
        (wire(&here), wire(&renamed), Some(&there), true),
        // A record without a place of its own does not guess.
        (wire(&here), None, None, false),
        (None, wire(&here), None, false),
    ] {
        let (incarnation, generation) = (3, application.generation.get());
        let cluster =
            ClusterFence { incarnation, generation, place: begun.clone(), ..Default::default() };
        let intent = jobgraph::Process { number: 3, place: asked.clone(), ..Default::default() };
        let said = process::admit(&application, &intent, &cluster, own);
        assert_eq!(said.is_ok(), admitted, "begun at {begun:?}, asked at {asked:?}, own {own:?}");
        let elsewhere = matches!(said, Ok(()) | Err(Refusal::IncarnationElsewhere { .. }));
        assert!(elsewhere, "{said:?}");
    }
}

#[test]
fn only_the_current_incarnation_of_its_own_generation_is_started() {
    let application = draft().dossier.application;
    let generation = application.generation.get();
    for (incarnation, of, admitted) in [
        (3, generation, true),
        (4, generation, false),
        (2, generation, false),
        (3, generation - 1, false),
        (0, 0, false),
    ] {
        let cluster = ClusterFence { incarnation, generation: of, ..Default::default() };
        let intent = jobgraph::Process { number: 3, ..Default::default() };
        let said = process::admit(&application, &intent, &cluster, None);
        assert_eq!(said.is_ok(), admitted, "the record says {incarnation} of generation {of}");
    }
}

#[test]
fn an_intent_starts_something_and_a_tombstone_does_not() {
    use jobgraph::ProcessState::{GaveUp, Gone, Intended, Unspecified};
    for (kind, state, starts) in [
        ("cluster", Intended, true),
        ("cluster", Unspecified, true),
        ("cluster", Gone, false),
        ("cluster", GaveUp, false),
        ("contender", Intended, false),
    ] {
        let process =
            jobgraph::Process { kind: kind.into(), state: state.into(), ..Default::default() };
        assert_eq!(process::is_intended_for_cluster(&process), starts, "{kind} {state:?}");
    }
}

/// An intent of this incarnation, or what became of it.
fn of_cluster(
    number: u64,
    place: Option<&Place>,
    state: jobgraph::ProcessState,
) -> jobgraph::Process {
    jobgraph::Process {
        kind: "cluster".into(),
        number,
        state: state.into(),
        place: place.and_then(wire),
        ..Default::default()
    }
}

#[test]
fn a_place_has_a_share_while_it_may_run_something_and_a_leader_minds_other_places_only() {
    use jobgraph::ProcessState::{Gone, Intended};
    let (here, there) = (place("here", 1), place("there", 2));
    let processes = [
        of_cluster(1, Some(&there), Intended),
        of_cluster(3, Some(&there), Intended),
        of_cluster(2, Some(&there), Gone),
        of_cluster(4, Some(&here), Intended),
        of_cluster(4, None, Intended),
        jobgraph::Process {
            kind: "contender".into(),
            ..of_cluster(0, Some(&place("third", 3)), Intended)
        },
    ];
    let leftovers = |leader: Option<&Place>, own: Option<&Place>| {
        let mut dossier = draft().dossier;
        dossier.attempt.place = leader.and_then(wire);
        let unreleased = shares::unreleased(&dossier, &processes, own).unwrap();
        unreleased.iter().map(shares::Share::leftover).collect::<Vec<_>>()
    };
    let left_there = "host there: processes of incarnations 1, 3 may live there";
    let left_here = "host here: processes of incarnation 4 may live there";
    // An older build that named no place meant the record's own, in an intent and as a leader.
    assert_eq!(leftovers(Some(&here), Some(&here)), [left_there]);
    assert_eq!(leftovers(None, Some(&here)), [left_there]);
    assert_eq!(leftovers(Some(&there), Some(&here)), [left_here]);
    // A record without a place of its own does not guess.
    let nameless = "host without a name: processes of incarnation 4 may live there";
    assert_eq!(leftovers(Some(&here), None), [nameless, left_there]);
    assert_eq!(leftovers(None, None), [left_here, left_there]);
}

/// The next incarnation was begun and never provisioned, so that nothing has ended the one before.
#[test]
fn a_leader_minds_at_its_own_place_what_is_left_of_clusters_that_were_replaced() {
    use jobgraph::ProcessState::Intended;
    let here = place("here", 1);
    let processes = [2, 3].map(|number| of_cluster(number, Some(&here), Intended));
    let mut dossier = draft().dossier;
    dossier.attempt.place = wire(&here);
    dossier.cluster.incarnation = 3;
    let unreleased = shares::unreleased(&dossier, &processes, Some(&here)).unwrap();
    let left: Vec<_> = unreleased.iter().map(shares::Share::leftover).collect();
    assert_eq!(left, ["host here: processes of incarnation 2 may live there"]);
    let unreleased = shares::unreleased(&dossier, &processes[1..], Some(&here)).unwrap();
    assert_eq!(unreleased, [], "the leader tears the current one down");
}

#[test]
fn clean_waits_for_places_unless_the_application_is_abandoned_and_then_names_them_first() {
    let share = shares::Share { place: Some(place("there", 2)), incarnations: [7].into() };
    let elsewhere = std::slice::from_ref(&share);
    let mut draft = led(1);
    let clean = ending::mark_clean(&mut draft, &fence(1), &[], elsewhere);
    assert!(matches!(clean, Err(Refusal::NotEnded(_))), "{clean:?}");
    let end = ::record::ApplicationEnd::new(api::Outcome::Failed, "MAIN_EXITED", "");
    ending::end(&mut draft, &fence(1), end, 0).unwrap();
    let before = draft.clone();
    let clean = ending::mark_clean(&mut draft, &fence(1), &[], elsewhere);
    let named = |refused: &Refusal| matches!(refused, Refusal::PlacesNotReleased { places, .. } if *places == ["there"]);
    assert!(clean.as_ref().is_err_and(named), "{clean:?}");
    assert_eq!(draft, before);
    ending::abandon(&mut draft, "", "me@here").unwrap();
    let pid = "pid 812".to_owned();
    let leftovers = std::slice::from_ref(&pid);
    assert_eq!(ending::mark_clean(&mut draft, &fence(1), leftovers, elsewhere), Ok(true));
    let shown = draft.dossier.state.application();
    assert!(shown.clean);
    assert_eq!(shown.leftovers, [share.leftover(), pid]);
    assert_eq!(ending::mark_clean(&mut draft, &fence(1), &[], elsewhere), Ok(false), "a repeat");
}
