//! Measures what a fenced write of 30 KiB costs, beside a plain put of as many bytes into the same
//! etcd. `tools/bench.py` runs this program against a store and an etcd that it has started:
//!
//! `fenced STATE_DIR ETCD CLIENTS PUTS ROUNDS`: in each round CLIENTS callers, each over connections
//! of its own, make PUTS writes of one kind after the other, then of the next kind. Prints one line
//! for each kind and round: the kind, the seconds that all writes took, and the milliseconds of
//! each. The kinds are
//!
//! - `etcd`: a plain put into etcd,
//! - `value`: a step of the journal, whose bytes etcd keeps as one value, under the attempt's fence,
//! - `graph`: a job's graph, whose bytes the store keeps as a payload, and whose record etcd keeps,
//!   under the attempt's fence.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use chassis::channel;
use chassis::clock::{Clock as _, SharedClock, SystemClock};
use chassis::credential::{DeploymentKey, Principal};
use chassis::transport::{OsTransport, SharedTransport};
use client::applications::Applications;
use client::payloads::Payloads;
use client::places::Places;
use client::record::RecordClient;
use etcd::{Etcd, Member};
use futures::future::try_join_all;
use proto::{ApplicationRef, Digest, Epoch, EpochFence, Generation, api, jobgraph};
use record::{Holder, Record as _};

/// The bytes of each write.
const BYTES: usize = 30 * 1024;

/// How many graphs one application has. The store reads all jobs of an application for each write.
const GRAPHS_EACH: usize = 4;

/// How long a put into etcd is tried.
const PATIENCE: Duration = Duration::from_secs(8);

/// How often, and after which pauses, the program asks whether the store answers.
const STARTS: usize = 100;
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Etcd,
    Value,
    Graph,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Etcd, Self::Value, Self::Graph];

    fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Value => "value",
            Self::Graph => "graph",
        }
    }
}

/// One write, with all that is computed before it.
struct Put {
    fence: EpochFence,
    key: String,
    bytes: Bytes,
    digest: Digest,
}

/// One of the clients, with connections of its own.
struct Caller {
    applications: Applications,
    record: RecordClient,
    payloads: Payloads,
    etcd: Etcd,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    chassis::install_crypto_provider();
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().context("fenced STATE_DIR ETCD CLIENTS PUTS ROUNDS");
    let (state, member): (PathBuf, Member) = (next()?.into(), next()?.parse()?);
    let (clients, puts, rounds): (usize, usize, usize) =
        (next()?.parse()?, next()?.parse()?, next()?.parse()?);
    let places = Places::new(&state);
    let key = DeploymentKey::load_or_create(&places.deployment_key())?;
    let connecting = (0..clients).map(|_| Caller::connect(&places, &key, &member));
    let callers = try_join_all(connecting).await?;
    // Each program run has names of its own, because the record of the one before is still there.
    let run = SystemClock.boot().as_nanos();
    for round in 0..rounds {
        // No kind is always the first one, because a disk and an etcd change while they are used.
        let order = (0..Kind::ALL.len()).map(|at| Kind::ALL[(at + round) % Kind::ALL.len()]);
        for kind in order {
            let preparing = callers.iter().enumerate().map(|(number, caller)| {
                caller.prepare(kind, format!("{}-{run}-{round}-{number}", kind.name()), puts)
            });
            let prepared = try_join_all(preparing).await?;
            let begun = SystemClock.boot();
            let putting =
                callers.iter().zip(&prepared).map(|(caller, puts)| caller.put_all(kind, puts));
            let took = try_join_all(putting).await?;
            let all = SystemClock.boot().saturating_duration_since(begun);
            let each: Vec<String> = took.concat().iter().map(|ms| format!("{ms:.3}")).collect();
            println!("{} {:.6} {}", kind.name(), all.as_secs_f64(), each.join(" "));
        }
    }
    Ok(())
}

