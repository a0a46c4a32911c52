//! Which processes of a cluster may be intended, and where.

use proto::{Place, PlaceUid, fences, jobgraph};

use super::draft;
use crate::keys::fence::ClusterFence;
use crate::model::{Refusal, process};

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
