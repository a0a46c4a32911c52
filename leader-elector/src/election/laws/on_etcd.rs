//! What is so on etcd alone: its limits, and what other hands may do to its keys.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use ::etcd::{Error as EtcdError, Etcd, revision_of};
use chassis::clock::{Clock as _, timeout};
use etcd_client::{AlarmAction, AlarmOptions, AlarmType, CompactionOptions, DeleteOptions};
use etcd_client::{Txn, TxnOp};

use super::rig::{Rig, Server, Verdict, application, enter, fence, renewed, so};
use crate::election::{Campaign, Election};
use crate::error::Error;
use crate::model::{Enter, Position};

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

/// What deletes the key `/deleted/election/orders/leader`, whose name is in base 64.
const DELETE_LEADER: &str = r#"{"key":"L2RlbGV0ZWQvZWxlY3Rpb24vb3JkZXJzL2xlYWRlcg=="}"#;

/// A lease outlives its key when the key is deleted by hand. A holder that renews after that must
/// not be told for longer than a lease that it leads, also by an elector that has not heard of the
/// deletion: the call that deletes holds up this test's only thread, on which the elector listens.
#[tokio::test]
async fn a_leader_whose_key_is_deleted_is_told_so_by_a_renewal_a_lease_later() -> Verdict {
    let server = Server::start();
    let rig = Rig::etcd(server.clone(), "/deleted".to_owned());
    let elector = rig.open().await;
    let mut leader = entered(&elector, enter("runner-0")).await?;
    let epoch = rig.won(&mut leader).await?.epoch;
    rig.clock.sleep(rig.lease / 2).await;
    renewed(&mut leader).await?;
    rig.clock.sleep(rig.lease / 2).await;
    let (address, path) = (server.address(), "/v3/kv/deleterange");
    let deleted = e2e::http::tell(&address, "POST", path, DELETE_LEADER).unwrap();
    so(deleted.json()["deleted"] == "1", format!("deleting came to {deleted:?}"))?;
    let renewed = leader.renew().await;
    so(matches!(renewed, Ok(Err(_))), format!("renewing came to {renewed:?}"))?;
    drop(leader);
    let mut next = entered(&elector, enter("runner-1")).await?;
    let won = rig.won(&mut next).await?.epoch;
    so(won > epoch, format!("epoch {won} follows {epoch}"))
}

/// A lease that is revoked by hand takes the leader's key with it.
#[tokio::test]
async fn a_leader_whose_lease_is_revoked_is_told_so_and_followed_at_once() -> Verdict {
    let rig = Rig::etcd(Server::start(), "/revoked".to_owned());
    let (elector, etcd) = (rig.open().await, rig.client().await);
    let mut leader = entered(&elector, enter("runner-0")).await?;
    let epoch = rig.won(&mut leader).await?.epoch;
    let mut standby = entered(&elector, enter("runner-1")).await?;
    rig.waits(&mut standby).await?;
    let found = etcd.call(PATIENCE, |client| async move {
        client.kv_client().get("/revoked/election/orders/leader", None).await
    });
    let lease = found.await.unwrap().kvs()[0].lease();
    let revoking =
        etcd.call(PATIENCE, |client| async move { client.lease_client().revoke(lease).await });
    revoking.await.unwrap();
    let begin = rig.clock.boot();
    let won = rig.won(&mut standby).await?;
    let took = rig.clock.boot().saturating_duration_since(begin);
    so(took < rig.lease / 2, format!("the standby waited for {took:?}"))?;
    so(won.epoch > epoch, format!("epoch {} follows {epoch}", won.epoch))?;
    let renewed = leader.renew().await;
    so(matches!(renewed, Ok(Err(_))), format!("renewing came to {renewed:?}"))
}

/// A contender may go at any moment of its election, also when etcd has given it the seat and no
/// answer has arrived. The next contender does not wait for the lease of a leader that is gone.
#[tokio::test]
async fn a_contender_that_goes_while_it_is_elected_holds_no_seat() -> Verdict {
    let rig = Rig::etcd(Server::start(), "/gone".to_owned());
    let elector = rig.open().await;
    for round in 0..24_u32 {
        let mut gone = entered(&elector, enter("runner-0")).await?;
        let heard = timeout(&rig.clock, Duration::from_micros(500) * round, async {
            loop {
                if let Position::Elected(elected) = gone.next().await.unwrap() {
                    return elected;
                }
            }
        });
        let heard = heard.await;
        drop(gone);
        // One that has heard that it leads has its lease, unless it gives the seat up.
        if let Ok(elected) = heard {
            let resigned = elector.resign(&fence(elected.epoch), "runner-0").await;
            so(resigned == Ok(true), format!("resigning came to {resigned:?}"))?;
        }
        let mut next = entered(&elector, enter("runner-1")).await?;
        let begin = rig.clock.boot();
        let won = rig.won(&mut next).await?;
        let took = rig.clock.boot().saturating_duration_since(begin);
        so(took < rig.lease / 2, format!("round {round}: the next contender waited for {took:?}"))?;
        let resigned = elector.resign(&fence(won.epoch), "runner-1").await;
        so(resigned == Ok(true), format!("resigning came to {resigned:?}"))?;
    }
    Ok(())
}

/// A key that cannot be read is no free seat: contenders and observers are told its name.
#[tokio::test]
async fn an_unreadable_key_is_named_to_all_that_ask() -> Verdict {
    let rig = Rig::etcd(Server::start(), "/unreadable".to_owned());
    let etcd = rig.client().await;
    for key in ["/unreadable/election/orders/leader", "/unreadable/election/orders/last"] {
        let put = TxnOp::put(key, "no JSON", None);
        etcd.transact(PATIENCE, &Txn::new().and_then(vec![put])).await.unwrap();
        let elector = rig.open().await;
        let mut contender = entered(&elector, enter("runner-0")).await?;
        let position = contender.next().await;
        let mut observer = elector.observe(&application(1).id).await.unwrap();
        for told in [position.map(drop), observer.next().await.map(drop)] {
            let named =
                matches!(&told, Err(Error::KeyUnreadable { key: named, .. }) if named == key);
            so(named, format!("{key}: it came to {told:?}"))?;
        }
        let delete = TxnOp::delete(key, None);
        etcd.transact(PATIENCE, &Txn::new().and_then(vec![delete])).await.unwrap();
    }
    let elector = rig.open().await;
    rig.won(&mut entered(&elector, enter("runner-0")).await?).await.map(drop)
}
