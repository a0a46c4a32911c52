//! Writes applications that have ended through the store alone, which is far faster than to let
//! each of them run. `tools/bench.py` runs this program against a store that it has started:
//!
//! `past STATE_DIR COUNT [FIRST]` writes COUNT applications, each of one job and each clean. Their
//! names are numbered from FIRST on, which is 0 unless it is given.

use record::{ApplicationEnd, Holder, MainEnd, Record as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chassis::channel;
use chassis::clock::{Clock as _, SystemClock};
use chassis::credential::{DeploymentKey, Principal};
use chassis::transport::OsTransport;
use client::applications::Applications;
use client::payloads::Payloads;
use client::places::Places;
use client::record::RecordClient;
use futures::{StreamExt as _, TryStreamExt as _};
use proto::{
    ApplicationRef, Digest, Epoch, EpochFence, Generation, Incarnation, IncarnationFence, JobId,
    api, job, jobgraph,
};

/// How many applications are written at the same time.
const AT_ONCE: usize = 32;

/// How often, and after which pauses, the program asks whether the store answers.
const STARTS: usize = 100;
const PAUSE: Duration = Duration::from_millis(100);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    chassis::install_crypto_provider();
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().context("past STATE_DIR COUNT [FIRST]");
    let (state, count): (PathBuf, usize) = (next()?.into(), next()?.parse()?);
    let first: usize = arguments.next().map_or(Ok(0), |first| first.parse())?;
    let places = Places::new(&state);
    let key = DeploymentKey::load_or_create(&places.deployment_key())?;
    let endpoint = places.service_endpoint("jobgraph-store");
    let credential = Some(key.mint(&Principal::Deployment));
    let channel =
        channel::connect(Arc::new(OsTransport), Arc::new(SystemClock), endpoint, credential);
    let store = Store {
        applications: Applications::new(channel.clone()),
        record: RecordClient::new(channel.clone()),
        payloads: Payloads::new(channel),
    };
    // The store may have been started a moment ago, and not listen yet.
    for _ in 0..STARTS {
        if store.applications.version().await.is_ok() {
            break;
        }
        SystemClock.sleep(PAUSE).await;
    }
    let numbers = futures::stream::iter(first..first + count);
    let each = numbers.map(|number| store.live_through(format!("past-{number}")));
    each.buffer_unordered(AT_ONCE).try_collect().await
}

struct Store {
    applications: Applications,
    record: RecordClient,
    payloads: Payloads,
}

impl Store {
    /// Writes everything that a leader and a cluster write, from the submission of an application
    /// until the application is clean.
    async fn live_through(&self, id: String) -> anyhow::Result<()> {
        let program = api::Program { uri: "/nowhere/past.sql".into(), ..Default::default() };
        let spec = api::ApplicationSpec {
            application_id: id.clone(),
            program: Some(program),
            engine: "datafusion".into(),
            ..Default::default()
        };
        let request_id = format!("r-{id}");
        let request = api::SubmitRequest { request_id, spec: Some(spec), ..Default::default() };
        let submitted =
            self.applications.submit(request).await?.application.context("no application")?;
        let application =
            ApplicationRef { id: id.parse()?, generation: Generation(submitted.generation) };
        let fence = EpochFence { application: application.clone(), epoch: Epoch(1) };
        let cluster = IncarnationFence { application, incarnation: Incarnation(1) };
        self.record.begin_attempt(&fence, &Holder::new("runner-0", 1), "").await?;
        let begin = jobgraph::BeginClusterRequest { request_id: "c1".into(), ..Default::default() };
        self.record.begin_cluster(&fence, begin).await?;
        self.record.main_starting(&fence, "unix:/main").await?;
        let graph = bytes::Bytes::from_static(b"the graph of all of them");
        let digest = Digest::of(&graph);
        let put = jobgraph::PutJobGraphRequest {
            name: "job".into(),
            call_id: "call".into(),
            graph_digest: digest.to_string(),
            graph_size_bytes: graph.len() as u64,
            ..Default::default()
        };
        self.payloads.put_bytes(digest, graph).await?;
        let put = self.record.put_job_graph(&fence, put).await?.job.context("no job")?;
        let job: JobId = put.job_id.parse()?;
        let end = job::JobEnd { outcome: job::JobOutcome::Succeeded.into(), ..Default::default() };
        self.record.job_ended(&cluster, job, end).await?;
        self.record.main_ended(&fence, MainEnd::exited(0)).await?;
        self.record.end(&fence, ApplicationEnd::new(api::Outcome::Succeeded, "", ""), 0).await?;
        self.record.mark_clean(&fence, Vec::new()).await?;
        Ok(())
    }
}
