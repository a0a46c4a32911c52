//! What the record says of a cluster while nobody calls: what is over ends, and nothing else does.

use std::time::Duration;

use chassis::clock::Clock as _;
use lifecycle::record::{Intent, IntentState};
use proto::{Incarnation, Reason};

use crate::host::{here, there};
use crate::laws;
use crate::wire::{Wire, fence, role, within};

/// The process of the first incarnation.
pub(crate) const WORKER: &str = "orders/4/cluster/1/worker/0";

/// Longer than two questions about one cluster are apart, by the clock of lifecycle.
const PASSES: Duration = Duration::from_secs(15);

/// Longer than two searches for what nobody minds are apart.
const SEARCH: Duration = Duration::from_secs(80);

/// A host on which the first incarnation runs, and whose lifecycle follows the record.
async fn running() -> Wire {
    let wire = Wire::following().await;
    wire.provision(&fence(1), 1, vec![role("worker", "sleep 1000")]).await.unwrap();
    wire
}

/// Lets more time pass than two questions are apart.
async fn let_it_ask(wire: &Wire) {
    let end = wire.clock.boot() + PASSES;
    wire.advance_until("time has passed", async || wire.clock.boot() >= end).await;
}

/// Lets time pass until the cluster is ended, and known to nobody any more.
pub(crate) async fn is_ended(wire: &Wire) {
    wire.advance_until("it is ended", async || wire.memory.living().is_empty()).await;
    wire.advance_until("it is forgotten", async || wire.record.keys().await.is_empty()).await;
    let is_unknown = async || within(wire.client.list_processes(None)).await.unwrap().is_empty();
    wire.advance_until("nobody minds it", is_unknown).await;
}

/// Why the first incarnation is not provisioned for the leader with this epoch.
pub(crate) async fn refused(wire: &Wire, epoch: u64) -> Option<Reason> {
    let asked = wire.provision(&fence(epoch), 1, vec![role("worker", "sleep 1000")]).await;
    let refused = asked.unwrap_err();
    assert!(wire.memory.living().is_empty(), "{refused}");
    refused.reason()
}

#[tokio::test]
async fn a_cluster_that_was_replaced_on_another_host_is_ended_and_does_not_come_back() {
    let wire = running().await;
    let_it_ask(&wire).await;
    assert_eq!(wire.memory.living(), [WORKER], "the current one goes on");
    wire.record.begin_at(2, there()).await;
    wire.record.incarnation_at(2, there()).await;
    is_ended(&wire).await;
    assert_eq!(refused(&wire, 2).await, Some(Reason::IncarnationSuperseded));
}

#[tokio::test]
async fn a_cluster_of_an_ended_application_is_ended_here_if_its_leader_is_elsewhere() {
    let wire = running().await;
    wire.record.end(1).await;
    let_it_ask(&wire).await;
    assert_eq!(wire.memory.living(), [WORKER], "its leader is here and ends it");
    wire.record.begin_at(2, there()).await;
    is_ended(&wire).await;
    // The incarnation is still the current one, the epoch holds, and lifecycle remembers nothing.
    let wire = wire.killed_and_started_again();
    assert_eq!(refused(&wire, 2).await, Some(Reason::IncarnationSuperseded));
}

#[tokio::test]
async fn a_late_call_for_a_cluster_that_was_ended_here_is_refused_whatever_the_record_says() {
    let wire = running().await;
    wire.record.end(1).await;
    wire.record.begin_at(2, there()).await;
    is_ended(&wire).await;
    // The leader is on this host again, so the record alone would let it have its cluster.
    wire.record.begin_at(3, here()).await;
    assert_eq!(refused(&wire, 3).await, Some(Reason::IncarnationSuperseded));

    let wire = Wire::new().await;
    wire.provision(&fence(1), 1, vec![role("worker", "sleep 1000")]).await.unwrap();
    let leader = fence(1);
    let torn_down = wire.client.teardown(&leader, Incarnation(1), Duration::ZERO);
    assert_eq!(within(torn_down).await.unwrap(), [""; 0]);
    assert_eq!(refused(&wire, 1).await, Some(Reason::IncarnationSuperseded));
}

