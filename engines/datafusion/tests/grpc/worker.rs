use std::sync::Arc;

use chassis::credential::{Kind, Principal};
use chassis::tasks::Shutdown;
use chassis::transport::{Endpoint, OsTransport};
use client::jobs::{Jobs, Savepoint};
use client::payloads::Payloads;
use client::record::RecordClient;
use futures::StreamExt as _;
use jobgraph_store::store::StoreError;
use jobs_service::ClusterArgs;
use mainspring_datafusion::graph::JobGraph;
use mainspring_datafusion::script::{Paths, Script};
use mainspring_datafusion::session::ScriptSession;
use mainspring_datafusion::worker::{self, Config};
use proto::engine::{EngineJobState, JobStatus};
use proto::job::{JobEnd, JobOutcome};
use proto::{Digest, Incarnation, JobId, Reason};
use tokio::task::JoinHandle;
use tonic::Code;

use crate::store::{Fault, Store, StoredJob};
use crate::{channel, clock, ready, token, until};

const ENDLESS: &str = "SELECT count(*) FROM (SELECT unnest(generate_series(1, 100000)) AS a) CROSS JOIN
    (SELECT unnest(generate_series(1, 100000)) AS b) CROSS JOIN (SELECT unnest(generate_series(1, 100000)) AS c) WHERE a + b + c < 0";

struct World {
    root: tempfile::TempDir,
    store: Store,
    endpoint: Endpoint,
    shutdown: Shutdown,
    serving: Option<JoinHandle<Result<(), String>>>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.begin();
    }
}

impl World {
    async fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::Unix(root.path().join("s"));
        let store = Store::serve(Endpoint::Unix(root.path().join("store"))).await;
        let channel = channel(&store.endpoint, Some(token(Self::cluster())));
        let shutdown = Shutdown::new();
        let config = Config {
            cluster: ClusterArgs {
                endpoint: endpoint.clone(),
                token_file: root.path().join("token"),
                jobs_token_file: root.path().join("jobs.token"),
                store: store.endpoint.clone(),
                application: "orders".parse().unwrap(),
                generation: 1,
                incarnation: 2,
            },
            work_dir: root.path().join("work"),
            memory_limit_bytes: 64 << 20,
            result_limit_bytes: 1 << 20,
            jobs_at_once: 2,
        };
        let serving = worker::serve(
            config,
            Self::token(),
            Arc::new(RecordClient::new(channel.clone())),
            Payloads::new(channel),
            Arc::new(OsTransport),
            clock(),
            shutdown.clone(),
        );
        let serving = Some(tokio::spawn(async move { serving.await.map_err(|e| e.to_string()) }));
        ready(&endpoint).await;
        Self { root, store, endpoint, shutdown, serving }
    }

    /// The worker, as it shows itself to the store.
    fn cluster() -> Principal {
        Principal::Incarnation { application: "orders".into(), generation: 1, incarnation: 2 }
    }

    fn token() -> chassis::credential::Credential {
        token(Principal::Jobs { application: "orders".into(), generation: 1, incarnation: 2 })
    }

    fn leader(&self, epoch: u64) -> Jobs {
        Jobs::new(channel(&self.endpoint, Some(Self::token())), Store::leader(epoch))
    }

    async fn adopted(&self) -> Jobs {
        let leader = self.leader(3);
        leader.adopt(Incarnation(2), &[]).await.unwrap();
        leader
    }

    /// A job in the record, which no cluster has been given yet.
    async fn stored(&self, sql: &str) -> StoredJob {
        self.store.put_graph(self.graph(sql).await.encode()).await
    }

    async fn submit(&self, leader: &Jobs, job: StoredJob) -> bool {
        let StoredJob { id, graph, size_bytes } = job;
        leader.submit(id, "a job", graph, size_bytes, &[id]).await.unwrap()
    }

    async fn graph(&self, sql: &str) -> JobGraph {
        let script = Script::parse("t.sql", sql).unwrap();
        let paths =
            Paths { inputs: self.root.path().to_owned(), outputs: self.root.path().join("out") };
        let mut session = ScriptSession::new(paths, false).unwrap();
        session.step(&script, &script.statements[0]).await.unwrap().unwrap()
    }

    /// Stores a job and has it run.
    async fn run(&self, leader: &Jobs, sql: &str) -> JobId {
        let job = self.stored(sql).await;
        assert!(!self.submit(leader, job).await, "the cluster cannot know it yet");
        job.id
    }
}

