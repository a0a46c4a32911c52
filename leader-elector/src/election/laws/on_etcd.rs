//! What is so on etcd alone: its limits, and what other hands may do to its keys.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use ::etcd::{Error as EtcdError, Etcd, revision_of};
use chassis::clock::Clock as _;
use etcd_client::{AlarmAction, AlarmOptions, AlarmType, CompactionOptions, DeleteOptions};
use etcd_client::{Txn, TxnOp};

use super::rig::{Rig, Server, Verdict, enter, fence, renewed, so};
use crate::election::{Campaign, Election};
use crate::model::Enter;

/// How long a call of a test may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A contender that has entered.
async fn entered(election: &Arc<dyn Election>, enter: Enter) -> Result<Box<dyn Campaign>, String> {
    election.enter(enter).await.map_err(|error| error.to_string())
}

/// Fills etcd until it takes no more.
async fn use_up_the_room(etcd: &Etcd) {
    let filler = vec![b'x'; 512 * 1024];
    for n in 0..100 {
        let put = TxnOp::put(format!("/filler/{n}"), filler.clone(), None);
        match etcd.transact_once(&Txn::new().and_then(vec![put])).await {
            Ok(_) => {}
            Err(EtcdError::Full(_)) => return,
            Err(error) => panic!("etcd answers {error}"),
        }
    }
    panic!("etcd never ran out of room");
}

/// Makes room as an operator does, and clears the alarm.
async fn make_room(etcd: &Etcd) {
    let fillers = TxnOp::delete("/filler/", Some(DeleteOptions::new().with_prefix()));
    let deleted = etcd.transact_once(&Txn::new().and_then(vec![fillers])).await.unwrap();
    let revision = revision_of(&deleted);
    let physical = || Some(CompactionOptions::new().with_physical());
    let compacted = etcd.call(PATIENCE, |client| async move {
        client.kv_client().compact(revision, physical()).await
    });
    compacted.await.unwrap();
    let defragmented =
        etcd.call(PATIENCE, |client| async move { client.maintenance_client().defragment().await });
    defragmented.await.unwrap();
    let raised = etcd.call(PATIENCE, |client| async move {
        client.maintenance_client().alarm(AlarmAction::Get, AlarmType::Nospace, None).await
    });
    for alarm in raised.await.unwrap().alarms() {
        let mut of_member = AlarmOptions::new();
        of_member.with_member(alarm.member_id());
        let of_member = &of_member;
        let cleared = etcd.call(PATIENCE, |client| async move {
            let (action, options) = (AlarmAction::Deactivate, Some(of_member.clone()));
            client.maintenance_client().alarm(action, AlarmType::Nospace, options).await
        });
        cleared.await.unwrap();
    }
}

/// etcd takes no more writes, and a renewal is none: the leader stays for longer than its lease.
/// Once there is room, its successor is elected.
#[tokio::test]
async fn a_leader_stays_while_etcd_has_no_room() -> Verdict {
    let server = Server::start_with(&["--quota-backend-bytes", "6291456"]);
    let rig = Rig::etcd(server, "/full".to_owned());
    let (elector, etcd) = (rig.open().await, rig.client().await);
    let mut leader = entered(&elector, enter("runner-0")).await?;
    let epoch = rig.won(&mut leader).await?.epoch;
    let mut standby = entered(&elector, enter("runner-1")).await?;
    use_up_the_room(&etcd).await;
    for _ in 0..10 {
        rig.clock.sleep(rig.step()).await;
        renewed(&mut leader).await?;
        rig.waits(&mut standby).await?;
    }
    make_room(&etcd).await;
    let resigned = elector.resign(&fence(epoch), "runner-0").await;
    so(resigned == Ok(true), format!("resigning came to {resigned:?}"))?;
    let next = rig.won(&mut standby).await?;
    so(next.epoch > epoch, format!("epoch {} follows {epoch}", next.epoch))
}
