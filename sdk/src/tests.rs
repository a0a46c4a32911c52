//! The environment as a program uses it: under a runner, again under the next one, and by hand.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod runner;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use chassis::clock::SystemClock;
use datafusion::arrow::array::AsArray as _;
use datafusion::arrow::datatypes::Int64Type;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::dataframe::DataFrame;
use datafusion::prelude::{CsvReadOptions, ParquetReadOptions, col, lit};
use mainspring_datafusion::graph::JobGraph;
use mainspring_datafusion::script::{Paths, Script};
use mainspring_datafusion::session::ScriptSession;
use proto::{Reason, job::JobOutcome};

use crate::environment::Environment;
use crate::error::Error;
use crate::executor::{ByHand, Executor, Runner};
use crate::job::Job;
use runner::{World, text};

async fn read(env: &Environment, file: &str) -> DataFrame {
    env.session().read_csv(file, CsvReadOptions::new()).await.unwrap()
}

fn numbers(rows: &[RecordBatch]) -> Vec<i64> {
    rows.iter()
        .flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec())
        .collect()
}

/// Two jobs, of which the second reads the first one's output.
async fn evens(env: &Environment, file: &str) -> Result<Vec<i64>, Error> {
    let even = read(env, file).await.filter((col("n") % lit(2)).eq(lit(0))).unwrap();
    let written = env.execute("even", Job::parquet(even, "even/")).await?;
    let again = env
        .session()
        .read_parquet(written.location()?, ParquetReadOptions::default())
        .await
        .unwrap();
    let rows = env.collect("sorted", again.sort(vec![col("n").sort(true, false)]).unwrap()).await?;
    Ok(numbers(&rows))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_job_reads_what_the_first_one_wrote() {
    let world = World::new();
    let file = world.numbers(10);
    let env = world.main(false).await;
    assert_eq!(evens(&env, &file).await.unwrap(), [0, 2, 4, 6, 8]);
    assert_eq!(env.arguments(), ["--year"]);
    assert!(!env.is_re_execution() && !env.is_by_hand());
    assert!(env.output_directory().join("even").is_dir());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_started_by_hand_does_the_same() {
    let world = World::new();
    let file = world.numbers(10);
    let env = Environment::by_hand(Vec::new(), world.path("mine")).unwrap();
    assert_eq!(evens(&env, &file).await.unwrap(), [0, 2, 4, 6, 8]);
    assert!(world.path("mine/even").is_dir());
    assert!(env.is_by_hand() && !env.is_re_execution());
    env.finish(true).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_re_executed_main_gets_its_jobs_and_values_from_the_record() {
    let world = World::new();
    let file = world.numbers(10);
    let runs = AtomicU32::new(0);
    let step = async || Ok(runs.fetch_add(1, Ordering::SeqCst));
    let first = world.main(false).await;
    assert_eq!(first.once("seed", step()).await.unwrap(), 0);
    assert_eq!(evens(&first, &file).await.unwrap(), [0, 2, 4, 6, 8]);

    // The file that the job reads is gone, so any answer now comes from the record.
    let second = world.main(true).await;
    assert!(second.is_re_execution());
    assert_eq!(second.once("seed", step()).await.unwrap(), 0);
    assert_eq!(second.once("other", step()).await.unwrap(), 1);
    let even = read(&second, &file).await;
    std::fs::remove_file(&file).unwrap();
    let again = second.execute("even", Job::parquet(even, "even/")).await.unwrap();
    assert!(again.was_found());
    assert_eq!((again.rows_in(), again.rows_out(), again.outputs()[0].files), (10, 5, 1));
    assert_eq!(world.record.jobs.lock().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_wait_while_the_runner_is_away() {
    let world = Arc::new(World::new());
    let file = world.numbers(4);
    let env = world.main(false).await;
    let frame = read(&env, &file).await;
    world.stop().await;
    let call = tokio::spawn(async move {
        let kept: u32 = env.once("seed", async { Ok(7) }).await.unwrap();
        (kept, env.collect("all", frame).await.unwrap())
    });
    // The call is under way, and no runner is there to answer it.
    tokio::task::yield_now().await;
    assert!(!call.is_finished());
    world.serve(true).await;
    let (kept, rows) = call.await.unwrap();
    assert_eq!((kept, numbers(&rows)), (7, vec![0, 1, 2, 3]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_fails_is_an_error_with_its_reason() {
    let world = World::new();
    let file = world.numbers(4);
    let under = world.main(false).await;
    let by_hand = Environment::by_hand(Vec::new(), world.path("mine")).unwrap();
    for env in [under, by_hand] {
        env.session().register_csv("t", &file, CsvReadOptions::new()).await.unwrap();
        let frame = env.session().sql("SELECT 1 / (n - 2) FROM t").await.unwrap();
        let error = env.collect("broken", frame).await.unwrap_err();
        assert!(matches!(&error, Error::Job { outcome: JobOutcome::Failed, .. }), "{error}");
        assert_eq!(error.reason(), Some(Reason::JobFailed));
        assert!(error.to_string().contains("Divide by zero"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_stored_is_refused_before_anything_is_sent() {
    let world = World::new();
    let env = world.main(false).await;
    let frame = env.session().sql("SELECT * FROM generate_series(1, 3)").await.unwrap();
    let error = env.collect("series", frame).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::StatementUnsupported), "{error}");
    assert!(world.record.jobs.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_in_sql_writes_below_the_output_directory() {
    let world = World::new();
    let env = world.main(false).await;
    let frame = env.session().sql("COPY (SELECT 1 AS one) TO 'ones' STORED AS CSV").await.unwrap();
    let done = env.execute("ones", frame).await.unwrap();
    assert_eq!(done.location().unwrap(), text(&env.output_directory().join("ones")));
    assert_eq!(done.collect().await.unwrap_err().reason(), Some(Reason::ResultNone));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stored_plan_is_the_one_that_a_script_stores() {
    let world = World::new();
    let file = world.numbers(4);
    let env = world.main(false).await;
    let table = format!(
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{file}' OPTIONS ('format.has_header' 'true')"
    );
    let query = "SELECT third, sum(n) FROM t GROUP BY third";
    env.session().sql(&table).await.unwrap().collect().await.unwrap();
    env.collect("sums", env.session().sql(query).await.unwrap()).await.unwrap();
    let stored = world.record.jobs.lock().unwrap()["sums"].0.clone();

    let script = Script::parse("t.sql", &format!("{table};\n{query};")).unwrap();
    let paths = Paths { inputs: world.path(""), outputs: world.path("out") };
    let mut session = ScriptSession::new(paths, false).unwrap();
    assert!(session.step(&script, &script.statements[0]).await.unwrap().is_none());
    let of_script = session.step(&script, &script.statements[1]).await.unwrap().unwrap();
    let of_program = JobGraph::decode(&stored).unwrap();
    assert_eq!((of_program.plan, of_program.kind), (of_script.plan, of_script.kind));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_fails_keeps_nothing_and_may_be_tried_again() {
    let world = World::new();
    let env = world.main(false).await;
    let failed: Result<u32, _> = env.once("step", async { Err("not today".into()) }).await;
    assert!(matches!(failed, Err(Error::Once { .. })));
    assert_eq!(env.once("step", async { Ok(3_u32) }).await.unwrap(), 3);
    let other: Result<String, _> = env.once("step", async { Ok(String::new()) }).await;
    assert!(other.unwrap_err().to_string().contains("another key"));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tasks_at_one_key_run_the_step_once() {
    let env = Environment::by_hand(Vec::new(), std::env::temp_dir()).unwrap();
    let runs = Arc::new(AtomicU32::new(0));
    let task = |env: Environment, runs: Arc<AtomicU32>| async move {
        let step = async {
            tokio::task::yield_now().await;
            Ok(runs.fetch_add(1, Ordering::SeqCst))
        };
        env.once("shared", step).await.unwrap()
    };
    let tasks: Vec<_> = (0..8).map(|_| tokio::spawn(task(env.clone(), runs.clone()))).collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), 0);
    }
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_main_did_not_wait_for_counts_when_main_did_well() {
    let world = World::new();
    let file = world.numbers(4);
    for (main_succeeded, said) in [(true, true), (false, false)] {
        let env = Environment::by_hand(Vec::new(), world.path("mine")).unwrap();
        env.session().register_csv("t", &file, CsvReadOptions::new()).await.unwrap();
        let frame = env.session().sql("SELECT 1 / (n - 2) FROM t").await.unwrap();
        let mut call = Box::pin(env.collect("left", frame));
        // The call is polled once, so that it is accepted, and then dropped.
        assert!(futures::poll!(&mut call).is_pending());
        drop(call);
        assert_eq!(env.finish(main_succeeded).await.is_err(), said);
    }
}

/// The laws of [`Executor`], for each executor that there is.
async fn laws(executor: Arc<dyn Executor>, graph: Bytes) {
    let call = |name: &str| client::execution::ExecuteCall {
        name: name.to_owned(),
        graph: graph.clone(),
        description: proto::api::GraphDescription {
            vertices: vec![Default::default(); 2],
            ..Default::default()
        },
        ..Default::default()
    };
    let ended = executor.execute(call("one")).await.unwrap();
    assert_eq!(ended.end.outcome(), JobOutcome::Succeeded);
    assert!(!executor.rows(ended.accepted.job_id.parse().unwrap()).await.unwrap().is_empty());
    assert_eq!(executor.execute(call("one")).await.unwrap_err().reason, Some(Reason::JobNameTaken));
    assert_eq!(executor.journal_get("k").await.unwrap(), None);
    assert_eq!(executor.journal_put("k", "1".into()).await.unwrap(), "1");
    assert_eq!(executor.journal_put("k", "2".into()).await.unwrap(), "1");
    assert_eq!(executor.journal_get("k").await.unwrap(), Some("1".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn both_executors_keep_the_laws() {
    let world = World::new();
    let env = world.main(false).await;
    let graph =
        JobGraph::from_dataframe(env.session().sql("SELECT 1").await.unwrap()).unwrap().encode();
    laws(Arc::new(ByHand::new(Arc::new(SystemClock)).unwrap()), graph.clone().into()).await;
    laws(Arc::new(Runner::new(world.execution())), graph.into()).await;
}
