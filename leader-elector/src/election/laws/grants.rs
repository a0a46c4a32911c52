//! Laws 2, 5 and 7: epochs, resigning, order.
#![allow(clippy::unwrap_used)]

use proto::Epoch;

use super::rig::{Rig, Verdict, application, enter, fence, so};
use crate::model::{Cause, Enter, Position};

pub(super) async fn epochs_only_grow(rig: &Rig) -> Verdict {
    let mut last = Epoch(0);
    for round in 1..=rig.generations() {
        // Every other round has a new elector process and a new generation of the application.
        let election = rig.open().await;
        for holder in ["runner-0", "runner-1"] {
            let generation = application(round);
            let mut campaign =
                election.enter(Enter { application: generation, ..enter(holder) }).await.unwrap();
            rig.advance(rig.lease).await;
            let epoch = rig.won(&mut campaign).await?.epoch;
            so(epoch > last, format!("epoch {epoch} after {last}"))?;
            last = epoch;
            if round % 2 == 0 {
                election.resign(&fence(epoch), holder).await.unwrap();
            }
        }
    }
    Ok(())
}

pub(super) async fn an_epoch_is_above_at_least(rig: &Rig) -> Verdict {
    let election = rig.open().await;
    let mut first =
        election.enter(Enter { at_least: Epoch(41), ..enter("runner-0") }).await.unwrap();
    let epoch = rig.won(&mut first).await?.epoch;
    so(epoch > Epoch(41), format!("epoch {epoch} is not above 41"))?;
    so(election.resign(&fence(epoch), "runner-0").await.unwrap(), "the leader could not resign")?;
    // A contender that knows only an older epoch does not make the epoch fall.
    let mut second =
        election.enter(Enter { at_least: Epoch(7), ..enter("runner-1") }).await.unwrap();
    let elected = rig.won(&mut second).await?;
    so(elected.epoch > epoch, format!("epoch {} after {epoch}", elected.epoch))?;
    so(
        elected.previous == Some((epoch, Cause::Resigned)),
        format!("previous: {:?}", elected.previous),
    )
}

pub(super) async fn whoever_resigned_is_succeeded_at_once(rig: &Rig) -> Verdict {
    let election = rig.open().await;
    let mut leader = election.enter(enter("runner-0")).await.unwrap();
    let epoch = rig.won(&mut leader).await?.epoch;
    let mut standby = election.enter(enter("runner-1")).await.unwrap();
    rig.waits(&mut standby).await?;
    so(
        !election.resign(&fence(epoch), "runner-1").await.unwrap(),
        "a standby resigned for the leader",
    )?;
    so(
        !election.resign(&fence(epoch.next()), "runner-0").await.unwrap(),
        "another epoch was resigned",
    )?;
    so(election.resign(&fence(epoch), "runner-0").await.unwrap(), "the leader could not resign")?;
    // No time passes between the resignation and the succession.
    let elected = rig.won(&mut standby).await?;
    so(
        elected.previous == Some((epoch, Cause::Resigned)),
        format!("previous: {:?}", elected.previous),
    )?;
    let told = rig.heard(&mut leader).await;
    so(
        told == Some(Position::Lost(Cause::Resigned)),
        format!("the earlier leader heard {told:?}"),
    )?;
    so(!election.resign(&fence(epoch), "runner-0").await.unwrap(), "resigned twice")
}

pub(super) async fn resigned_is_resigned_after_a_restart(rig: &Rig) -> Verdict {
    let election = rig.open().await;
    let mut leader = election.enter(enter("runner-0")).await.unwrap();
    let epoch = rig.won(&mut leader).await?.epoch;
    so(election.resign(&fence(epoch), "runner-0").await.unwrap(), "the leader could not resign")?;
    drop((leader, election));
    let election = rig.open().await;
    let mut next = election.enter(enter("runner-1")).await.unwrap();
    let elected = rig.won(&mut next).await?;
    so(
        elected.previous == Some((epoch, Cause::Resigned)),
        format!("previous: {:?}", elected.previous),
    )
}

pub(super) async fn who_waits_is_granted_in_order(rig: &Rig) -> Verdict {
    let election = rig.open().await;
    let mut leader = election.enter(enter("runner-0")).await.unwrap();
    let mut epoch = rig.won(&mut leader).await?.epoch;
    let mut standbys = Vec::new();
    for holder in ["runner-1", "runner-2", "runner-3"] {
        standbys.push((holder, election.enter(enter(holder)).await.unwrap()));
    }
    // The last standby in the queue listens first, so that listening cannot decide the order.
    for (_, standby) in standbys.iter_mut().rev() {
        rig.waits(standby).await?;
    }
    let mut holder = "runner-0";
    for (next, standby) in &mut standbys {
        so(election.resign(&fence(epoch), holder).await.unwrap(), "the leader could not resign")?;
        epoch = rig.won(standby).await.map_err(|why| format!("{next} is next: {why}"))?.epoch;
        holder = next;
    }
    Ok(())
}
