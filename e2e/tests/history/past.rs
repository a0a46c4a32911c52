//! A record with a past, written through the store alone, which is faster by far than living
//! through it.

use record::{ApplicationEnd, Holder, MainEnd, Record as _};
use std::sync::Arc;

use chassis::clock::{SharedClock, SystemClock};
use chassis::credential::{DeploymentKey, Principal};
use chassis::transport::OsTransport;
use client::applications::Applications;
use client::payloads::Payloads;
use client::places::Places;
use client::record::RecordClient;
use e2e::Host;
use e2e::process::eventually;
use proto::{
    ApplicationRef, Digest, Epoch, EpochFence, Generation, Incarnation, IncarnationFence, JobId,
    api, job, jobgraph,
};

/// The clients of one store.
struct Store {
    applications: Applications,
    record: RecordClient,
    payloads: Payloads,
}

/// Serves the host's record by itself, and writes `ended` applications of two jobs each into it,
/// and one that waits to be run.
pub(crate) fn write(host: &Host, ended: usize, waiting: &str) {
    let places = Places::new(host.state());
    let socket = places.service_socket("jobgraph-store");
    let state = places.state().display().to_string();
    let store = host.start(&["serve", "jobgraph-store", "--state-dir", &state]);
    eventually("the store serves", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let key = DeploymentKey::load(&places.deployment_key()).unwrap();
        let clock: SharedClock = Arc::new(SystemClock);
        let channel = chassis::channel::connect(
            Arc::new(OsTransport),
            clock,
            places.service_endpoint("jobgraph-store"),
            Some(key.mint(&Principal::Deployment)),
        );
        let store = Store {
            applications: Applications::new(channel.clone()),
            record: RecordClient::new(channel.clone()),
            payloads: Payloads::new(channel),
        };
        for number in 0..ended {
            store.live_through(&format!("past-{number}")).await;
        }
        store.submit("waiting", waiting).await;
    });
    store.signal("TERM");
    store.finish().exits(0);
}

impl Store {
    async fn submit(&self, id: &str, script: &str) -> ApplicationRef {
        let program = api::Program { uri: script.into(), ..Default::default() };
        let spec = api::ApplicationSpec {
            application_id: id.into(),
            program: Some(program),
            engine: "datafusion".into(),
            ..Default::default()
        };
        let request = api::SubmitRequest {
            request_id: format!("r-{id}"),
            spec: Some(spec),
            ..Default::default()
        };
        let submitted = self.applications.submit(request).await.unwrap().application.unwrap();
        ApplicationRef { id: id.parse().unwrap(), generation: Generation(submitted.generation) }
    }

    /// Writes everything that a leader and a cluster write, from the submission of an application
    /// until it is clean.
    async fn live_through(&self, id: &str) {
        let application = self.submit(id, "/nowhere/past.sql").await;
        let fence = EpochFence { application: application.clone(), epoch: Epoch(1) };
        let cluster = IncarnationFence { application, incarnation: Incarnation(1) };
        let begun =
            self.record.begin_attempt(&fence, &Holder::new("runner-0", 1), "").await.unwrap();
        let begin = jobgraph::BeginClusterRequest { request_id: "c1".into(), ..Default::default() };
        self.record.begin_cluster(&fence, begin).await.unwrap();
        self.record.main_starting(&fence, "unix:/main").await.unwrap();
        for (ordinal, name) in ["first", "second"].into_iter().enumerate() {
            let graph = bytes::Bytes::from(format!("{id}/{name}"));
            let digest = Digest::of(&graph);
            let size = graph.len() as u64;
            self.payloads.put_bytes(digest, graph).await.unwrap();
            let put = jobgraph::PutJobGraphRequest {
                name: name.into(),
                call_id: name.into(),
                ordinal: u32::try_from(ordinal).unwrap(),
                graph_digest: digest.to_string(),
                graph_size_bytes: size,
                ..Default::default()
            };
            let job: JobId = self
                .record
                .put_job_graph(&fence, put)
                .await
                .unwrap()
                .job
                .unwrap()
                .job_id
                .parse()
                .unwrap();
            let end =
                job::JobEnd { outcome: job::JobOutcome::Succeeded.into(), ..Default::default() };
            self.record.job_ended(&cluster, job, end).await.unwrap();
        }
        self.record.main_ended(&fence, MainEnd::exited(0)).await.unwrap();
        let shown = begun.record.and_then(|record| record.application);
        let desired = shown.and_then(|shown| shown.desired).map_or(0, |desired| desired.revision);
        self.record
            .end(&fence, ApplicationEnd::new(api::Outcome::Succeeded, "", ""), desired)
            .await
            .unwrap();
        self.record.mark_clean(&fence, Vec::new()).await.unwrap();
    }
}
