//! On which host what runs, as the record shows it.

use proto::{Place, PlaceUid, Reason, fences, jobgraph};
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
    assert_eq!(read.cluster_place, Some(place.into()));
    let shown = read.application.unwrap();
    assert_eq!(shown.leadership.unwrap().host, "a-1");
    assert_eq!(shown.cluster.unwrap().host, "a-1");

    let nameless = fences::Place { kind: "host".into(), ..Default::default() };
    let begin = jobgraph::BeginClusterRequest { place: Some(nameless), ..begin };
    let malformed = record.begin_cluster(&leader, begin).await.unwrap_err();
    assert_eq!(malformed.reason(), Some(Reason::IdMalformed));
    host.stop().await;
}