#[tokio::test]
async fn a_record_that_is_away_ends_nothing() {
    let wire = running().await;
    wire.record.begin_at(2, there()).await;
    wire.record.incarnation_at(2, there()).await;
    wire.record.backend.set_away(true);
    let_it_ask(&wire).await;
    assert_eq!(wire.memory.living(), [WORKER], "nobody could say that it is over");
    wire.record.backend.set_away(false);
    is_ended(&wire).await;
}

#[tokio::test]
async fn a_cluster_is_not_forgotten_while_a_process_of_it_withstands_its_end() {
    let wire = running().await;
    wire.memory.set_withstanding(true);
    wire.record.begin_at(2, there()).await;
    wire.record.incarnation_at(2, there()).await;
    wire.advance_until("it is ended", async || wire.memory.living().is_empty()).await;
    let_it_ask(&wire).await;
    assert_eq!(wire.record.intended_at(&here()).await, [WORKER], "it may live here");
    assert_eq!(refused(&wire, 2).await, Some(Reason::IncarnationSuperseded));
    let wire = wire.killed_and_started_again();
    let minded = within(wire.client.list_processes(None)).await.unwrap();
    assert!(minded.is_empty(), "the next lifecycle minds nothing of it: {minded:?}");
    assert_eq!(wire.record.intended_at(&here()).await, [WORKER], "and does not forget it, either");
    wire.memory.set_withstanding(false);
    is_ended(&wire).await;
}

/// Red without the search: the application would never be clean.
#[tokio::test]
async fn an_intent_that_nobody_minds_is_forgotten_once_it_is_over() {
    let wire = Wire::following().await;
    // The answer comes once all is found that an earlier lifecycle has left.
    assert!(within(wire.client.list_processes(None)).await.unwrap().is_empty());
    // The record has taken the intent late: the group was forgotten by then.
    let late = Intent {
        slot: laws::order(1, "").slot,
        start: 1,
        keeper: String::new(),
        endpoint: String::new(),
        detail: Vec::new(),
        exit: String::new(),
        state: IntentState::Intended,
    };
    within(wire.record.store(here()).put(&late, None)).await.unwrap();
    let end = wire.clock.boot() + SEARCH;
    let advanced = async || {
        wire.clock.advance(Duration::from_millis(500));
        wire.clock.boot() >= end
    };
    wire.until("time has passed", advanced).await;
    assert_eq!(wire.record.intended_at(&here()).await, [WORKER], "its leader may ask for it");

    wire.record.begin_at(2, there()).await;
    wire.record.incarnation_at(2, there()).await;
    let is_forgotten = async || {
        wire.clock.advance(Duration::from_millis(500));
        wire.record.keys().await.is_empty()
    };
    wire.until("it is forgotten", is_forgotten).await;
    assert_eq!(refused(&wire, 2).await, Some(Reason::IncarnationSuperseded));
}

#[tokio::test]
async fn what_no_leader_needs_is_ended_by_a_lifecycle_that_comes_back() {
    for is_clean in [true, false] {
        let wire = Wire::new().await;
        wire.provision(&fence(1), 1, vec![role("worker", "sleep 1000")]).await.unwrap();
        wire.record.end(1).await;
        if is_clean {
            wire.record.mark_clean(1).await;
        } else {
            wire.record.begin_at(2, there()).await;
        }
        let wire = wire.killed_and_started_again();
        assert!(within(wire.client.list_processes(None)).await.unwrap().is_empty());
        assert!(wire.memory.living().is_empty(), "clean: {is_clean}");
        assert!(wire.record.keys().await.is_empty(), "and it is forgotten");
    }
}
