//! How often a write reads: each read is a way to etcd and back before the write itself.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ::record::Record as _;
use async_trait::async_trait;
use chassis::clock::ManualClock;
use proto::Epoch;

use super::*;
use crate::blobs::memory::MemoryBlobs;
use crate::service::sample::submitted;
use crate::store::memory::MemoryMetadata;
use crate::store::over::Over;
use crate::store::{Metadata, StoreError, View};

/// A backend that counts how often it is read.
#[derive(Default)]
struct Counted {
    record: MemoryMetadata,
    reads: AtomicUsize,
}

#[async_trait]
impl Over for Counted {
    fn below(&self) -> &dyn Metadata {
        &self.record
    }

    async fn read(&self, reads: Vec<Read>, at: Option<u64>) -> Result<View, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.record.read(reads, at).await
    }
}

/// A store, its backend, and the leader of an application.
async fn led() -> (Service, Arc<Counted>, EpochFence) {
    let counted = Arc::new(Counted::default());
    let blobs = Arc::new(MemoryBlobs::default());
    let store = Service::new(counted.clone(), blobs, Arc::new(ManualClock::new()));
    let leader = EpochFence { application: submitted(&store, "led").await, epoch: Epoch(1) };
    store.begin_attempt(&leader, &Holder::new("runner-0", 1), "").await.unwrap();
    (store, counted, leader)
}

#[tokio::test]
async fn a_new_step_of_the_journal_reads_nothing_but_the_first_and_what_an_earlier_leader_did() {
    let (store, counted, leader) = led().await;
    let keeping = async |leader: &EpochFence, step: &str| {
        let before = counted.reads.load(Ordering::Relaxed);
        store.journal(leader, step, Some(Bytes::from_static(b"value"))).await.unwrap();
        counted.reads.load(Ordering::Relaxed) - before
    };
    let mut reads = Vec::new();
    for step in ["1", "2", "3"] {
        reads.push(keeping(&leader, step).await);
    }
    assert_eq!(reads, [1, 0, 0]);
    let next = EpochFence { epoch: Epoch(2), ..leader };
    store.begin_attempt(&next, &Holder::new("runner-1", 2), "").await.unwrap();
    let mut reads = Vec::new();
    for step in ["1", "2", "3", "4", "5", "6"] {
        reads.push(keeping(&next, step).await);
    }
    assert_eq!(reads, [1, 1, 1, 1, 0, 0], "steps of the leader before, then new ones");
}

#[tokio::test]
async fn a_graph_is_kept_with_one_read() {
    let (store, counted, leader) = led().await;
    for (number, expected) in [(0, 2), (1, 1), (2, 1)] {
        let before = counted.reads.load(Ordering::Relaxed);
        let name = format!("job {number}");
        let digest = store.put_bytes(name.clone().into()).await.unwrap();
        let request = jobgraph::PutJobGraphRequest {
            call_id: name.clone(),
            ordinal: number,
            graph_digest: digest.to_string(),
            graph_size_bytes: name.len() as u64,
            name,
            ..Default::default()
        };
        store.put_job_graph(&leader, request).await.unwrap();
        let reads = counted.reads.load(Ordering::Relaxed) - before;
        assert_eq!(reads, expected, "graph {number}");
    }
}
