#![allow(clippy::disallowed_methods)]
use std::path::Path;

use super::*;
use crate::manifest::{STAGING, part_name};
use crate::script::{Paths, Script};
use crate::session::ScriptSession;

const JOB: &str = "00112233445566778899aabbccddeeff";
const OTHER: &str = "ffeeddccbbaa99887766554433221100";
/// A query that runs for hours, in small steps.
const ENDLESS: &str = "SELECT count(*) FROM (SELECT unnest(generate_series(1, 100000)) AS a) CROSS JOIN
    (SELECT unnest(generate_series(1, 100000)) AS b) CROSS JOIN (SELECT unnest(generate_series(1, 100000)) AS c) WHERE a + b + c < 0";

struct World {
    root: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    fn out(&self) -> PathBuf {
        self.root.path().join("out")
    }

    fn context(&self) -> RunContext {
        RunContext::new(JOB, 2, self.root.path().join("work"))
    }

    async fn graph(&self, sql: &str) -> JobGraph {
        let script = Script::parse("t.sql", sql).unwrap();
        let paths = Paths { inputs: self.root.path().to_owned(), outputs: self.out() };
        let mut session = ScriptSession::new(paths, false).unwrap();
        let mut graph = None;
        for statement in &script.statements {
            graph = session.step(&script, statement).await.unwrap_or_else(|e| panic!("{e}"));
        }
        graph.unwrap()
    }
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// The end of a job is the commit point: what the job staged, and every directory on the way, is on
/// the disk before the end is told.
#[tokio::test]
async fn a_new_target_is_durable_with_all_that_was_made_above_it() {
    let world = World::new();
    chassis::disk::watched::begin();
    let graph = world.graph("COPY (VALUES (1), (2)) TO 'a/b/x.csv'").await;
    run(&graph, &world.context()).await.unwrap();
    let out = world.out();
    for holds in [
        world.root.path().to_owned(),
        out.clone(),
        out.join("a"),
        out.join("a/b"),
        out.join("a/b/x.csv"),
    ] {
        assert!(chassis::disk::watched::syncs_of(&holds) > 0, "{}", holds.display());
    }
}

#[tokio::test]
async fn a_copy_stages_and_shows_nothing() {
    let world = World::new();
    let graph = world.graph("COPY (VALUES (1), (2)) TO 'x.csv'").await;
    let done = run(&graph, &world.context()).await.unwrap();
    assert_eq!(names(&world.out().join("x.csv")), [STAGING]);
    let [output] = done.outputs.as_slice() else { panic!("one output") };
    assert_eq!(output.staging, format!("{STAGING}/{JOB}-2"));
    assert_eq!((output.rows, output.format.as_str(), output.target.as_str()), (2, "csv", "x.csv"));
    assert_eq!(output.files[0].r#final, part_name(JOB, 0, "csv"));
    assert_eq!(done.progress.bytes_out, output.files[0].size_bytes);
    assert!(!world.root.path().join("work/spill").exists());
}

#[tokio::test]
async fn counters_come_from_the_files_that_were_read() {
    let world = World::new();
    std::fs::write(world.root.path().join("a.csv"), "n\n1\n2\n3\n").unwrap();
    let graph = world
        .graph(
            "CREATE EXTERNAL TABLE a STORED AS CSV LOCATION 'a.csv' OPTIONS ('format.has_header' 'true');
             SELECT sum(n) FROM a",
        )
        .await;
    let context = world.context();
    let done = run(&graph, &context).await.unwrap();
    assert_eq!((done.progress.rows_in, done.progress.rows_out), (3, 1));
    assert_eq!(done.progress.bytes_in, 8);
    assert_eq!(done.progress.bytes_out, done.result.unwrap().size_bytes);
    assert_eq!(context.progress.snapshot(), done.progress);
}

#[tokio::test]
async fn a_cancelled_job_ends_soon_and_leaves_nothing() {
    let world = World::new();
    let graph = world.graph(&format!("COPY ({ENDLESS}) TO 'x' STORED AS CSV")).await;
    let context = world.context();
    let cancel = context.cancel.clone();
    let running = tokio::spawn(async move { run(&graph, &context).await });
    // Staged files show that the job runs.
    while names(&world.out().join("x")).is_empty() {
        tokio::task::yield_now().await;
    }
    cancel.cancel();
    assert!(matches!(running.await.unwrap(), Err(JobError::Cancelled)));
    assert!(names(&world.out()).is_empty(), "{:?}", names(&world.out()));
}

#[tokio::test]
async fn a_failing_job_says_why_and_leaves_nothing() {
    let world = World::new();
    let graph = world
        .graph("COPY (SELECT 1 / column1 AS a FROM (VALUES (1), (0))) TO 'x' STORED AS CSV")
        .await;
    let error = run(&graph, &world.context()).await.unwrap_err();
    assert!(error.to_string().to_lowercase().contains("divide by zero"), "{error}");
    assert_eq!(error.reason(), proto::Reason::JobFailed);
    assert!(names(&world.out()).is_empty());
}

#[tokio::test]
async fn memory_is_bounded_by_spilling_or_by_an_error_that_says_so() {
    let world = World::new();
    let sql = "SELECT n, n % 7 AS k, 'some text that takes room ' || n AS t FROM (SELECT unnest(generate_series(1, 400000)) AS n)
               ORDER BY t DESC";
    // One sort, because two at once would share the memory by chance.
    let one = "SET datafusion.execution.target_partitions = 1";
    let graph = world.graph(&format!("{one}; COPY ({sql}) TO 'x' STORED AS CSV")).await;
    let context = RunContext { memory_limit_bytes: 24 << 20, ..world.context() };
    let done = run(&graph, &context).await.unwrap();
    assert_eq!(done.progress.rows_out, 400_000);
    assert!(context.progress.spills() > 0, "the rows do not fit");
    assert_eq!(names(&world.root.path().join("work")), [""; 0], "what was spilled is gone");

    let context = RunContext { memory_limit_bytes: 1 << 20, ..world.context() };
    let error = run(&graph, &context).await.unwrap_err();
    assert!(matches!(error, JobError::Memory { .. }), "{error}");
    assert!(error.to_string().contains("memory-limit"), "{error}");
}

#[tokio::test]
async fn a_result_has_a_limit() {
    let world = World::new();
    let graph = world.graph("SELECT unnest(generate_series(1, 100000)) AS n").await;
    let error = run(&graph, &RunContext { result_limit_bytes: 10_000, ..world.context() })
        .await
        .unwrap_err();
    assert!(matches!(error, JobError::ResultTooLarge { limit_bytes: 10_000 }), "{error}");
}

#[tokio::test]
async fn a_taken_target_is_refused_before_anything_is_computed() {
    let world = World::new();
    std::fs::create_dir_all(world.out().join("x")).unwrap();
    std::fs::write(world.out().join("x").join(part_name(OTHER, 0, "csv")), "n\n1\n").unwrap();
    let graph = world.graph(&format!("COPY ({ENDLESS}) TO 'x' STORED AS CSV")).await;
    let own = |ids: &[&str]| Some(ids.iter().map(|id| (*id).to_owned()).collect());
    let error =
        run(&graph, &RunContext { own_job_ids: own(&[JOB]), ..world.context() }).await.unwrap_err();
    assert_eq!(error.reason(), proto::Reason::OutputTargetTaken);
    assert!(error.to_string().contains(OTHER), "{error}");

    let graph = world.graph("COPY (SELECT 1) TO 'x' STORED AS CSV").await;
    run(&graph, &RunContext { own_job_ids: own(&[JOB, OTHER]), ..world.context() }).await.unwrap();
}

#[tokio::test]
async fn a_file_in_the_way_is_named() {
    let world = World::new();
    std::fs::create_dir_all(world.out()).unwrap();
    std::fs::write(world.out().join("x.csv"), "mine").unwrap();
    let graph = world.graph("COPY (SELECT 1) TO 'x.csv'").await;
    let error = run(&graph, &world.context()).await.unwrap_err();
    assert_eq!(error.reason(), proto::Reason::OutputNotWritable);
    assert!(error.to_string().contains("x.csv"), "{error}");
    assert_eq!(std::fs::read_to_string(world.out().join("x.csv")).unwrap(), "mine");
}

#[test]
fn deep_expressions_run_on_our_stacks() {
    let sum = vec!["1"; 600].join(" + ");
    let total = runtime().unwrap().block_on(async move {
        tokio::spawn(async move {
            let world = World::new();
            let graph =
                world.graph(&format!("CREATE VIEW v AS SELECT {sum} AS n; SELECT n FROM v")).await;
            run(&graph, &world.context()).await.unwrap().result.unwrap().rows
        })
        .await
        .unwrap()
    });
    assert_eq!(total, 1);
}
