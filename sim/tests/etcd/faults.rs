//! What a test does to the in-memory etcd, as clients meet it.

use std::time::Duration;

use chassis::clock::{SystemClock, timeout};
use etcd_client::{
    AlarmAction, AlarmOptions, AlarmType, Error, Txn, TxnOp, WatchOptions, WatchResponse,
    WatchStream,
};

use crate::member::InMemory;

const PATIENCE: Duration = Duration::from_secs(20);

fn refusal<T>(answer: Result<T, Error>) -> String {
    match answer {
        Ok(_) => "done".to_owned(),
        Err(Error::GRpcStatus(status)) => status.message().to_owned(),
        Err(error) => error.to_string(),
    }
}

async fn message(watch: &mut WatchStream) -> Result<Option<WatchResponse>, Error> {
    timeout(&SystemClock, PATIENCE, watch.message()).await.unwrap()
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_done() {
    let InMemory { etcd, client, .. } = &mut InMemory::start().await;
    etcd.lose_answers(1..2);
    assert_eq!(refusal(client.put("a", "0", None).await), "done");
    // A transaction that only reads is no write.
    let look = Txn::new().and_then(vec![TxnOp::get("a", None)]);
    assert_eq!(refusal(client.txn(look).await), "done");
    let lost = client.put("a", "1", None).await;
    assert_eq!(refusal(lost), "etcdserver: request timed out");
    assert_eq!(client.get("a", None).await.unwrap().kvs()[0].value(), b"1");
    assert_eq!(refusal(client.put("a", "2", None).await), "done");
}

#[tokio::test]
async fn without_a_leader_calls_are_refused_and_watches_end() {
    let InMemory { etcd, client, .. } = &mut InMemory::start().await;
    let mut watch = client.watch("a", None).await.unwrap();
    assert!(message(&mut watch).await.unwrap().unwrap().created());
    etcd.lose_leader();
    assert_eq!(refusal(message(&mut watch).await), "etcdserver: no leader");
    assert_eq!(refusal(client.get("a", None).await), "etcdserver: no leader");
    assert_eq!(refusal(client.put("a", "1", None).await), "etcdserver: no leader");
    etcd.elect_leader();
    assert_eq!(client.get("a", None).await.unwrap().count(), 0);
    let from = WatchOptions::new().with_start_revision(1);
    let mut watch = client.watch("a", Some(from)).await.unwrap();
    assert!(message(&mut watch).await.unwrap().unwrap().created());
    assert_eq!(refusal(client.put("a", "1", None).await), "done");
    assert_eq!(message(&mut watch).await.unwrap().unwrap().events().len(), 1);
}

#[tokio::test]
async fn a_past_that_is_given_up_is_lost_to_a_watch_that_asks_for_it() {
    let InMemory { etcd, client, .. } = &mut InMemory::start().await;
    for value in ["1", "2"] {
        assert_eq!(refusal(client.put("a", value, None).await), "done");
    }
    etcd.compact();
    let from = WatchOptions::new().with_start_revision(2);
    let mut watch = client.watch("a", Some(from)).await.unwrap();
    assert!(message(&mut watch).await.unwrap().unwrap().created());
    assert_eq!(message(&mut watch).await.unwrap().unwrap().compact_revision(), 3);
    assert_eq!(client.get("a", None).await.unwrap().kvs()[0].value(), b"2");
}

#[tokio::test]
async fn a_lease_is_shorter_than_asked_for_where_etcd_grants_less() {
    let InMemory { etcd, client, .. } = &mut InMemory::start().await;
    assert_eq!(client.lease_grant(5, None).await.unwrap().ttl(), 5);
    etcd.limit_leases(1);
    let granted = client.lease_grant(5, None).await.unwrap();
    assert_eq!(granted.ttl(), 1);
    let left = client.lease_time_to_live(granted.id(), None).await.unwrap();
    assert_eq!(left.granted_ttl(), 1);
}

#[tokio::test]
async fn a_lack_of_room_lasts_until_its_alarm_is_cleared() {
    let InMemory { etcd, client, .. } = &mut InMemory::start().await;
    let full = "etcdserver: mvcc: database space exceeded";
    etcd.use_up_space();
    assert_eq!(refusal(client.put("a", "1", None).await), full);
    assert_eq!(client.get("a", None).await.unwrap().count(), 1);
    assert_eq!(refusal(client.put("b", "1", None).await), full);
    let raised = client.alarm(AlarmAction::Get, AlarmType::Nospace, None).await.unwrap();
    let member = raised.alarms()[0].member_id();
    assert_eq!(refusal(client.delete("a", None).await), "done");
    let mut options = AlarmOptions::new();
    options.with_member(member);
    let cleared = client.alarm(AlarmAction::Deactivate, AlarmType::Nospace, Some(options)).await;
    assert_eq!(cleared.unwrap().alarms().len(), 1);
    assert_eq!(refusal(client.put("b", "1", None).await), "done");
}
