//! Through the wire: the whole service in this process, over a unix socket, with real credentials.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

#[path = "grpc/callers.rs"]
mod callers;
#[path = "grpc/doors.rs"]
mod doors;
#[path = "grpc/host.rs"]
mod host;
#[path = "grpc/hosts.rs"]
mod hosts;
#[path = "grpc/logs.rs"]
mod logs;
#[path = "grpc/manifest.rs"]
mod manifest;
#[path = "grpc/payloads.rs"]
mod payloads;
#[path = "grpc/queue.rs"]
mod queue;
#[path = "grpc/refusals.rs"]
mod refusals;
#[path = "grpc/uris.rs"]
mod uris;
#[path = "grpc/watching.rs"]
mod watching;

use record::{ApplicationEnd, Holder, MainEnd, Record as _};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use host::{Host, fence, reference, spec, submit_request};
use proto::api::{self, watch_response::Item};
use proto::{Digest, IncarnationFence, Reason, job, jobgraph};

#[tokio::test]
async fn a_run_is_submitted_led_run_ended_and_cleaned() {
    let host = Host::start().await;
    let (applications, record) = (host.applications(), host.record());
    let submitted = applications.submit(submit_request("r1", spec(""))).await.unwrap();
    assert!(!submitted.accepted_earlier && !submitted.existing);
    let application = submitted.application.unwrap();
    assert!(application.application_id.starts_with("carriers-"), "{}", application.application_id);
    assert_eq!(application.phase(), api::Phase::Submitted);
    let app = reference(&application);

    let mut watch = applications
        .watch(api::WatchRequest { application_id: app.id.to_string(), ..Default::default() })
        .await
        .unwrap();
    assert!(matches!(watch.next().await, Some(Ok(Item::Application(_)))));
    assert!(matches!(watch.next().await, Some(Ok(Item::SnapshotEnd(_)))));

    let fence = fence(&app, 7);
    let begun = record.begin_attempt(&fence, &Holder::new("runner-0", 41), "").await.unwrap();
    assert_eq!(begun.disposition(), jobgraph::Disposition::Fresh);
    assert!(matches!(watch.next().await, Some(Ok(Item::Application(_)))));

    let bytes = Bytes::from_static(b"select 1");
    let digest = Digest::of(&bytes);
    let artifact = api::PinnedArtifact {
        uri: "/carriers.sql".into(),
        name: "carriers.sql".into(),
        digest: digest.to_string(),
        size_bytes: 8,
    };
    let missing = record.pin_artifacts(&fence, vec![artifact.clone()]).await.unwrap_err();
    assert_eq!(missing.reason(), Some(Reason::PayloadMissing));
    assert!(!host.payloads().put_bytes(digest, bytes.clone()).await.unwrap());
    assert!(host.payloads().put_bytes(digest, bytes.clone()).await.unwrap());
    assert_eq!(record.pin_artifacts(&fence, vec![artifact.clone()]).await.unwrap(), [artifact]);

    let begin = jobgraph::BeginClusterRequest {
        request_id: "c1".into(),
        engine: "datafusion".into(),
        ..Default::default()
    };
    let begun = record.begin_cluster(&fence, begin).await.unwrap();
    assert_eq!((begun.incarnation, begun.barren_incarnations), (1, 1));
    let cluster = IncarnationFence { application: app.clone(), incarnation: proto::Incarnation(1) };
    let ready = jobgraph::RecordClusterRequest {
        incarnation: 1,
        state: api::ClusterState::Ready.into(),
        jobs_endpoint: "unix:/x".into(),
        ready_roles: [("worker".to_owned(), 1)].into(),
        ..Default::default()
    };
    record.record_cluster(&fence, ready).await.unwrap();
    record.main_starting(&fence, "unix:/tether").await.unwrap();
    record.main_running(&fence, 4133).await.unwrap();
    assert_eq!(applications.get(&app.id, None).await.unwrap().phase(), api::Phase::Running);

    let graph = jobgraph::PutJobGraphRequest {
        call_id: "call".into(),
        name: "by_carrier".into(),
        graph_digest: digest.to_string(),
        graph_size_bytes: 8,
        ..Default::default()
    };
    let call = jobgraph::FindJobRequest {
        call_id: "call".into(),
        name: "by_carrier".into(),
        ..Default::default()
    };
    let told = record.find_job(&fence, call).await.unwrap();
    let put = record.put_job_graph(&fence, graph).await.unwrap();
    let job_id = put.job.unwrap().job_id.parse().unwrap();
    assert_eq!(told, job_id);
    record.job_submitted(&fence, job_id, cluster.incarnation).await.unwrap();

    let rows = Bytes::from_static(b"rows");
    let worker = host.as_incarnation(&app, 1);
    worker.payloads().put_bytes(Digest::of(&rows), rows.clone()).await.unwrap();
    let output = job::Output {
        location: "/out".into(),
        files: vec![job::StagedFile::default()],
        ..Default::default()
    };
    let end = job::JobEnd {
        outcome: job::JobOutcome::Succeeded.into(),
        manifest: Some(job::Manifest { outputs: vec![output], ..Default::default() }),
        result_digest: Digest::of(&rows).to_string(),
        ..Default::default()
    };
    assert!(worker.record().job_ended(&cluster, job_id, end).await.unwrap().recorded);
    let refused = record
        .end(&fence, ApplicationEnd::new(api::Outcome::Succeeded, "", ""), 0)
        .await
        .unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::OutputNotPublished));
    record.published(&fence, job_id).await.unwrap();
    record.main_ended(&fence, MainEnd::exited(0)).await.unwrap();
    let end =
        record.end(&fence, ApplicationEnd::new(api::Outcome::Succeeded, "", ""), 0).await.unwrap();
    assert_eq!(end.outcome, api::Outcome::Succeeded);
    record.mark_clean(&fence, Vec::new()).await.unwrap();

    let wait = applications
        .wait(&app.id, None, api::WaitFor::Clean, "", Duration::from_secs(10))
        .await
        .unwrap();
    assert!(wait.1 && wait.0.clean && wait.0.phase() == api::Phase::Ended);
    assert_eq!(
        host.payloads().present(&[digest]).await.unwrap(),
        [digest],
        "the job's graph still needs the bytes"
    );
    let result: Vec<Bytes> = applications
        .read_result(&app.id, None, "by_carrier")
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    assert_eq!(result.concat(), rows);
    std::fs::write(host.payload(Digest::of(&rows)), b"rowz").unwrap();
    let damaged =
        applications.read_result(&app.id, None, "by_carrier").await.map(|_| ()).unwrap_err();
    assert_eq!(damaged.reason(), Some(Reason::DataCorrupt), "before a byte of it");

    let events = api::EventsRequest {
        application_id: app.id.to_string(),
        follow: true,
        ..Default::default()
    };
    let events: Vec<api::Event> =
        applications.events(events).await.unwrap().try_collect().await.unwrap();
    let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    let expected = [
        "submitted",
        "leader",
        "artifact",
        "cluster",
        "cluster",
        "main",
        "job",
        "job",
        "job",
        "published",
        "main",
        "ended",
        "clean",
    ];
    assert_eq!(kinds, expected);
    assert!(events.iter().map(|event| event.event_id).eq(1..=expected.len() as u64));
    host.stop().await;
}
