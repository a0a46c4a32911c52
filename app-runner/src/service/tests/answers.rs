//! What the record answers a leader, and what the leader makes of the answer.

use ::record::Holder;
use proto::{Incarnation, Reason, jobgraph};

use super::*;

fn cluster(request_id: &str) -> jobgraph::BeginClusterRequest {
    jobgraph::BeginClusterRequest { request_id: request_id.to_owned(), ..Default::default() }
}

#[tokio::test]
async fn a_leader_that_is_superseded_in_the_record_hears_it_and_campaigns_above_its_successor() {
    let world = world(|_| std::future::pending()).await;
    let contender = contend(&world, "runner-0");
    let running = |a: &api::Application| a.main.as_ref().is_some_and(|main| main.pid != 0);
    soon("main()", world.until(running)).await;
    // Its lease still holds as far as the leader knows, and the leader has nothing to write.
    let successor = EpochFence { application: world.application(), epoch: Epoch(7) };
    let ports = world.ports();
    ports.record.begin_attempt(&successor, &Holder::new("runner-9", 9), "").await.unwrap();
    let leads_above = |a: &api::Application| a.leadership.as_ref().is_some_and(|now| now.epoch > 7);
    soon("the next attempt", world.until(leads_above)).await;
    world.cancel().await;
    assert_eq!(code(contender).await, 3);
    assert_eq!(world.live_mains(), 0);
}

#[tokio::test]
async fn the_token_of_a_cluster_whose_beginning_was_not_answered_is_asked_for_and_only_then() {
    let world = world(|_| async { 0 }).await;
    let ports = world.ports();
    let fence = EpochFence { application: world.application(), epoch: Epoch(1) };
    leading::begin(&ports, &fence, "runner-0", "").await.unwrap();
    // The answer is lost: nothing of it gets into the keyring.
    let begun = ports.record.begin_cluster(&fence, cluster("one")).await.unwrap();
    let incarnation = Incarnation(begun.incarnation);
    assert!(ports.keyring.jobs(incarnation).is_err());
    leading::reach_jobs(&ports, &fence, "runner-0", incarnation).await.unwrap();
    assert!(ports.keyring.jobs(incarnation).is_ok());

    let successor = EpochFence { epoch: Epoch(2), ..fence.clone() };
    leading::begin(&ports, &successor, "runner-1", "").await.unwrap();
    // With the token at hand the record is not asked.
    leading::reach_jobs(&ports, &fence, "runner-0", incarnation).await.unwrap();
    let unknown = Incarnation(incarnation.get() + 1);
    let refused = leading::reach_jobs(&ports, &fence, "runner-0", unknown).await.unwrap_err();
    assert_eq!(refused.kind, PortErrorKind::Superseded(Epoch(2)));
    assert_eq!(refused.reason, Some(Reason::EpochSuperseded));
}
