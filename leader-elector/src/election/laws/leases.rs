//! Laws 3, 4 and 6: when a lease goes on, when a holder takes it up again, when it ends early.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use proto::Epoch;

use super::rig::{Rig, Verdict, enter, renewed, so};
use crate::election::{Campaign, Election};
use crate::model::{Cause, Enter, Position};

const LOCK: &str = "/apps/orders@1/main.lock";

fn locking(holder: &str) -> Enter {
    Enter { lock_file: Some(LOCK.into()), ..enter(holder) }
}

fn resuming(holder: &str, epoch: Epoch) -> Enter {
    Enter { resume: Some(epoch), ..locking(holder) }
}

/// Just before a lease is over the holder takes its epoch up again, and has a whole lease anew.
async fn resumed_in_time(
    rig: &Rig,
    election: &dyn Election,
    mut standby: Box<dyn Campaign>,
    epoch: Epoch,
) -> Verdict {
    rig.advance(rig.lease - rig.step()).await;
    rig.waits(&mut standby).await?;
    let mut again = election.enter(resuming("runner-0", epoch)).await.unwrap();
    so(rig.won(&mut again).await?.epoch == epoch, "it resumed another epoch")?;
    rig.advance(rig.lease - rig.step()).await;
    rig.waits(&mut standby).await?;
    renewed(&mut again).await
}

pub(super) async fn a_silent_holder_loses(rig: &Rig) -> Verdict {
    let election = rig.open().await;
    let mut leader = election.enter(enter("runner-0")).await.unwrap();
    let epoch = rig.won(&mut leader).await?.epoch;
    let mut standby = election.enter(enter("runner-1")).await.unwrap();
    let mut told = None;
    for _ in 0..8 {
        rig.waits(&mut standby).await?;
        rig.advance(rig.step()).await;
        // The leader listens, and does not renew.
        told = rig.heard(&mut leader).await.or(told);
    }
    let told = rig.last_word(&mut leader, told).await;
    so(
        told == Some(Position::Lost(Cause::LeaseExpired)),
        format!("the silent holder heard {told:?}"),
    )?;
    let elected = rig.won(&mut standby).await?;
    so(
        elected.previous == Some((epoch, Cause::LeaseExpired)),
        format!("previous: {:?}", elected.previous),
    )?;
    let late = leader.renew().await.unwrap();
    so(late.is_err(), "a renewal after the lease was taken")
}

pub(super) async fn a_renewing_holder_stays(rig: &Rig) -> Verdict {
    let election = rig.open().await;
    let mut leader = election.enter(locking("runner-0")).await.unwrap();
    rig.won(&mut leader).await?;
    let mut standby = election.enter(enter("runner-1")).await.unwrap();
    for _ in 0..rig.rounds() {
        rig.advance(rig.lease / 4).await;
        renewed(&mut leader).await?;
        rig.waits(&mut standby).await?;
    }
    Ok(())
}

pub(super) async fn a_holder_resumes_within_its_lease(rig: &Rig) -> Verdict {
    rig.locks.hold(Path::new(LOCK));
    let election = rig.open().await;
    let mut leader = election.enter(locking("runner-0")).await.unwrap();
    let epoch = rig.won(&mut leader).await?.epoch;
    let standby = election.enter(enter("runner-1")).await.unwrap();
    drop(leader);
    resumed_in_time(rig, &*election, standby, epoch).await
}

pub(super) async fn a_holder_resumes_after_a_restart(rig: &Rig) -> Verdict {
    let election = rig.open().await;
    let mut leader = election.enter(locking("runner-0")).await.unwrap();
    let epoch = rig.won(&mut leader).await?.epoch;
    drop((leader, election));
    // However long what keeps the leases is away, a lease is counted from its return.
    rig.away(rig.lease * 10).await;
    let election = rig.open().await;
    let mut standby = election.enter(enter("runner-1")).await.unwrap();
    rig.waits(&mut standby).await?;
    resumed_in_time(rig, &*election, standby, epoch).await
}

