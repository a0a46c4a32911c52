//! Two hosts over one record, and one host after its lifecycle was away: each lifecycle minds what
//! is its own, and nothing that is over.

use std::time::Duration;

use bytes::Bytes;
use client::tether::{Chunk, Exit, Stream};
use lifecycle::record::{COMPLETE, LogBatch, LogSource, Store};
use proto::engine::{RestartPolicy, Role};
use proto::{Incarnation, Reason};

use crate::contenders::contenders;
use crate::host::{Host, here, there};
use crate::laws;
use crate::wire::{Wire, application, fence, role, within};

/// The process of the first incarnation.
const WORKER: &str = "orders/4/cluster/1/worker/0";

/// A contender, as each host has one.
const CONTENDER: &str = "orders/4/contender/0/contender/0";

/// A role that is started again whenever it exits, as all of Flink's are.
fn always(name: &str) -> Role {
    Role { restart: RestartPolicy::Always.into(), ..role(name, "sleep 1000") }
}

/// A host on which the first incarnation and a contender run.
async fn running() -> Wire {
    let wire = Wire::new().await;
    wire.provision(&fence(1), 1, vec![always("worker")]).await.unwrap();
    within(wire.client.provision_contenders(contenders(1, "sleep 1000"))).await.unwrap();
    let all_run = async || {
        let minded = minded(&wire).await;
        minded.len() == 2 && minded.iter().all(|(_, pid)| *pid > 0)
    };
    wire.until("all run", all_run).await;
    assert_eq!(wire.memory.living(), [WORKER, CONTENDER]);
    wire
}

/// The processes that a lifecycle minds: kind, and process id.
async fn minded(wire: &Wire) -> Vec<(String, u32)> {
    let processes = within(wire.client.list_processes(None)).await.unwrap();
    let minded = processes.into_iter().map(|of| (of.kind, of.status.unwrap().pid));
    minded.collect()
}

#[tokio::test]
async fn a_lifecycle_adopts_ends_and_forgets_nothing_of_another_host() {
    let one = running().await;
    let before = minded(&one).await;
    let other = one.on_another_host(there());
    assert!(minded(&other).await.is_empty(), "it has adopted nothing");

    // The same contender of the same application runs on both hosts.
    within(other.client.provision_contenders(contenders(1, "sleep 1000"))).await.unwrap();
    other.until("it runs", async || other.memory.living() == [CONTENDER]).await;
    let torn_down = within(other.client.teardown(&fence(1), Incarnation(1), Duration::ZERO)).await;
    assert_eq!(torn_down.unwrap(), [""; 0]);
    assert_eq!(one.record.keys_at(&here()).await, [WORKER, CONTENDER], "no cluster was there");
    assert_eq!(one.record.keys_at(&there()).await, [CONTENDER]);

    let other = other.killed_and_started_again();
    assert_eq!(minded(&other).await.len(), 1, "its own contender alone");
    let torn_down = within(other.client.teardown_contenders(&application())).await;
    assert_eq!(torn_down.unwrap(), [""; 0]);
    assert_eq!(one.record.keys_at(&here()).await, [WORKER, CONTENDER]);
    assert!(one.record.keys_at(&there()).await.is_empty());

    let one = one.killed_and_started_again();
    one.advance_until("all is found", async || minded(&one).await == before).await;
    assert_eq!(one.memory.living(), [WORKER, CONTENDER], "nothing was started again");
}

/// Brings all that a source has ever said into the record, from the first word on.
async fn say(store: &Store, source: &LogSource) {
    let mut log = within(store.open_log(source)).await.unwrap();
    assert_eq!(*log.acknowledged.borrow(), 0, "{source}: another source is taken for this one");
    let words = Bytes::from_static(b"words\n");
    let chunk = Chunk {
        next_offset: words.len() as u64,
        stream: Stream::Stdout,
        data: words,
        lost_before: 0,
        unix_nanos: 0,
    };
    log.batches.send(LogBatch { chunks: vec![chunk], complete: true }).await.unwrap();
    within(log.acknowledged.wait_for(|durable| *durable == COMPLETE)).await.unwrap();
}

