use std::sync::Arc;

use chassis::credential::{Kind, Principal};
use chassis::tasks::Shutdown;
use chassis::transport::{Endpoint, OsTransport};
use client::jobs::{Jobs, Savepoint};
use futures::StreamExt as _;
use jobs_service::ClusterArgs;
use mainspring_datafusion::graph::JobGraph;
use mainspring_datafusion::script::{Paths, Script};
use mainspring_datafusion::session::ScriptSession;
use mainspring_datafusion::worker::{self, Config};
use proto::engine::EngineJobState;
use proto::job::{JobEnd, JobOutcome};
use proto::{ApplicationRef, Epoch, EpochFence, Generation, Incarnation, JobId, Problem, Reason};
use tokio::task::JoinHandle;
use tonic::{Code, Status};

use crate::record::MemoryRecord;
use crate::{channel, clock, ready, token, until};

const ENDLESS: &str = "SELECT count(*) FROM (SELECT unnest(generate_series(1, 100000)) AS a) CROSS JOIN
    (SELECT unnest(generate_series(1, 100000)) AS b) CROSS JOIN (SELECT unnest(generate_series(1, 100000)) AS c) WHERE a + b + c < 0";

struct World {
    root: tempfile::TempDir,
    record: Arc<MemoryRecord>,
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
        let record = Arc::new(MemoryRecord::default());
        record.lead(3);
        let shutdown = Shutdown::new();
        let config = Config {
            cluster: ClusterArgs {
                endpoint: endpoint.clone(),
                token_file: root.path().join("token"),
                jobs_token_file: root.path().join("jobs.token"),
                store: endpoint.clone(),
                application: "orders".parse().unwrap(),
                generation: 1,
                incarnation: 5,
            },
            work_dir: root.path().join("work"),
            memory_limit_bytes: 64 << 20,
            result_limit_bytes: 1 << 20,
            jobs_at_once: 2,
        };
        let serving = worker::serve(
            config,
            Self::token(),
            record.clone(),
            Arc::new(OsTransport),
            clock(),
            shutdown.clone(),
        );
        let serving = Some(tokio::spawn(async move { serving.await.map_err(|e| e.to_string()) }));
        ready(&endpoint).await;
        Self { root, record, endpoint, shutdown, serving }
    }

    fn token() -> chassis::credential::Credential {
        token(Principal::Jobs { application: "orders".into(), generation: 1, incarnation: 5 })
    }

    fn leader(&self, epoch: u64) -> Jobs {
        let application =
            ApplicationRef { id: "orders".parse().unwrap(), generation: Generation(1) };
        Jobs::new(
            channel(&self.endpoint, Some(Self::token())),
            EpochFence { application, epoch: Epoch(epoch) },
        )
    }

    async fn adopted(&self) -> Jobs {
        let leader = self.leader(3);
        leader.adopt(Incarnation(5), &[]).await.unwrap();
        leader
    }

    async fn submit(&self, leader: &Jobs, id: JobId, sql: &str) -> bool {
        let graph = self.graph(sql).await.encode();
        let size = graph.len() as u64;
        let digest = self.record.put(graph);
        leader.submit(id, "a job", digest, size, &[id]).await.unwrap()
    }

    async fn graph(&self, sql: &str) -> JobGraph {
        let script = Script::parse("t.sql", sql).unwrap();
        let paths =
            Paths { inputs: self.root.path().to_owned(), outputs: self.root.path().join("out") };
        let mut session = ScriptSession::new(paths, false).unwrap();
        session.step(&script, &script.statements[0]).await.unwrap().unwrap()
    }

    async fn end(&self, id: JobId) -> JobEnd {
        until("the end of the job", || self.record.end_of(id)).await
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
    let graph = world.record.put(vec![]);
    let error = early.submit(id(1), "", graph, 0, &[]).await.unwrap_err();
    assert_eq!(
        (error.code(), error.reason()),
        (Code::FailedPrecondition, Some(Reason::NotAdopted))
    );

    let error = world.leader(2).adopt(Incarnation(5), &[]).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::EpochSuperseded), "the record knows 3");
    let error = early.adopt(Incarnation(4), &[]).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::IncarnationSuperseded));
    assert!(early.adopt(Incarnation(5), &[]).await.unwrap().is_empty());

    world.record.lead(8);
    let later = world.leader(8);
    let mut watched = Box::pin(early.watch().await.unwrap());
    later.adopt(Incarnation(5), &[]).await.unwrap();
    let error = watched.next().await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(Reason::EpochSuperseded), "its watch ends");
    let error = early.cancel(id(1), "").await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::EpochSuperseded));
    let error = early.adopt(Incarnation(5), &[]).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::EpochSuperseded));
    let error = later.cancel(id(1), "").await.unwrap_err();
    assert_eq!((error.code(), error.reason()), (Code::NotFound, Some(Reason::JobNotFound)));
}

