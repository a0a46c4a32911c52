//! A host that is cut off from the record, and one that is not while its application is led
//! elsewhere: what no fence holds back ends, and everything else goes on.

use std::time::Duration;

use chassis::clock::Clock as _;
use proto::Reason;
use proto::engine::{Commit, Plan};

use crate::following::{WORKER, is_ended, refused};
use crate::host::{here, there};
use crate::wire::{GRACE, Wire, fence, gated, role, within};

/// A host on which the first incarnation runs, whose outputs become visible in this way.
async fn running(commit: Commit) -> Wire {
    let wire = Wire::following().await;
    let plan = Plan { commit: commit.into(), ..gated(vec![role("worker", "sleep 1000")]) };
    wire.realise(&fence(1), 1, plan).await.unwrap();
    wire
}

/// Lets much time pass, in steps that a question and its answer fit between.
async fn let_pass(wire: &Wire, time: Duration) {
    let end = wire.clock.boot() + time;
    let has_passed = async || {
        wire.clock.advance(Duration::from_millis(500));
        wire.clock.boot() >= end
    };
    wire.until("time has passed", has_passed).await;
}

/// Lets time pass until nothing of the cluster lives.
async fn nothing_lives(wire: &Wire) {
    let is_so = async || {
        wire.clock.advance(Duration::from_millis(500));
        wire.memory.living().is_empty()
    };
    wire.until("it is ended", is_so).await;
    // Its output cannot be shipped, and is waited for before the end is over.
    let_pass(wire, Duration::from_secs(60)).await;
}

#[tokio::test]
async fn a_cluster_that_no_fence_holds_back_is_ended_once_the_record_was_away_for_the_grace() {
    let wire = running(Commit::None).await;
    let_pass(&wire, GRACE * 2).await;
    assert_eq!(wire.memory.living(), [WORKER], "the record confirms it");
    wire.record.backend.set_away(true);
    let_pass(&wire, GRACE / 2).await;
    assert_eq!(wire.memory.living(), [WORKER], "the record may come back");
    nothing_lives(&wire).await;

    wire.record.backend.set_away(false);
    assert_eq!(refused(&wire, 1).await, Some(Reason::IncarnationSuperseded));
    let_pass(&wire, Duration::from_secs(30)).await;
    assert!(wire.memory.living().is_empty(), "it does not come back");
    assert_eq!(wire.record.intended_at(&here()).await, [WORKER], "the record has not replaced it");
    wire.provision(&fence(1), 2, vec![role("worker", "sleep 1000")]).await.unwrap();
    assert_eq!(wire.record.keys().await, ["orders/4/cluster/2/worker/0"]);
}

#[tokio::test]
async fn a_cluster_that_the_fence_holds_back_outlives_the_grace() {
    for commit in [Commit::Gated, Commit::Unspecified] {
        let wire = running(commit).await;
        wire.record.backend.set_away(true);
        let_pass(&wire, GRACE * 2).await;
        assert_eq!(wire.memory.living(), [WORKER], "{commit:?}");
    }
}

#[tokio::test]
async fn a_machine_that_has_slept_for_longer_asks_before_it_ends_anything() {
    let wire = running(Commit::None).await;
    wire.clock.advance(GRACE * 2);
    let_pass(&wire, Duration::from_secs(15)).await;
    assert_eq!(wire.memory.living(), [WORKER]);
    wire.record.backend.set_away(true);
    wire.clock.advance(GRACE * 2);
    wire.advance_until("it is ended", async || wire.memory.living().is_empty()).await;
}

#[tokio::test]
async fn only_a_cluster_that_no_fence_holds_back_is_released_once_its_leader_is_elsewhere() {
    let wire = running(Commit::Gated).await;
    wire.record.begin_at(2, there()).await;
    let_pass(&wire, Duration::from_secs(60)).await;
    assert_eq!(wire.memory.living(), [WORKER], "the next incarnation is there at once");

    let wire = running(Commit::None).await;
    wire.record.begin_at(2, there()).await;
    is_ended(&wire).await;
    wire.record.begin_at(3, here()).await;
    assert_eq!(refused(&wire, 3).await, Some(Reason::IncarnationSuperseded));
}

#[tokio::test]
async fn the_next_lifecycle_knows_that_no_fence_holds_a_cluster_back() {
    let wire = running(Commit::None).await.killed_and_started_again();
    assert_eq!(within(wire.client.list_processes(None)).await.unwrap().len(), 1);
    wire.record.backend.set_away(true);
    nothing_lives(&wire).await;

    let wire = running(Commit::None).await;
    wire.record.begin_at(2, there()).await;
    let wire = wire.killed_and_started_again();
    assert!(within(wire.client.list_processes(None)).await.unwrap().is_empty());
    assert!(wire.memory.living().is_empty() && wire.record.keys().await.is_empty());
}

#[tokio::test]
async fn a_way_to_commit_that_this_build_does_not_know_is_refused() {
    let wire = Wire::new().await;
    let plan = Plan { commit: 7, ..gated(vec![role("worker", "sleep 1000")]) };
    let unknown = wire.realise(&fence(1), 1, plan).await.unwrap_err();
    assert_eq!(unknown.reason(), Some(Reason::PlanInvalid));
    assert!(unknown.message().contains("commit"), "{unknown}");
}
