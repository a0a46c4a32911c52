#![allow(clippy::unwrap_used)]
use std::convert::Infallible;

use ::record::{Holder, Record as _};
use bytes::Bytes;
use chassis::clock::ManualClock;
use futures::TryStreamExt as _;
use futures::stream;
use proto::{
    ApplicationRef, Epoch, EpochFence, Incarnation, IncarnationFence, JobId, api, job, jobgraph,
};

use super::*;
use crate::blobs::memory::MemoryBlobs;
use crate::service::Service;
use crate::service::sample::submitted;
use crate::store::memory::MemoryMetadata;

const GRAPH: &[u8] = b"the graph";

fn empty() -> (Arc<dyn Metadata>, Arc<dyn Blobs>) {
    (Arc::new(MemoryMetadata::default()), Arc::new(MemoryBlobs::default()))
}

fn service(metadata: &Arc<dyn Metadata>, blobs: &Arc<dyn Blobs>) -> Service {
    Service::new(metadata.clone(), blobs.clone(), Arc::new(ManualClock::new()))
}

/// A record with an application that is led, whose cluster runs the job that it answers.
async fn at_work() -> (Service, ApplicationRef, JobId) {
    let (metadata, blobs) = empty();
    let service = service(&metadata, &blobs);
    let application = submitted(&service, "orders").await;
    let fence = EpochFence { application: application.clone(), epoch: Epoch(1) };
    service.begin_attempt(&fence, &Holder::new("runner-0", 7), "").await.unwrap();
    let graph = Bytes::from_static(GRAPH);
    let digest = service.put_bytes(graph.clone()).await.unwrap();
    let request = jobgraph::PutJobGraphRequest {
        call_id: "1".into(),
        name: "enrich".into(),
        graph_digest: digest.to_string(),
        graph_size_bytes: graph.len() as u64,
        ..Default::default()
    };
    let put = service.put_job_graph(&fence, request).await.unwrap();
    let job = put.job.unwrap().job_id.parse().unwrap();
    let begin = jobgraph::BeginClusterRequest { request_id: "1.0".into(), ..Default::default() };
    service.begin_cluster(&fence, begin).await.unwrap();
    (service, application, job)
}

async fn parts(service: &Service) -> Vec<BackupPart> {
    service.backup().await.unwrap().try_collect().await.unwrap()
}

fn read(parts: &[BackupPart]) -> impl Stream<Item = Result<BackupPart, Infallible>> + Unpin {
    stream::iter(parts.iter().cloned().map(Ok))
}

#[tokio::test]
async fn a_restored_record_has_everything_and_takes_nothing_from_before() {
    let (original, application, job) = at_work().await;
    let (metadata, blobs) = empty();
    let restored = into(metadata.clone(), blobs.clone(), read(&parts(&original).await)).await;
    assert_eq!(restored.unwrap().end.payloads, 1);
    is_whole(&*metadata).await.unwrap();

    let service = service(&metadata, &blobs);
    let shown = service.get(&application.id, 0).await.unwrap();
    assert_eq!(shown.jobs[0].name, "enrich");
    assert_eq!(shown.cluster.unwrap().state(), api::ClusterState::Gone);
    let graph = service.read_payload(Digest::of(GRAPH)).await.unwrap();
    assert_eq!(graph, GRAPH);

    // The leader and the cluster of the lost host may still be at work.
    let earlier = EpochFence { application: application.clone(), epoch: Epoch(1) };
    let refused = service.main_starting(&earlier, "unix:/t").await.unwrap_err();
    assert!(matches!(refused, ::record::Error::Superseded { .. }), "{refused:?}");
    let cluster =
        IncarnationFence { application: application.clone(), incarnation: Incarnation(1) };
    let refused = service.job_ended(&cluster, job, job::JobEnd::default()).await.unwrap_err();
    assert!(matches!(refused, ::record::Error::Superseded { .. }), "{refused:?}");

    // The next leader enters above the raised epoch, as it is told.
    let behind = service.begin_attempt(&earlier, &Holder::new("runner-0", 8), "").await;
    assert!(behind.is_err());
    let next = EpochFence { application, epoch: Epoch((1 << 32) + 2) };
    service.begin_attempt(&next, &Holder::new("runner-0", 8), "").await.unwrap();
    let begin = jobgraph::BeginClusterRequest { request_id: "2.0".into(), ..Default::default() };
    let begun = service.begin_cluster(&next, begin).await.unwrap();
    assert_eq!(begun.incarnation, (1 << 32) + 2);
}

#[tokio::test]
async fn a_restore_that_was_cut_off_is_not_served_and_is_done_anew() {
    let (original, application, _) = at_work().await;
    let all = parts(&original).await;
    let (metadata, blobs) = empty();
    for cut in 1..all.len() {
        let cut_off = into(metadata.clone(), blobs.clone(), read(&all[..cut])).await;
        assert!(cut_off.is_err(), "without {} parts", all.len() - cut);
        assert!(is_whole(&*metadata).await.is_err());
    }
    into(metadata.clone(), blobs.clone(), read(&all)).await.unwrap();
    is_whole(&*metadata).await.unwrap();
    assert!(service(&metadata, &blobs).get(&application.id, 0).await.is_ok());
    let again = into(metadata, blobs, read(&all)).await.unwrap_err();
    assert!(again.to_string().contains("not empty"), "{again:#}");
}

#[tokio::test]
async fn bytes_that_are_not_those_of_the_digest_are_refused() {
    let (original, _, _) = at_work().await;
    let mut all = parts(&original).await;
    for part in &mut all {
        if let Some(Part::Chunk(chunk)) = &mut part.part {
            *chunk = Bytes::from_static(b"the grapH");
        }
    }
    let (metadata, blobs) = empty();
    let refused = into(metadata, blobs, read(&all)).await.unwrap_err();
    assert!(refused.to_string().contains("other bytes"), "{refused:#}");
}

#[tokio::test]
async fn what_belongs_to_a_host_is_left_out() {
    let (original, application, _) = at_work().await;
    let process = jobgraph::Process {
        key: format!("{}/1/0101010101010101/contender/0/contender/0", application.id),
        application: Some(application.into()),
        kind: "contender".into(),
        ..Default::default()
    };
    original.put_process(process, None).await.unwrap();
    let entries = parts(&original).await.into_iter().filter_map(|part| match part.part {
        Some(Part::Entries(entries)) => Some(entries.entries),
        _ => None,
    });
    for entry in entries.flatten() {
        assert!(kept::is_kept(&Key::new(entry.key.clone())), "{:?}", entry.key);
    }
}
