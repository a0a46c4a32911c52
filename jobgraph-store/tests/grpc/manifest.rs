//! Lists of many files, which are payloads of the record.

use bytes::Bytes;
use proto::{ApplicationRef, Digest, IncarnationFence, JobId, api, job, jobgraph};
use record::{Holder, Record as _};

use crate::host::{Host, fence};

/// A job of incarnation 1 that runs under epoch 1.
async fn running(host: &Host) -> (ApplicationRef, IncarnationFence, JobId) {
    let (app, fence) = host.led("staged").await;
    let record = host.record();
    let begin = jobgraph::BeginClusterRequest {
        request_id: "c1".into(),
        engine: "datafusion".into(),
        ..Default::default()
    };
    record.begin_cluster(&fence, begin).await.unwrap();
    let cluster = IncarnationFence { application: app.clone(), incarnation: proto::Incarnation(1) };
    let ready = jobgraph::RecordClusterRequest {
        incarnation: 1,
        state: api::ClusterState::Ready.into(),
        jobs_endpoint: "unix:/x".into(),
        ..Default::default()
    };
    record.record_cluster(&fence, ready).await.unwrap();
    record.main_starting(&fence, "unix:/tether").await.unwrap();
    record.main_running(&fence, 4133).await.unwrap();
    let bytes = Bytes::from_static(b"graph");
    host.payloads().put_bytes(Digest::of(&bytes), bytes.clone()).await.unwrap();
    let graph = jobgraph::PutJobGraphRequest {
        call_id: "call".into(),
        name: "many".into(),
        graph_digest: Digest::of(&bytes).to_string(),
        graph_size_bytes: 5,
        ..Default::default()
    };
    let job =
        record.put_job_graph(&fence, graph).await.unwrap().job.unwrap().job_id.parse().unwrap();
    record.job_submitted(&fence, job, cluster.incarnation).await.unwrap();
    (app, cluster, job)
}

/// The manifest of the only job, as the record tells it to a leader of this epoch.
async fn told(host: &Host, app: &ApplicationRef, epoch: u64) -> job::Manifest {
    let holder = Holder::new("runner", 1);
    let begun = host.record().begin_attempt(&fence(app, epoch), &holder, "").await.unwrap();
    let mut application = begun.record.unwrap().application.unwrap();
    application.jobs.remove(0).end.unwrap().manifest.unwrap()
}

#[tokio::test]
async fn a_damaged_list_of_files_keeps_no_leader_from_its_record_and_is_told_by_its_digest() {
    let mut host = Host::start().await;
    let (app, cluster, job) = running(&host).await;
    let file = |n: u32| job::StagedFile {
        staged: format!("part-{n:08}.parquet"),
        r#final: format!("part-0123456789abcdef0123456789abcdef-{n:08}.parquet"),
        size_bytes: 10,
    };
    let output = job::Output {
        location: "/out".into(),
        files: (0..1000).map(file).collect(),
        ..Default::default()
    };
    let manifest = job::Manifest { outputs: vec![output], ..Default::default() };
    let outcome = job::JobOutcome::Succeeded.into();
    let end = job::JobEnd { outcome, manifest: Some(manifest.clone()), ..Default::default() };
    host.as_incarnation(&app, 1).record().job_ended(&cluster, job, end).await.unwrap();

    assert_eq!(told(&host, &app, 2).await, manifest);

    let bytes: Bytes = prost::Message::encode_to_vec(&manifest).into();
    let digest = Digest::of(&bytes);
    let mut changed = bytes.to_vec();
    changed[20] ^= 1;
    std::fs::write(host.payload(digest), changed).unwrap();
    // A store that has read the list before needs no payload for it.
    assert_eq!(told(&host, &app, 3).await, manifest, "it is in memory");
    host.restart().await;
    let damaged = told(&host, &app, 4).await;
    assert_eq!(damaged.files_digest, digest.to_string());
    let counts: Vec<_> =
        damaged.outputs.iter().map(|output| (output.files.len(), output.file_count)).collect();
    assert_eq!(counts, [(0, 1000)], "no file of a damaged list");

    host.payloads().put_bytes(digest, bytes).await.unwrap();
    assert_eq!(told(&host, &app, 5).await, manifest, "it was restored");
    host.stop().await;
}