impl Caller {
    async fn connect(
        places: &Places,
        key: &DeploymentKey,
        member: &Member,
    ) -> anyhow::Result<Self> {
        let endpoint = places.service_endpoint("jobgraph-store");
        let credential = Some(key.mint(&Principal::Deployment));
        let (transport, clock): (SharedTransport, SharedClock) =
            (Arc::new(OsTransport), Arc::new(SystemClock));
        let etcd = Etcd::new(std::slice::from_ref(member), &transport, &clock).await?;
        let channel = channel::connect(transport, clock, endpoint, credential);
        let caller = Self {
            applications: Applications::new(channel.clone()),
            record: RecordClient::new(channel.clone()),
            payloads: Payloads::new(channel),
            etcd,
        };
        // The store may have been started a moment ago, and not listen yet.
        for _ in 0..STARTS {
            if caller.applications.version().await.is_ok() {
                break;
            }
            SystemClock.sleep(PAUSE).await;
        }
        caller.put_raw("connect", Bytes::new()).await?;
        Ok(caller)
    }

    /// Makes the writes of one round, and the applications that they belong to.
    async fn prepare(&self, kind: Kind, name: String, puts: usize) -> anyhow::Result<Vec<Put>> {
        let each = if kind == Kind::Graph { GRAPHS_EACH } else { puts };
        let mut prepared = Vec::with_capacity(puts);
        for number in 0..puts {
            let id = format!("{name}-{}", number / each);
            let application = ApplicationRef { id: id.parse()?, generation: Generation(1) };
            let fence = EpochFence { application, epoch: Epoch(1) };
            if kind != Kind::Etcd && number % each == 0 {
                self.begin(&fence).await?;
            }
            let key = format!("{name}-{number}");
            // No two writes have the same bytes, and no two pages of one write have.
            let page = |page: usize| Digest::of(format!("{key}-{page}").as_bytes()).to_string();
            let bytes: String = (0..BYTES.div_ceil(64)).map(page).collect();
            let bytes = Bytes::from(bytes).slice(..BYTES);
            prepared.push(Put { fence, key, digest: Digest::of(&bytes), bytes });
        }
        Ok(prepared)
    }

    /// Submits an application, and begins its first attempt.
    async fn begin(&self, fence: &EpochFence) -> anyhow::Result<()> {
        let id = fence.application.id.to_string();
        let program = api::Program { uri: "/nowhere/fenced.sql".into(), ..Default::default() };
        let spec = api::ApplicationSpec {
            application_id: id.clone(),
            program: Some(program),
            engine: "datafusion".into(),
            ..Default::default()
        };
        let request = api::SubmitRequest { request_id: id, spec: Some(spec), ..Default::default() };
        self.applications.submit(request).await?;
        self.record.begin_attempt(fence, &Holder::new("runner-0", 1), "").await?;
        Ok(())
    }

    /// Makes one write after the other, and answers the milliseconds of each.
    async fn put_all(&self, kind: Kind, puts: &[Put]) -> anyhow::Result<Vec<f64>> {
        let mut took = Vec::with_capacity(puts.len());
        for put in puts {
            let begun = SystemClock.boot();
            match kind {
                Kind::Etcd => self.put_raw(&put.key, put.bytes.clone()).await?,
                Kind::Value => {
                    self.record.journal(&put.fence, &put.key, Some(put.bytes.clone())).await?;
                }
                Kind::Graph => self.put_graph(put).await?,
            }
            let each = SystemClock.boot().saturating_duration_since(begun);
            took.push(each.as_secs_f64() * 1000.0);
        }
        Ok(took)
    }

    async fn put_raw(&self, key: &str, bytes: Bytes) -> anyhow::Result<()> {
        let key = format!("/raw/{key}");
        let put = |client: etcd_client::Client| {
            let (key, bytes) = (key.clone(), bytes.to_vec());
            async move { client.kv_client().put(key, bytes, None).await }
        };
        self.etcd.call(PATIENCE, put).await?;
        Ok(())
    }

    /// Keeps a graph as a runner does: its bytes first, then the job that points to them.
    async fn put_graph(&self, put: &Put) -> anyhow::Result<()> {
        self.payloads.put_bytes(put.digest, put.bytes.clone()).await?;
        let request = jobgraph::PutJobGraphRequest {
            name: put.key.clone(),
            call_id: put.key.clone(),
            graph_digest: put.digest.to_string(),
            graph_size_bytes: put.bytes.len() as u64,
            name_is_literal: true,
            ..Default::default()
        };
        self.record.put_job_graph(&put.fence, request).await?;
        Ok(())
    }
}