pub(super) async fn nobody_resumes_after_the_lease(rig: &Rig) -> Verdict {
    let election = rig.open().await;
    let mut leader = election.enter(enter("runner-0")).await.unwrap();
    let epoch = rig.won(&mut leader).await?.epoch;
    drop(leader);
    rig.outlast_the_lease().await;
    let mut again = election.enter(resuming("runner-0", epoch)).await.unwrap();
    let told = rig.heard(&mut again).await;
    so(matches!(told, Some(Position::Lost(_))), format!("resuming after the lease: {told:?}"))?;
    let mut next = election.enter(enter("runner-1")).await.unwrap();
    let epoch_after = rig.won(&mut next).await?.epoch;
    drop((again, next, election));
    let election = rig.open().await;
    let mut once_more = election.enter(resuming("runner-0", epoch)).await.unwrap();
    let told = rig.heard(&mut once_more).await;
    so(
        matches!(told, Some(Position::Lost(_))),
        format!("resuming {epoch} although {epoch_after} is: {told:?}"),
    )
}

pub(super) async fn only_the_holder_resumes(rig: &Rig) -> Verdict {
    let election = rig.open().await;
    let mut leader = election.enter(enter("runner-0")).await.unwrap();
    let epoch = rig.won(&mut leader).await?.epoch;
    for wrong in [resuming("runner-1", epoch), resuming("runner-0", epoch.next())] {
        let mut other = election.enter(wrong).await.unwrap();
        let told = rig.heard(&mut other).await;
        so(matches!(told, Some(Position::Lost(_))), format!("somebody else resumed: {told:?}"))?;
    }
    // A second process under the holder's name does not know the epoch, so it waits like every
    // other contender.
    let mut namesake = election.enter(enter("runner-0")).await.unwrap();
    rig.waits(&mut namesake).await?;
    renewed(&mut leader).await
}

pub(super) async fn a_break_and_a_free_lock_free_early(rig: &Rig) -> Verdict {
    rig.locks.hold(Path::new(LOCK));
    let election = rig.open().await;
    let mut leader = election.enter(locking("runner-0")).await.unwrap();
    let epoch = rig.won(&mut leader).await?.epoch;
    let mut standby = election.enter(enter("runner-1")).await.unwrap();
    drop(leader);
    rig.waits(&mut standby).await?;
    rig.locks.release(Path::new(LOCK));
    // The lock becomes free long before the lease's end.
    rig.advance(rig.lease / 16).await;
    let elected = rig.won(&mut standby).await?;
    so(
        elected.previous == Some((epoch, Cause::ProcessGone)),
        format!("previous: {:?}", elected.previous),
    )
}

pub(super) async fn a_held_lock_frees_nothing(rig: &Rig) -> Verdict {
    rig.locks.hold(Path::new(LOCK));
    let election = rig.open().await;
    let mut leader = election.enter(locking("runner-0")).await.unwrap();
    rig.won(&mut leader).await?;
    let mut standby = election.enter(enter("runner-1")).await.unwrap();
    drop(leader);
    rig.advance(rig.lease / 2).await;
    rig.waits(&mut standby).await?;
    rig.advance(rig.lease / 2).await;
    rig.won(&mut standby).await.map(drop)?;
    // A holder without a lock is never taken for gone before its lease ends.
    drop(standby);
    let mut third = election.enter(enter("runner-2")).await.unwrap();
    rig.waits(&mut third).await
}

pub(super) async fn a_free_lock_alone_frees_nothing(rig: &Rig) -> Verdict {
    let election = rig.open().await;
    let mut leader = election.enter(locking("runner-0")).await.unwrap();
    rig.won(&mut leader).await?;
    let mut standby = election.enter(enter("runner-1")).await.unwrap();
    for _ in 0..7 {
        rig.advance(rig.step()).await;
        // The holder's stream is open and only its lock is free: main() may not have started yet.
        rig.heard(&mut leader).await;
        rig.waits(&mut standby).await?;
    }
    renewed(&mut leader).await
}

pub(super) async fn a_restart_is_no_break(rig: &Rig) -> Verdict {
    let election = rig.open().await;
    let mut leader = election.enter(locking("runner-0")).await.unwrap();
    let epoch = rig.won(&mut leader).await?.epoch;
    let mut standby = election.enter(enter("runner-1")).await.unwrap();
    // The elector ends: it lets go of the stream itself, and the lock is free.
    leader.leave_open();
    rig.advance(rig.lease / 16).await;
    rig.waits(&mut standby).await?;
    drop((standby, election));
    let election = rig.open().await;
    let mut standby = election.enter(enter("runner-1")).await.unwrap();
    rig.advance(rig.lease / 2).await;
    rig.waits(&mut standby).await?;
    let mut again = election.enter(resuming("runner-0", epoch)).await.unwrap();
    so(rig.won(&mut again).await?.epoch == epoch, "it resumed another epoch")
}
