//! Laws 1 to 5: how long a seat is kept, and for whom.

use super::stage::{Stage, VERSION, attend, listed, place, uid_of};
use crate::election::laws::rig::{Verdict, so};
use crate::error::Error;

fn free(host: &str) -> Error {
    Error::SeatFree { host: host.to_owned() }
}

pub(super) async fn a_silent_host_loses_its_seat(stage: &Stage) -> Verdict {
    let hosts = stage.open().await;
    let mut silent = attend(&hosts, place("a", 1)).await?;
    let mut renewing = attend(&hosts, place("b", 2)).await?;
    let mut last = None;
    for _ in 0..8 {
        stage.sees(&mut renewing, &["a", "b"]).await?;
        stage.rig.advance(stage.rig.step()).await;
        // The silent host listens, and does not renew.
        last = stage.heard(&mut silent).await.and_then(Result::err);
    }
    if last.is_none() {
        last = stage.last_word(&mut silent).await;
    }
    so(last == Some(free("a")), format!("the silent host heard {last:?}"))?;
    stage.sees(&mut renewing, &["b"]).await?;
    listed(&hosts, &["b"]).await?;
    let late = silent.renew().await;
    so(late == Err(free("a")), format!("a renewal after the lease came to {late:?}"))
}

pub(super) async fn a_host_that_renews_keeps_its_seat(stage: &Stage) -> Verdict {
    let hosts = stage.open().await;
    let mut seat = attend(&hosts, place("a", 1)).await?;
    for _ in 0..stage.rig.rounds() {
        stage.rig.advance(stage.rig.lease / 3).await;
        stage.sees(&mut seat, &["a"]).await?;
    }
    listed(&hosts, &["a"]).await
}

pub(super) async fn a_name_has_one_host(stage: &Stage) -> Verdict {
    let hosts = stage.open().await;
    let mut first = attend(&hosts, place("a", 1)).await?;
    let refused = hosts.attend(place("a", 2), VERSION.to_owned()).await.map(drop);
    let taken = |uid: u8| Error::HostNameTaken { host: "a".to_owned(), by: uid_of(uid) };
    so(refused == Err(taken(1)), format!("another host's attending came to {refused:?}"))?;
    stage.sees(&mut first, &["a"]).await?;
    stage.rig.outlast_the_lease().await;
    let mut second = attend(&hosts, place("a", 2)).await?;
    stage.sees(&mut second, &["a"]).await?;
    let late = first.renew().await;
    so(late == Err(taken(2)), format!("the first host's renewal came to {late:?}"))?;
    first.leave().await.map_err(|error| error.to_string())?;
    stage.sees(&mut second, &["a"]).await
}

pub(super) async fn a_host_goes_on_on_another_stream(stage: &Stage) -> Verdict {
    let hosts = stage.open().await;
    let mut other = attend(&hosts, place("b", 2)).await?;
    let mut first = attend(&hosts, place("a", 1)).await?;
    let mut second = attend(&hosts, place("a", 1)).await?;
    let superseded = Error::HostSuperseded { host: "a".to_owned() };
    let last = stage.last_word(&mut first).await;
    so(last.as_ref() == Some(&superseded), format!("the first stream heard {last:?}"))?;
    let late = first.renew().await;
    so(late == Err(superseded), format!("its renewal came to {late:?}"))?;
    first.leave().await.map_err(|error| error.to_string())?;
    // The lease of the first stream ends, and takes nothing with it.
    for _ in 0..4 {
        stage.sees(&mut second, &["a", "b"]).await?;
        stage.sees(&mut other, &["a", "b"]).await?;
        stage.rig.advance(stage.rig.lease / 3).await;
    }
    stage.sees(&mut second, &["a", "b"]).await
}

pub(super) async fn a_seat_that_is_left_is_free_at_once(stage: &Stage) -> Verdict {
    let hosts = stage.open().await;
    let mut other = attend(&hosts, place("b", 2)).await?;
    let leaving = attend(&hosts, place("a", 1)).await?;
    stage.sees(&mut other, &["a", "b"]).await?;
    leaving.leave().await.map_err(|error| error.to_string())?;
    listed(&hosts, &["b"]).await?;
    stage.sees(&mut other, &["b"]).await?;
    let mut next = attend(&hosts, place("a", 3)).await?;
    stage.sees(&mut next, &["a", "b"]).await
}

pub(super) async fn a_break_frees_nothing_before_the_lease_does(stage: &Stage) -> Verdict {
    let hosts = stage.open().await;
    let mut other = attend(&hosts, place("b", 2)).await?;
    drop(attend(&hosts, place("a", 1)).await?);
    for _ in 0..7 {
        stage.sees(&mut other, &["a", "b"]).await?;
        listed(&hosts, &["a", "b"]).await?;
        stage.rig.advance(stage.rig.step()).await;
    }
    stage.sees(&mut other, &["a", "b"]).await?;
    stage.rig.advance(stage.rig.step()).await;
    stage.sees(&mut other, &["b"]).await
}