#[tokio::test]
async fn a_select_ends_with_its_rows_in_the_record() {
    let world = World::new().await;
    let leader = world.adopted().await;
    let mut watched = Box::pin(leader.watch().await.unwrap());
    assert!(!world.submit(&leader, id(1), "VALUES (1), (2), (3)").await);
    let end = world.end(id(1)).await;
    assert_eq!(end.outcome(), JobOutcome::Succeeded);
    let rows = world.record.payload(&end.result_digest);
    assert_eq!(rows.len() as u64, end.result_size_bytes);
    let mut table = Vec::new();
    mainspring_datafusion::table::print_stream(&mut table, rows.as_slice()).unwrap();
    assert!(String::from_utf8(table).unwrap().ends_with("(3 rows)\n"));
    let last = loop {
        let status = watched.next().await.unwrap().unwrap();
        if status.state() == EngineJobState::Ended {
            break status;
        }
    };
    assert_eq!(last.progress.unwrap().rows_out, 3);
    assert!(world.submit(&leader, id(1), "VALUES (9)").await, "a known job is not started again");
    assert_eq!(
        leader.adopt(Incarnation(5), &[]).await.unwrap().len(),
        1,
        "a new leader is told of it"
    );
}

#[tokio::test]
async fn an_end_waits_for_the_store() {
    let world = World::new().await;
    world.record.fail_next([
        Problem::new(Reason::StoreUnavailable, "a fault").into_status(),
        Status::unknown("the connection broke"),
        Problem::new(Reason::StoreFull, "a fault").into_status(),
    ]);
    let leader = world.adopted().await;
    world.submit(&leader, id(1), "COPY (SELECT 1) TO 'x' STORED AS CSV").await;
    let end = world.end(id(1)).await;
    assert_eq!(end.outcome(), JobOutcome::Succeeded);
    assert_eq!(world.record.tries(), 4);
    let output = &end.manifest.unwrap().outputs[0];
    assert_eq!(output.staging, format!(".mainspring-staging/{}-5", id(1)));
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
    world.record.fail_next([Problem::new(Reason::IncarnationSuperseded, "a fault").into_status()]);
    let leader = world.adopted().await;
    world.submit(&leader, id(1), "COPY (SELECT 1) TO 'x' STORED AS CSV").await;
    let ended = world.serving.take().unwrap().await.unwrap();
    assert!(ended.unwrap_err().contains(&id(1).to_string()));
    assert_eq!(world.record.end_of(id(1)), None);
}

#[tokio::test]
async fn an_end_that_stood_before_makes_the_staged_output_worthless() {
    let world = World::new().await;
    let cancelled = JobEnd { outcome: JobOutcome::Cancelled.into(), ..Default::default() };
    world.record.keep_end(id(1), cancelled);
    let leader = world.adopted().await;
    world.submit(&leader, id(1), "COPY (SELECT 1) TO 'x' STORED AS CSV").await;
    let staged = world.root.path().join(format!("out/x/.mainspring-staging/{}-5", id(1)));
    until("the end", || (world.record.tries() > 0 && !staged.exists()).then_some(())).await;
    assert_eq!(world.end(id(1)).await.outcome(), JobOutcome::Cancelled);
}

#[tokio::test]
async fn a_cancelled_job_is_recorded_so_and_leaves_nothing() {
    let world = World::new().await;
    let leader = world.adopted().await;
    world.submit(&leader, id(1), &format!("COPY ({ENDLESS}) TO 'x' STORED AS CSV")).await;
    let staging = world.root.path().join("out/x/.mainspring-staging");
    until("the job to run", || staging.exists().then_some(())).await;
    leader.cancel(id(1), "a test").await.unwrap();
    let end = world.end(id(1)).await;
    assert_eq!((end.outcome(), end.reason.as_str()), (JobOutcome::Cancelled, "CANCELLED"));
    assert!(!world.root.path().join("out/x").exists());
}

#[tokio::test]
async fn a_job_that_fails_says_why() {
    let world = World::new().await;
    let leader = world.adopted().await;
    world.submit(&leader, id(1), "SELECT 1 / column1 FROM (VALUES (0))").await;
    let end = world.end(id(1)).await;
    assert_eq!((end.outcome(), end.reason.as_str()), (JobOutcome::Failed, "JOB_FAILED"));
    assert!(end.message.to_lowercase().contains("divide by zero"), "{}", end.message);
}

#[tokio::test]
async fn an_unreadable_graph_is_refused() {
    let world = World::new().await;
    let leader = world.adopted().await;
    let digest = world.record.put(b"PAR1".to_vec());
    let error = leader.submit(id(1), "", digest, 4, &[]).await.unwrap_err();
    assert_eq!(
        (error.code(), error.reason()),
        (Code::InvalidArgument, Some(Reason::GraphUnreadable))
    );
    assert!(leader.adopt(Incarnation(5), &[]).await.unwrap().is_empty(), "it is no job");
}

#[tokio::test]
async fn a_shutdown_tells_no_end() {
    let mut world = World::new().await;
    let leader = world.adopted().await;
    world.submit(&leader, id(1), &format!("COPY ({ENDLESS}) TO 'x' STORED AS CSV")).await;
    let staging = world.root.path().join("out/x/.mainspring-staging");
    until("the job to run", || staging.exists().then_some(())).await;
    world.shutdown.begin();
    world.serving.take().unwrap().await.unwrap().unwrap();
    assert_eq!(world.record.end_of(id(1)), None);
}
