//! The laws of [`Election`](super::Election) as tests. Each law is run against every backend, and
//! against mutants that break it: a law that a mutant passes checks nothing.

mod elsewhere;
mod grants;
mod leases;
mod mutants;
mod on_etcd;
pub(crate) mod rig;
mod schedule;

use std::time::Duration;

use chassis::clock::{SystemClock, timeout};
use futures::future::LocalBoxFuture;
use proto::{ApplicationId, ApplicationRef, Epoch};
use rig::{Rig, Server, Verdict, application, enter, fence, renewed, so};

use crate::model::{Cause, Enter, Position};

/// A law and its name.
type Law = (&'static str, for<'a> fn(&'a Rig) -> LocalBoxFuture<'a, Verdict>);

/// Every law, in the order of the trait's list.
const LAWS: &[Law] = &[
    ("1 at most one holder at a time", |rig| Box::pin(schedule::at_most_one_holder_at_a_time(rig))),
    ("2 epochs only grow", |rig| Box::pin(grants::epochs_only_grow(rig))),
    ("2 an epoch is above at_least", |rig| Box::pin(grants::an_epoch_is_above_at_least(rig))),
    ("3 a silent holder loses", |rig| Box::pin(leases::a_silent_holder_loses(rig))),
    ("3 a renewing holder stays", |rig| Box::pin(leases::a_renewing_holder_stays(rig))),
    ("4 a holder resumes within its lease", |rig| {
        Box::pin(leases::a_holder_resumes_within_its_lease(rig))
    }),
    ("4 a holder resumes after a restart", |rig| {
        Box::pin(leases::a_holder_resumes_after_a_restart(rig))
    }),
    ("4 nobody resumes after the lease", |rig| {
        Box::pin(leases::nobody_resumes_after_the_lease(rig))
    }),
    ("4 only the holder resumes", |rig| Box::pin(leases::only_the_holder_resumes(rig))),
    ("5 whoever resigned is succeeded at once", |rig| {
        Box::pin(grants::whoever_resigned_is_succeeded_at_once(rig))
    }),
    ("5 resigned is resigned after a restart", |rig| {
        Box::pin(grants::resigned_is_resigned_after_a_restart(rig))
    }),
    ("6 a broken stream and a free lock free early", |rig| {
        Box::pin(leases::a_break_and_a_free_lock_free_early(rig))
    }),
    ("6 a held lock frees nothing", |rig| Box::pin(leases::a_held_lock_frees_nothing(rig))),
    ("6 a free lock alone frees nothing", |rig| {
        Box::pin(leases::a_free_lock_alone_frees_nothing(rig))
    }),
    ("6 a restart is no break", |rig| Box::pin(leases::a_restart_is_no_break(rig))),
    ("7 who waits is granted in order", |rig| Box::pin(grants::who_waits_is_granted_in_order(rig))),
];

/// How long a law may take that moves its clock. A call that sleeps on a clock which nothing moves
/// any more would never return.
const JUDGED_WITHIN: Duration = Duration::from_secs(120);

async fn all_hold(rig: impl Fn() -> Rig) {
    for (name, law) in LAWS {
        let rig = rig();
        match timeout(&SystemClock, JUDGED_WITHIN, law(&rig)).await {
            Ok(Ok(())) => {}
            Ok(Err(broken)) => panic!("law {name}: {broken}"),
            Err(elapsed) => panic!("law {name} hangs: {elapsed}"),
        }
    }
}

#[tokio::test]
async fn the_memory_backend_keeps_the_laws() {
    all_hold(Rig::memory).await;
}

#[tokio::test]
async fn the_embedded_backend_keeps_the_laws() {
    all_hold(Rig::embedded).await;
}

#[tokio::test]
async fn the_etcd_backend_keeps_the_laws_by_a_clock_that_they_move() {
    all_hold(Rig::in_memory).await;
}

/// The laws run beside each other, because most of their time is waiting. The law that restarts
/// the server has one of its own.
#[tokio::test]
async fn the_etcd_backend_keeps_the_laws() {
    let shared = Server::start();
    let verdicts = LAWS.iter().enumerate().map(|(number, (name, law))| {
        let restarts = *name == "4 a holder resumes after a restart";
        let server = if restarts { Server::start() } else { shared.clone() };
        async move {
            let rig = Rig::etcd(server, format!("/law-{number}"));
            law(&rig).await.map_err(|broken| format!("law {name}: {broken}"))
        }
    });
    let broken: Vec<String> =
        futures::future::join_all(verdicts).await.into_iter().filter_map(Result::err).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Two electors that see a free seat at the same time both try to take it for a contender of their
/// own. One of them does.
#[tokio::test]
async fn electors_that_race_for_a_seat_elect_one() -> Verdict {
    let rig = Rig::etcd(Server::start(), "/race".to_owned());
    let (left, right) = (rig.open().await, rig.open().await);
    for number in 0..40_u32 {
        let of = |holder: &str| {
            let id = format!("race-{number}").parse::<ApplicationId>();
            let id = id.map_err(|error| error.to_string())?;
            let application = ApplicationRef { id, ..application(1) };
            Ok::<_, String>(Enter { application, ..enter(holder) })
        };
        let mut one = left.enter(of("left")?).await.map_err(|error| error.to_string())?;
        let mut other = right.enter(of("right")?).await.map_err(|error| error.to_string())?;
        let (one, other) = tokio::join!(one.next(), other.next());
        let positions = [one, other].map(|position| position.map_err(|error| error.to_string()));
        let elected =
            positions.iter().filter(|position| matches!(position, Ok(Position::Elected(_))));
        so(elected.count() == 1, format!("race {number}: {positions:?}"))?;
    }
    Ok(())
}

/// A seat is taken by two writes, a lease and a transaction. Whichever of their answers gets lost,
/// the contender leads, and has used up one epoch.
#[tokio::test]
async fn a_seat_is_taken_once_whichever_answers_are_lost() -> Verdict {
    for lost in [0..1, 1..2, 1..4, 0..3] {
        let rig = Rig::in_memory();
        let election = rig.open().await;
        rig.lose_answers(lost.clone());
        let mut leader =
            election.enter(enter("runner-0")).await.map_err(|error| error.to_string())?;
        rig.heard(&mut leader).await;
        // Long enough to ask again, and shorter than the lease.
        rig.advance(rig.lease / 2).await;
        let elected = rig.won(&mut leader).await.map_err(|why| format!("{lost:?} lost: {why}"))?;
        so(elected.epoch == Epoch(1), format!("{lost:?} lost: epoch {}", elected.epoch))?;
        let mut standby =
            election.enter(enter("runner-1")).await.map_err(|error| error.to_string())?;
        rig.waits(&mut standby).await?;
        renewed(&mut leader).await?;
    }
    Ok(())
}

/// Electors on one etcd are one elector to a holder: its epoch, how the epoch ended, and whose turn
/// is next.
#[tokio::test]
async fn a_holder_goes_on_through_another_elector() -> Verdict {
    let rig = Rig::etcd(Server::start(), "/two".to_owned());
    let resuming = |epoch| Enter { resume: Some(epoch), ..enter("runner-0") };
    let (left, right) = (rig.open().await, rig.open().await);
    let mut leader = left.enter(enter("runner-0")).await.map_err(|error| error.to_string())?;
    let epoch = rig.won(&mut leader).await?.epoch;
    let mut standby = right.enter(enter("runner-1")).await.map_err(|error| error.to_string())?;
    rig.waits(&mut standby).await?;
    drop((leader, left));
    let mut again = right.enter(resuming(epoch)).await.map_err(|error| error.to_string())?;
    so(rig.won(&mut again).await?.epoch == epoch, "it resumed another epoch")?;
    renewed(&mut again).await?;
    rig.waits(&mut standby).await?;
    let resigned = right.resign(&fence(epoch), "runner-0").await;
    so(resigned == Ok(true), format!("resigning came to {resigned:?}"))?;
    let next = rig.won(&mut standby).await?;
    so(next.previous == Some((epoch, Cause::Resigned)), format!("previous: {:?}", next.previous))?;
    let told = rig.heard(&mut again).await;
    so(told == Some(Position::Lost(Cause::Resigned)), format!("the holder heard {told:?}"))?;
    // One that was refused to resume, and still listens, has no turn.
    let mut refused = right.enter(resuming(epoch)).await.map_err(|error| error.to_string())?;
    let told = rig.heard(&mut refused).await;
    so(matches!(told, Some(Position::Lost(_))), format!("resuming {epoch}: {told:?}"))?;
    let mut last = right.enter(enter("runner-2")).await.map_err(|error| error.to_string())?;
    let resigned = right.resign(&fence(next.epoch), "runner-1").await;
    so(resigned == Ok(true), format!("resigning came to {resigned:?}"))?;
    so(rig.won(&mut last).await?.epoch > next.epoch, "an epoch did not grow")
}

#[tokio::test]
async fn every_law_has_a_mutant_that_fails_it() {
    for (name, law) in LAWS {
        let mutants = mutants::of(name);
        assert!(!mutants.is_empty(), "law {name} has no mutant");
        for (mutant, rig) in mutants {
            assert!(law(&rig).await.is_err(), "law {name} does not see the mutant: {mutant}");
        }
    }
}
