//! What is so on etcd alone: several electors, answers that are lost, and other hands on the keys.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use ::etcd::Etcd;
use chassis::clock::{SystemClock, timeout};
use etcd_client::{Txn, TxnOp};

use super::stage::{Stage, VERSION, attend, listed, place, uid_of};
use crate::election::laws::rig::{Rig, Verdict, so};
use crate::error::Error;

/// How long a call of a test may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The key of the seat of the host `a`.
const KEY: &str = "/laws/hosts/a";

async fn write(etcd: &Etcd, write: TxnOp) {
    etcd.transact(PATIENCE, &Txn::new().and_then(vec![write])).await.unwrap();
}

/// Electors on one etcd are one elector to the hosts: they see each other, and a host goes on in
/// its seat through another elector.
#[tokio::test]
async fn hosts_of_two_electors_see_each_other() -> Verdict {
    let stage = Stage::of(Rig::in_memory());
    let (left, right) = (stage.open().await, stage.open().await);
    let mut first = attend(&left, place("a", 1)).await?;
    let mut other = attend(&right, place("b", 2)).await?;
    stage.sees(&mut first, &["a", "b"]).await?;
    stage.sees(&mut other, &["a", "b"]).await?;
    let refused = right.attend(place("a", 3), VERSION.to_owned()).await.map(drop);
    let taken = Error::HostNameTaken { host: "a".to_owned(), by: uid_of(1) };
    so(refused == Err(taken), format!("another host's attending came to {refused:?}"))?;
    let mut again = attend(&right, place("a", 1)).await?;
    let last = stage.last_word(&mut first).await;
    let superseded = Error::HostSuperseded { host: "a".to_owned() };
    so(last == Some(superseded), format!("the first stream heard {last:?}"))?;
    drop((first, left));
    stage.rig.advance(stage.rig.lease / 2).await;
    stage.sees(&mut again, &["a", "b"]).await?;
    again.leave().await.map_err(|error| error.to_string())?;
    stage.sees(&mut other, &["b"]).await
}

/// A seat is taken by two writes, a lease and a transaction. Whichever of their answers gets lost,
/// the host has its seat.
#[tokio::test]
async fn a_seat_is_taken_whichever_answers_are_lost() -> Verdict {
    for lost in [0..1, 1..2, 1..4, 0..3] {
        let stage = Stage::of(Rig::in_memory());
        let hosts = stage.open().await;
        stage.rig.lose_answers(lost.clone());
        let taking = async {
            // Time passes, so that the elector asks again, and less of it than a lease lasts.
            let (seat, ()) =
                tokio::join!(attend(&hosts, place("a", 1)), stage.rig.advance(stage.rig.lease / 2));
            seat
        };
        let taken = timeout(&SystemClock, PATIENCE, taking).await;
        let taken = taken.map_err(|elapsed| format!("{lost:?} lost: {elapsed}"))?;
        let mut seat = taken.map_err(|why| format!("{lost:?} lost: {why}"))?;
        stage.sees(&mut seat, &["a"]).await?;
        listed(&hosts, &["a"]).await?;
    }
    Ok(())
}

/// A lease outlives its key. A host whose key is deleted by hand is told so, and takes its seat
/// again.
#[tokio::test]
async fn a_host_whose_key_is_deleted_has_no_seat_and_takes_it_again() -> Verdict {
    let stage = Stage::of(Rig::in_memory());
    let (hosts, etcd) = (stage.open().await, stage.rig.client().await);
    let mut seat = attend(&hosts, place("a", 1)).await?;
    stage.sees(&mut seat, &["a"]).await?;
    write(&etcd, TxnOp::delete(KEY, None)).await;
    let last = stage.last_word(&mut seat).await;
    let free = Error::SeatFree { host: "a".to_owned() };
    so(last == Some(free.clone()), format!("the seat heard {last:?}"))?;
    let late = seat.renew().await;
    so(late == Err(free), format!("its renewal came to {late:?}"))?;
    let mut again = attend(&hosts, place("a", 1)).await?;
    stage.sees(&mut again, &["a"]).await
}

/// A key that cannot be read is no free seat, and hides no other host.
#[tokio::test]
async fn an_unreadable_seat_is_named_to_its_host_alone() -> Verdict {
    let stage = Stage::of(Rig::in_memory());
    let (hosts, etcd) = (stage.open().await, stage.rig.client().await);
    let mut other = attend(&hosts, place("b", 2)).await?;
    write(&etcd, TxnOp::put(KEY, "no JSON", None)).await;
    let refused = hosts.attend(place("a", 1), VERSION.to_owned()).await.map(drop);
    let is_named =
        matches!(&refused, Err(Error::SeatUnreadable { key: named, .. }) if named == KEY);
    so(is_named, format!("attending came to {refused:?}"))?;
    stage.sees(&mut other, &["b"]).await?;
    listed(&hosts, &["b"]).await?;
    // An elector that begins now finds the key there.
    listed(&stage.open().await, &["b"]).await?;
    write(&etcd, TxnOp::delete(KEY, None)).await;
    let mut seat = attend(&hosts, place("a", 1)).await?;
    stage.sees(&mut seat, &["a", "b"]).await
}