/// Waits until the worker has done all that it does for a job.
async fn ended(leader: &Jobs, id: JobId) -> JobStatus {
    let mut watched = Box::pin(leader.watch().await.unwrap());
    loop {
        let status = watched.next().await.unwrap().unwrap();
        if status.job_id == id.to_string() && status.state() == EngineJobState::Ended {
            return status;
        }
    }
}

fn id(n: u8) -> JobId {
    format!("{n:032x}").parse().unwrap()
}

/// The incarnation's own token, which all processes of the cluster hold, is among the refused ones.
#[tokio::test]
async fn every_method_opens_for_the_leader_and_for_nobody_else() {
    let world = World::new().await;
    let (channel, service) = (channel(&world.endpoint, None), "mainspring.engine.v1.JobsService");
    let mint = |who: &Principal| match who.kind() {
        Kind::Jobs => World::token(),
        _ => token(who.clone()),
    };
    trespass::assert_held(
        &trespass::walk(&channel, &clock(), service, mint, Kind::Jobs).await,
        Kind::Jobs,
    );
}

#[tokio::test]
async fn savepoints_are_refused_by_name() {
    let world = World::new().await;
    let trigger = proto::TriggerId::derive("wish", id(1));
    let (directory, format) = ("", "");
    let savepoint = Savepoint { job: id(1), trigger, directory, stop: true, drain: false, format };
    let early = world.leader(3).savepoint(&savepoint).await.unwrap_err();
    assert_eq!(early.reason(), Some(Reason::NotAdopted));
    let refused = world.adopted().await.savepoint(&savepoint).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.reason()),
        (Code::FailedPrecondition, Some(Reason::SavepointUnsupported))
    );
}

#[tokio::test]
async fn nobody_gives_orders_before_the_record_has_confirmed_them() {
    let world = World::new().await;
    let early = world.leader(3);
    let error = early.submit(id(1), "", Digest::of(b""), 0, &[]).await.unwrap_err();
    assert_eq!(
        (error.code(), error.reason()),
        (Code::FailedPrecondition, Some(Reason::NotAdopted))
    );

    let error = world.leader(2).adopt(Incarnation(2), &[]).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::EpochSuperseded), "the record knows 3");
    let error = early.adopt(Incarnation(1), &[]).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::IncarnationSuperseded));
    assert!(early.adopt(Incarnation(2), &[]).await.unwrap().is_empty());

    world.store.lead(8).await;
    let later = world.leader(8);
    let mut watched = Box::pin(early.watch().await.unwrap());
    later.adopt(Incarnation(2), &[]).await.unwrap();
    let error = watched.next().await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(Reason::EpochSuperseded), "its watch ends");
    let error = early.cancel(id(1), "").await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::EpochSuperseded));
    let error = early.adopt(Incarnation(2), &[]).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::EpochSuperseded));
    let error = later.cancel(id(1), "").await.unwrap_err();
    assert_eq!((error.code(), error.reason()), (Code::NotFound, Some(Reason::JobNotFound)));
}

#[tokio::test]
async fn a_select_ends_with_its_rows_in_the_record() {
    let world = World::new().await;
    let leader = world.adopted().await;
    let id = world.run(&leader, "VALUES (1), (2), (3)").await;
    let end = world.store.end(id).await;
    assert_eq!(end.outcome(), JobOutcome::Succeeded);
    let rows = world.store.payload(&end.result_digest).await;
    assert_eq!(rows.len() as u64, end.result_size_bytes);
    let mut table = Vec::new();
    mainspring_datafusion::table::print_stream(&mut table, rows.as_slice()).unwrap();
    assert!(String::from_utf8(table).unwrap().ends_with("(3 rows)\n"));
    assert_eq!(ended(&leader, id).await.progress.unwrap().rows_out, 3);
    let again = StoredJob { id, ..world.stored("VALUES (9)").await };
    assert!(world.submit(&leader, again).await, "a known job is not started again");
    assert_eq!(
        leader.adopt(Incarnation(2), &[]).await.unwrap().len(),
        1,
        "a new leader is told of it"
    );
}

