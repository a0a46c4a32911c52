#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering};

use ::record::{ApplicationEnd, Holder, Record as _};
use chassis::clock::ManualClock;
use proto::{Epoch, EpochFence, api, jobgraph};

use super::*;
use crate::blobs::memory::MemoryBlobs;
use crate::service::sample::submitted;
use crate::service::sweep::tests::{Actor, Schedules, World, interleave};
use crate::store::memory::MemoryMetadata;

/// Two stores over one record, each with the clock of its own machine.
fn two() -> [(Service, Arc<ManualClock>); 2] {
    let metadata = Arc::new(MemoryMetadata::default());
    let blobs = MemoryBlobs::default();
    [0, 400].map(|days| {
        let clock = Arc::new(ManualClock::new());
        clock.advance(Duration::from_secs(days * 86_400));
        let service = Service::new(metadata.clone(), Arc::new(blobs.clone()), clock.clone());
        (service, clock)
    })
}

#[tokio::test]
async fn one_store_does_the_chores_and_another_once_it_has_been_silent_for_long() {
    let [(left, left_clock), (right, right_clock)] = two();
    assert_eq!(left.take_turn().await, Ok(true));
    for _ in 0..10 {
        assert_eq!(right.take_turn().await, Ok(false));
        for clock in [&left_clock, &right_clock] {
            clock.advance(TURN_EVERY);
        }
        assert_eq!(left.take_turn().await, Ok(true));
    }
    // The left one is stopped. The right one counts from when it has seen the last turn.
    assert_eq!(right.take_turn().await, Ok(false));
    right_clock.advance(GONE_AFTER - Duration::from_nanos(1));
    assert_eq!(right.take_turn().await, Ok(false));
    right_clock.advance(Duration::from_nanos(1));
    assert_eq!(right.take_turn().await, Ok(true));
    // The left one comes back, finds that the chores are another's, and waits like any other.
    assert_eq!(left.take_turn().await, Ok(false));
    assert_eq!(right.take_turn().await, Ok(true));
}

#[tokio::test]
async fn a_store_that_leaves_makes_the_next_one_wait_for_nothing() {
    let [(left, _), (right, _)] = two();
    assert_eq!(left.take_turn().await, Ok(true));
    assert_eq!(right.take_turn().await, Ok(false));
    right.leave_chores().await.unwrap();
    assert_eq!(right.take_turn().await, Ok(false), "the chores were not its own to leave");
    left.leave_chores().await.unwrap();
    assert_eq!(right.take_turn().await, Ok(true));
}

#[tokio::test]
async fn of_two_stores_that_take_the_first_turn_together_one_has_it() {
    let mut schedules = Schedules::default();
    loop {
        let world = World::default();
        let taken = Arc::new(AtomicUsize::new(0));
        let take = |store: Service| -> Actor {
            let taken = taken.clone();
            Box::pin(async move {
                let has_it = store.take_turn().await.unwrap();
                taken.fetch_add(usize::from(has_it), Ordering::Relaxed);
            })
        };
        let actors = vec![take(world.stepped()), take(world.stepped())];
        interleave(actors, |of| schedules.choose(of)).await;
        assert_eq!(taken.load(Ordering::Relaxed), 1);
        if !schedules.advance() {
            break;
        }
    }
}

/// The leader was heard of here, and its application was made clean through another store.
#[tokio::test]
async fn a_leader_whose_application_another_store_made_clean_leaves_memory() {
    let [(left, left_clock), (right, _)] = two();
    let application = submitted(&left, "live").await;
    let fence = EpochFence { application, epoch: Epoch(1) };
    left.begin_attempt(&fence, &Holder::new("runner-0", 7), "").await.unwrap();
    left.heard(&fence, &jobgraph::BeatRequest::default()).await.unwrap();
    let end = ApplicationEnd {
        outcome: api::Outcome::Failed,
        reason: "MAIN_EXITED".into(),
        message: String::new(),
    };
    right.end(&fence, end, 0).await.unwrap();
    left_clock.advance(TURN_EVERY);
    left.forget_silent_leaders().await;
    assert_eq!(left.live.len(), 1, "the application is not clean yet");
    right.mark_clean(&fence, Vec::new()).await.unwrap();
    left.forget_silent_leaders().await;
    assert_eq!(left.live.len(), 0);
}