#[tokio::test]
async fn output_of_contenders_names_its_host_where_there_are_several() {
    let record = Host::with(&application()).await;
    let contender = LogSource::new(&laws::contender(0, "").slot, 1);
    let worker = LogSource::new(&laws::order(1, "").slot, 1);
    say(&record.shared_store(here()), &contender).await;
    say(&record.shared_store(there()), &contender).await;
    say(&record.shared_store(there()), &worker).await;
    let is_complete = async |host: &str, source: &LogSource| record.log_at(host, source).await.1;
    assert!(is_complete("here", &contender).await && is_complete("there", &contender).await);
    assert!(!is_complete("", &contender).await, "one host alone names none");
    assert!(is_complete("", &worker).await, "an incarnation is of one host");
    say(&record.store(here()), &contender).await;
    assert!(is_complete("", &contender).await);
}

#[tokio::test]
async fn an_incarnation_is_started_on_its_own_host_only() {
    let one = Wire::new().await;
    let other = one.on_another_host(there());
    let refused = other.provision(&fence(1), 1, vec![always("worker")]).await.unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::IncarnationElsewhere));
    assert!(refused.message().contains("here"), "{refused}");
    assert!(other.memory.living().is_empty());
    assert!(minded(&other).await.is_empty(), "nothing is kept of what was refused");
    one.provision(&fence(1), 1, vec![always("worker")]).await.unwrap();
    assert_eq!(one.memory.living(), [WORKER]);
}

#[tokio::test]
async fn a_cluster_that_was_replaced_is_ended_by_a_lifecycle_that_comes_back() {
    for died_meanwhile in [false, true] {
        let wire = running().await;
        // The leader begins another incarnation. Before it can ask for the processes of that one,
        // lifecycle dies.
        wire.record.incarnation(2).await;
        if died_meanwhile {
            assert!(wire.memory.crash(WORKER, Exit { code: Some(1), ..Exit::default() }));
        }
        let wire = wire.killed_and_started_again();
        let kinds: Vec<String> = minded(&wire).await.into_iter().map(|of| of.0).collect();
        assert_eq!(kinds, ["contender"]);
        assert_eq!(wire.memory.living(), [CONTENDER], "died meanwhile: {died_meanwhile}");
        assert_eq!(wire.record.keys().await, [CONTENDER], "and it is forgotten");
        // More time than a restart waits for.
        let mut ticks = 0;
        let passed = async || {
            ticks += 1;
            ticks > 200
        };
        wire.advance_until("time has passed", passed).await;
        assert_eq!(wire.memory.living(), [CONTENDER], "it is not started again");
        wire.provision(&fence(1), 2, vec![always("worker")]).await.unwrap();
        assert_eq!(wire.memory.living(), ["orders/4/cluster/2/worker/0", CONTENDER]);
    }
}

#[tokio::test]
async fn what_an_older_build_has_kept_is_moved_and_goes_on() {
    let wire = running().await;
    let before = minded(&wire).await;
    wire.record.keep_as_an_older_build().await;
    let wire = wire.killed_and_started_again();
    wire.advance_until("all is found", async || minded(&wire).await == before).await;
    assert_eq!(wire.record.keys_at(&here()).await, [WORKER, CONTENDER], "each under its new key");
    assert_eq!(wire.record.keys().await.len(), 2, "and under no old one");

    let left = within(wire.client.teardown(&fence(1), Incarnation(1), Duration::ZERO)).await;
    assert_eq!(left.unwrap(), [""; 0]);
    assert_eq!(wire.record.keys().await, [CONTENDER]);
}

#[tokio::test]
async fn a_replaced_cluster_of_an_older_build_is_ended_and_not_moved() {
    let wire = running().await;
    wire.record.keep_as_an_older_build().await;
    wire.record.incarnation(2).await;
    let wire = wire.killed_and_started_again();
    assert_eq!(minded(&wire).await.len(), 1);
    assert_eq!(wire.memory.living(), [CONTENDER]);
    assert_eq!(wire.record.keys().await, [CONTENDER]);
}