#[tokio::test]
async fn an_end_waits_for_the_store() {
    let mut world = World::new().await;
    let leader = world.adopted().await;
    let job = world.stored("COPY (SELECT 1) TO 'x' STORED AS CSV").await;
    world.store.fail_next([
        Fault::Refusal(StoreError::Unavailable("a fault".into())),
        Fault::Refusal(StoreError::Full("a fault".into())),
        Fault::Silence,
    ]);
    world.submit(&leader, job).await;
    world.store.failed(3).await;
    assert_eq!(world.store.end_of(job.id).await, None);
    world.store.restart().await;
    let end = world.store.end(job.id).await;
    assert_eq!(end.outcome(), JobOutcome::Succeeded);
    let output = &end.manifest.unwrap().outputs[0];
    assert_eq!(output.staging, format!(".mainspring-staging/{}-2", job.id));
    assert!(
        std::path::Path::new(&output.location)
            .join(&output.staging)
            .join(&output.files[0].staged)
            .exists()
    );
}

#[tokio::test]
async fn a_superseded_incarnation_ends_itself() {
    let mut world = World::new().await;
    let leader = world.adopted().await;
    assert_eq!(world.store.begin_cluster("the third").await, Incarnation(3));
    let id = world.run(&leader, "COPY (SELECT 1) TO 'x' STORED AS CSV").await;
    let ended = world.serving.take().unwrap().await.unwrap();
    assert!(ended.unwrap_err().contains(&id.to_string()));
    assert_eq!(world.store.end_of(id).await, None);
}

#[tokio::test]
async fn an_end_that_stood_before_makes_the_staged_output_worthless() {
    let world = World::new().await;
    let leader = world.adopted().await;
    let job = world.stored("COPY (SELECT 1) TO 'x' STORED AS CSV").await;
    let cancelled = JobEnd { outcome: JobOutcome::Cancelled.into(), ..Default::default() };
    let told = world.store.record.leader_job_ended(&Store::leader(3), job.id, cancelled).await;
    assert!(told.unwrap().recorded);
    world.submit(&leader, job).await;
    let rows = ended(&leader, job.id).await.progress.unwrap().rows_out;
    assert_eq!(rows, 1, "it was staged");
    let staged = world.root.path().join(format!("out/x/.mainspring-staging/{}-2", job.id));
    assert!(!staged.exists());
    assert_eq!(world.store.end(job.id).await.outcome(), JobOutcome::Cancelled);
}

#[tokio::test]
async fn a_cancelled_job_is_recorded_so_and_leaves_nothing() {
    let world = World::new().await;
    let leader = world.adopted().await;
    let id = world.run(&leader, &format!("COPY ({ENDLESS}) TO 'x' STORED AS CSV")).await;
    let staging = world.root.path().join("out/x/.mainspring-staging");
    until("the job to run", || staging.exists().then_some(())).await;
    leader.cancel(id, "a test").await.unwrap();
    let end = world.store.end(id).await;
    assert_eq!((end.outcome(), end.reason.as_str()), (JobOutcome::Cancelled, "CANCELLED"));
    assert!(!world.root.path().join("out/x").exists());
}

#[tokio::test]
async fn a_job_that_fails_says_why() {
    let world = World::new().await;
    let leader = world.adopted().await;
    let id = world.run(&leader, "SELECT 1 / column1 FROM (VALUES (0))").await;
    let end = world.store.end(id).await;
    assert_eq!((end.outcome(), end.reason.as_str()), (JobOutcome::Failed, "JOB_FAILED"));
    assert!(end.message.to_lowercase().contains("divide by zero"), "{}", end.message);
}

#[tokio::test]
async fn an_unreadable_graph_is_refused() {
    let world = World::new().await;
    let leader = world.adopted().await;
    let StoredJob { id, graph, size_bytes } = world.store.put_graph(b"PAR1".to_vec()).await;
    let error = leader.submit(id, "", graph, size_bytes, &[]).await.unwrap_err();
    assert_eq!(
        (error.code(), error.reason()),
        (Code::InvalidArgument, Some(Reason::GraphUnreadable))
    );
    assert!(leader.adopt(Incarnation(2), &[]).await.unwrap().is_empty(), "it is no job");
}

#[tokio::test]
async fn a_shutdown_tells_no_end() {
    let mut world = World::new().await;
    let leader = world.adopted().await;
    let id = world.run(&leader, &format!("COPY ({ENDLESS}) TO 'x' STORED AS CSV")).await;
    let staging = world.root.path().join("out/x/.mainspring-staging");
    until("the job to run", || staging.exists().then_some(())).await;
    world.shutdown.begin();
    world.serving.take().unwrap().await.unwrap().unwrap();
    assert_eq!(world.store.end_of(id).await, None);
}
