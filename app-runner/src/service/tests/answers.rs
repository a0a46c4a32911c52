//! What the record answers a leader, and what the leader makes of the answer.

use ::record::Holder;
use proto::{Incarnation, Problem, Reason, jobgraph};
use tokio::sync::watch;

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
    // The lease still holds as far as the leader knows, and the leader has nothing to write.
    let successor = EpochFence { application: world.application(), epoch: Epoch(7) };
    let ports = world.ports();
    ports.record.begin_attempt(&successor, &Holder::new("runner-9", 9), "").await.unwrap();
    let leads_above = |a: &api::Application| a.leadership.as_ref().is_some_and(|now| now.epoch > 7);
    soon("the next attempt", world.until(leads_above)).await;
    world.cancel().await;
    assert_eq!(code(contender).await, 3);
    assert_eq!(world.live_mains(), 0);
    assert_eq!(
        world.granted(),
        [1, 2, 8].map(Epoch),
        "the record said above which epoch to campaign"
    );
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

#[tokio::test]
async fn a_cancel_that_the_leader_has_not_heard_of_stands_above_the_end_that_the_leader_decided() {
    let (go, gone) = watch::channel(false);
    let world = world(move |_| {
        let mut gone = gone.clone();
        async move {
            gone.wait_for(|gone| *gone).await.unwrap();
            0
        }
    })
    .await;
    world.hold_news(true);
    let contender = contend(&world, "runner-0");
    let running = |a: &api::Application| a.main.as_ref().is_some_and(|main| main.pid != 0);
    soon("main()", world.until(running)).await;
    world.cancel().await;
    go.send_replace(true);
    assert_eq!(code(contender).await, 3);
    let ended = world.recorded().await;
    assert_eq!(ended.main.unwrap().exit_code, Some(0), "main() was not stopped for the cancel");
}

#[tokio::test]
async fn artifacts_that_a_sweep_has_marked_are_put_again_and_pinned() {
    let world = world(|_| async { 0 }).await;
    // The first write of a leader after its beginning pins the artifacts.
    world.refuse_write(Problem::new(Reason::PayloadMissing, "it is being swept"));
    assert_eq!(code(contend(&world, "runner-0")).await, 0);
    assert_eq!(world.recorded().await.artifacts.len(), 1);
    assert_eq!(world.files_put(), 2, "the bytes are there, and cannot be relied on");
}
