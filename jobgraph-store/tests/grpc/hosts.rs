//! On which host what runs, as the record shows it.

use chassis::credential::Principal;
use proto::jobgraph::process_service_client::ProcessServiceClient;
use proto::{ApplicationRef, Place, PlaceUid, Reason, fences, jobgraph};
use record::{Holder, Record as _};

use crate::host::Host;

#[tokio::test]
async fn the_record_says_where_a_leader_and_its_cluster_run() {
    let host = Host::start().await;
    let (app, leader) = host.led("placed").await;
    let record = host.record();
    let shown = record.read(&app).await.unwrap().application.unwrap();
    assert_eq!(shown.leadership.unwrap().host, "", "an older build names no host");

    let place = Place::host("a-1", PlaceUid::from_bytes([0xa1; 8])).unwrap();
    let leader = proto::EpochFence { epoch: leader.epoch.next(), ..leader };
    let holder = Holder::new("runner-1", 1).at(Some(place.clone()));
    record.begin_attempt(&leader, &holder, "lease expired").await.unwrap();
    let begin = jobgraph::BeginClusterRequest {
        request_id: "c1".into(),
        place: Some(place.clone().into()),
        ..Default::default()
    };
    record.begin_cluster(&leader, begin.clone()).await.unwrap();
    let read = record.read(&app).await.unwrap();
    assert_eq!(read.cluster_place, Some(place.clone().into()));
    let incarnation = proto::Incarnation(1);
    let cluster = proto::IncarnationFence { application: app.clone(), incarnation };
    let confirmed = record.confirm_incarnation(&cluster).await.unwrap();
    assert_eq!((confirmed.holds, confirmed.place), (true, Some(place)));
    let shown = read.application.unwrap();
    assert_eq!(shown.leadership.unwrap().host, "a-1");
    assert_eq!(shown.cluster.unwrap().host, "a-1");

    let nameless = fences::Place { kind: "host".into(), ..Default::default() };
    let begin = jobgraph::BeginClusterRequest { place: Some(nameless), ..begin };
    let malformed = record.begin_cluster(&leader, begin).await.unwrap_err();
    assert_eq!(malformed.reason(), Some(Reason::IdMalformed));
    host.stop().await;
}

fn contender(app: &ApplicationRef, place: Option<&Place>) -> jobgraph::Process {
    let host = place.map(|place| format!("{}/", place.uid())).unwrap_or_default();
    jobgraph::Process {
        key: format!("{}/1/{host}contender/0/contender/0", app.id),
        application: Some(app.clone().into()),
        kind: "contender".into(),
        place: place.cloned().map(Into::into),
        ..Default::default()
    }
}

#[tokio::test]
async fn each_host_lists_its_own_processes_and_those_of_an_older_build_are_the_stores() {
    let host = Host::start().await;
    let (app, _) = host.led("several").await;
    let (here, there) = (host.place(), Place::host("b", PlaceUid::from_bytes([2; 8])).unwrap());
    let processes = host.processes();
    let kept = [None, Some(&here), Some(&there)].map(|place| contender(&app, place));
    for process in &kept {
        processes.put(process.clone(), None).await.unwrap();
    }
    assert_eq!(processes.list_at("", here.uid()).await.unwrap(), kept[..2]);
    assert_eq!(processes.list_at("", there.uid()).await.unwrap(), kept[2..]);
    assert_eq!(processes.list("several/").await.unwrap(), kept);

    let strayed = jobgraph::Process { key: kept[1].key.clone(), ..kept[2].clone() };
    let refused = processes.put(strayed, None).await.unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::RequestInvalid), "a key of another host");
    host.stop().await;
}

/// The processes of an older build are at the place of the store, and so they are given up with it.
#[tokio::test]
async fn a_place_is_given_up_by_its_uid_and_what_waited_for_it_goes_on() {
    let host = Host::start().await;
    let (app, leader) = host.led("lost").await;
    let (here, there) = (host.place(), Place::host("b", PlaceUid::from_bytes([2; 8])).unwrap());
    let begin = jobgraph::BeginClusterRequest {
        request_id: "c1".into(),
        place: Some(there.clone().into()),
        ..Default::default()
    };
    host.record().begin_cluster(&leader, begin).await.unwrap();
    let processes = host.processes();
    let worker = jobgraph::Process {
        key: format!("lost/1/{}/cluster/1/worker/0", there.uid()),
        kind: "cluster".into(),
        number: 1,
        role: "worker".into(),
        ..contender(&app, Some(&there))
    };
    for process in [worker, contender(&app, None), contender(&app, Some(&there))] {
        processes.put(process, None).await.unwrap();
    }
    host.fails(&leader).await;
    let waits = host.record().mark_clean(&leader, Vec::new()).await.unwrap_err();
    assert_eq!(waits.reason(), Some(Reason::PlacesNotReleased));
    let problem = waits.told().problem();
    assert_eq!(problem.metadata.get("places").map(String::as_str), Some("b"));
    assert!(problem.help.iter().any(|help| help.text.contains("host give-up")), "{problem:?}");
    let shown = host.record().read(&app).await.unwrap().cluster_places;
    assert_eq!(shown, [fences::Place::from(there.clone())]);

    let owner = host.as_(Some(&Principal::Deployment));
    let mut raw = ProcessServiceClient::new(owner.channel());
    let nobody = raw.give_up_place(jobgraph::GiveUpPlaceRequest::default()).await.unwrap_err();
    assert_eq!(proto::problem::reason(&nobody), Some(Reason::IdMalformed));
    let given_up = processes.give_up_place(there.uid(), "me@a", "it burnt").await.unwrap();
    assert_eq!((given_up.processes, given_up.applications), (2, vec![app.clone().into()]));
    host.record().mark_clean(&leader, Vec::new()).await.unwrap();
    let own = processes.give_up_place(here.uid(), "me@a", "").await.unwrap();
    assert_eq!((own.processes, own.applications), (1, Vec::new()));
    assert!(processes.list("").await.unwrap().is_empty());
    host.stop().await;
}
