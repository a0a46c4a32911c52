//! Every kind of statement in `docs/sql.md`, run by plain DataFusion and from stored bytes by
//! another process, with equal output.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking and start the built binary"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use datafusion::prelude::{CsvReadOptions, ParquetReadOptions, SessionContext};
use mainspring_datafusion::graph::JobGraph;
use mainspring_datafusion::script::{Paths, Script, StatementKind};
use mainspring_datafusion::session::ScriptSession;
use mainspring_datafusion::{publish, table};

const JOB: &str = "00112233445566778899aabbccddeeff";

struct World {
    root: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let world = Self { root };
        std::fs::create_dir_all(world.path("in/nested/day=1")).unwrap();
        std::fs::create_dir_all(world.path("in/nested/day=2")).unwrap();
        std::fs::create_dir_all(world.path("direct")).unwrap();
        std::fs::create_dir_all(world.path("stored")).unwrap();
        std::fs::write(
            world.path("in/a.csv"),
            "id,name,delay\n1,ua,3.5\n2,dl,\n3,ua,-1\n4,b6,12\n",
        )
        .unwrap();
        std::fs::write(world.path("in/semi.csv"), "1;x\n2;y\n").unwrap();
        std::fs::write(
            world.path("in/c.json"),
            "{\"id\":1,\"tags\":[\"p\",\"q\"]}\n{\"id\":2,\"tags\":[]}\n",
        )
        .unwrap();
        std::fs::write(world.path("in/nested/day=1/x.csv"), "n\n10\n").unwrap();
        std::fs::write(world.path("in/nested/day=2/x.csv"), "n\n20\n").unwrap();
        world
    }

    fn path(&self, below: &str) -> PathBuf {
        self.root.path().join(below)
    }

    /// Runs the text with plain DataFusion, as a user of DataFusion would.
    async fn direct(&self, text: &str) -> Vec<String> {
        let context = SessionContext::new();
        let script = Script::parse("t.sql", text).unwrap();
        let mut shown = Vec::new();
        for statement in &script.statements {
            let sql = self.absolute(&statement.text, "direct");
            let frame = context.sql(&sql).await.unwrap();
            let schema = frame.schema().inner().clone();
            let batches = frame.collect().await.unwrap();
            if matches!(statement.kind, StatementKind::Job { returns_rows: true, .. }) {
                shown.push(print(&schema, &batches));
            }
        }
        shown
    }

    /// Plans the text here, stores its graphs, and has each graph run by a process that has never
    /// seen the script.
    async fn stored(&self, text: &str) -> Vec<String> {
        let script = Script::parse("t.sql", text).unwrap();
        let paths = Paths { inputs: self.path("in"), outputs: self.path("stored") };
        let mut session = ScriptSession::new(paths, false).unwrap();
        let mut shown = Vec::new();
        for statement in &script.statements {
            let step = session.step(&script, statement).await;
            let Some(graph) = step.unwrap_or_else(|e| panic!("{e}")) else { continue };
            let output = self.run(&graph, statement.ordinal);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            if matches!(statement.kind, StatementKind::Job { returns_rows: true, .. }) {
                shown.push(String::from_utf8(output.stdout).unwrap());
            }
        }
        shown
    }

    fn run(&self, graph: &JobGraph, ordinal: usize) -> Output {
        let file = self.path(&format!("graph-{ordinal}"));
        std::fs::write(&file, graph.encode()).unwrap();
        let work = self.path(&format!("work-{ordinal}"));
        std::fs::create_dir_all(&work).unwrap();
        Command::new(env!("CARGO_BIN_EXE_mainspring-datafusion"))
            .arg("run-graph")
            .arg(file)
            .arg("--work-dir")
            .arg(work)
            .args(["--job-id", &format!("{}{ordinal:04x}", &JOB[..28])])
            .current_dir("/")
            .env_clear()
            .output()
            .unwrap()
    }

    /// Makes the locations of a test's text absolute: a COPY goes below `outputs`, and a table lies
    /// below `in` unless its location begins with `out-`, which is an output of the same text.
    fn absolute(&self, sql: &str, outputs: &str) -> String {
        sql.replace("LOCATION '", &format!("LOCATION '{}/", self.root.path().join("in").display()))
            .replace(
                &format!("{}/out-", self.path("in").display()),
                &format!("{}/out-", self.path(outputs).display()),
            )
            .replace("TO '", &format!("TO '{}/", self.path(outputs).display()))
    }

    /// The text of all files below an output, by partition directory.
    fn texts(&self, below: &str) -> BTreeMap<String, String> {
        let mut texts = BTreeMap::new();
        let root = self.path(below);
        let mut open = vec![root.clone()];
        while let Some(path) = open.pop() {
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("_SUCCESS")) {
                // The marker says that an output is whole, and is empty.
                assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
                continue;
            }
            if path.is_file() {
                let directory = path
                    .parent()
                    .unwrap()
                    .strip_prefix(&root)
                    .unwrap_or(Path::new(""))
                    .display()
                    .to_string();
                texts
                    .entry(directory)
                    .or_insert_with(String::new)
                    .push_str(&std::fs::read_to_string(&path).unwrap());
                continue;
            }
            let mut entries: Vec<_> =
                std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()).collect();
            entries.sort();
            open.extend(entries.into_iter().rev());
        }
        texts
    }
}

fn print(
    schema: &datafusion::arrow::datatypes::SchemaRef,
    batches: &[datafusion::arrow::array::RecordBatch],
) -> String {
    let mut out = Vec::new();
    table::print(&mut out, schema, batches).unwrap();
    String::from_utf8(out).unwrap()
}

const TABLES: &str = "
CREATE EXTERNAL TABLE a STORED AS CSV LOCATION 'a.csv' OPTIONS ('format.has_header' 'true');
CREATE EXTERNAL TABLE c (id INT, tags VARCHAR[]) STORED AS JSON LOCATION 'c.json';
CREATE EXTERNAL TABLE nested (n INT, day INT) STORED AS CSV PARTITIONED BY (day) LOCATION 'nested/' OPTIONS ('format.has_header' 'true');
CREATE VIEW late AS SELECT name, delay FROM a WHERE delay > 0;
";

async fn rows_are_equal(text: &str) {
    let world = World::new();
    let text = format!("{TABLES}{text}");
    let direct = world.direct(&text).await;
    assert!(!direct.is_empty());
    assert_eq!(world.stored(&text).await, direct);
}

#[tokio::test]
async fn queries_bring_back_the_same_rows() {
    rows_are_equal(
        "SELECT name, count(*) AS n, avg(delay) AS mean, approx_percentile_cont(0.9) WITHIN GROUP (ORDER BY delay) AS p90
           FROM a GROUP BY name ORDER BY name;
         SELECT * FROM late ORDER BY delay DESC LIMIT 1 OFFSET 1;
         SELECT a.name, c.tags FROM a JOIN c USING (id) ORDER BY a.id;
         SELECT a.id FROM a LEFT ANTI JOIN c ON a.id = c.id ORDER BY 1;
         WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 4) SELECT sum(n) FROM r;
         WITH x AS (SELECT max(delay) AS m FROM a) SELECT a.id FROM a, x WHERE a.delay = x.m;
         SELECT id, row_number() OVER (PARTITION BY name ORDER BY id) AS k FROM a ORDER BY id;
         SELECT DISTINCT name FROM a UNION SELECT 'zz' ORDER BY 1;
         SELECT DISTINCT ON (name) name, id FROM a ORDER BY name, id;
         SELECT id, unnest(tags) AS tag FROM c ORDER BY 1, 2;
         SELECT day, sum(n) FROM nested GROUP BY ROLLUP (day) ORDER BY 1;
         SELECT id FROM a WHERE id IN (SELECT id FROM c) AND EXISTS (SELECT 1 FROM c WHERE c.id = a.id) ORDER BY id;
         SELECT id, (SELECT max(id) FROM c) AS m FROM a ORDER BY id;
         SELECT id FROM a WHERE id NOT IN (SELECT id FROM c WHERE c.id = 2) AND id > ANY (SELECT id FROM c) ORDER BY id;
         SELECT id, (SELECT count(*) FROM c WHERE c.id = a.id) AS k FROM a ORDER BY id;
         SELECT id, m FROM a, LATERAL (SELECT max(c.id) AS m FROM c WHERE c.id = a.id) AS l ORDER BY id;
         SELECT CASE WHEN delay IS NULL THEN 'none' ELSE upper(name) END AS x FROM a ORDER BY id;
         SELECT DATE '2013-01-01' + INTERVAL '1 day' AS d, TIMESTAMP '2013-01-01T05:00:00' AS t, 1.50::DECIMAL(10, 2) AS p;
         VALUES (1, 'x'), (2, NULL);
         SELECT * FROM a WHERE false;
         SELECT unnest(generate_series(1, 3)) AS n;",
    )
    .await;
}

#[tokio::test]
async fn settings_reach_the_other_process() {
    rows_are_equal(
        "SET datafusion.sql_parser.parse_float_as_decimal = true;
         SELECT 1.10 + 2.20 AS exact;
         SET datafusion.execution.time_zone = '+02:00';
         SELECT TIMESTAMP '2013-01-01T05:00:00Z' AS t, arrow_typeof(now()) AS type_of_now;
         RESET datafusion.execution.time_zone;
         SELECT arrow_typeof(now()) AS type_of_now;",
    )
    .await;
}

#[tokio::test]
async fn set_up_statements_change_the_session_of_what_follows() {
    rows_are_equal(
        "CREATE SCHEMA s;
         CREATE VIEW s.v AS SELECT id + 1 AS n FROM a;
         CREATE OR REPLACE VIEW late AS SELECT 'replaced' AS name;
         SET TIME ZONE = '+05:00';
         SELECT n, (SELECT name FROM late) AS name, TIMESTAMP '2013-01-01T00:00:00Z' AS t FROM s.v ORDER BY n;
         DROP VIEW s.v;
         DROP TABLE c;
         CREATE EXTERNAL TABLE c STORED AS CSV LOCATION 'semi.csv' OPTIONS ('format.has_header' 'false', 'format.delimiter' ';');
         SELECT * FROM c ORDER BY 1;",
    )
    .await;
}

#[tokio::test]
async fn what_this_build_cannot_compress_is_an_error_and_leaves_nothing() {
    let world = World::new();
    let script = Script::parse(
        "t.sql",
        "COPY (SELECT 1) TO 'out-x' STORED AS CSV OPTIONS ('format.compression' 'gzip')",
    )
    .unwrap();
    let paths = Paths { inputs: world.path("in"), outputs: world.path("stored") };
    let mut session = ScriptSession::new(paths, false).unwrap();
    let graph = session.step(&script, &script.statements[0]).await.unwrap().unwrap();
    let output = world.run(&graph, 1);
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).to_lowercase();
    assert!(text.contains("compression") && !text.contains("panicked"), "{text}");
    assert!(!world.path("stored/out-x").exists());
}

#[tokio::test]
async fn explain_shows_the_plan() {
    let world = World::new();
    let shown = world
        .stored(&format!(
            "{TABLES} EXPLAIN SELECT name FROM late; EXPLAIN ANALYZE SELECT name FROM late"
        ))
        .await;
    assert!(shown[0].contains("DataSourceExec"), "{}", shown[0]);
    assert!(shown[1].contains("output_rows=2"), "{}", shown[1]);
}

async fn texts_are_equal(statements: &str, output: &str) -> BTreeMap<String, String> {
    let world = World::new();
    let text = format!("{TABLES}{statements}");
    world.direct(&text).await;
    world.stored(&text).await;
    let stored = world.texts(&format!("stored/{output}"));
    assert_eq!(stored, world.texts(&format!("direct/{output}")));
    stored
}

#[tokio::test]
async fn copy_keeps_its_csv_options() {
    let texts = texts_are_equal(
        "COPY (SELECT id, name, delay FROM a ORDER BY id) TO 'out-x.csv' STORED AS CSV
           OPTIONS ('format.has_header' 'false', 'format.delimiter' ';', 'format.null_value' 'NONE', 'format.quote_style' 'Always')",
        "out-x.csv",
    )
    .await;
    assert_eq!(texts[""].lines().nth(1), Some("\"2\";\"dl\";\"NONE\""), "{texts:?}");
}

#[tokio::test]
async fn copy_of_a_table_by_suffix_and_of_json() {
    let texts = texts_are_equal("COPY a TO 'out-a.csv'", "out-a.csv").await;
    assert!(texts[""].starts_with("id,name,delay\n"));
    let texts = texts_are_equal(
        "COPY (SELECT * FROM c ORDER BY id) TO 'out-c.json' STORED AS JSON",
        "out-c.json",
    )
    .await;
    assert_eq!(texts[""].lines().count(), 2);
}

#[tokio::test]
async fn copy_into_partitions() {
    let texts = texts_are_equal(
        "COPY (SELECT id, name FROM a ORDER BY id) TO 'out-p/' STORED AS CSV PARTITIONED BY (name)",
        "out-p",
    )
    .await;
    assert_eq!(texts["name=ua"], "id\n1\n3\n");
    texts_are_equal(
        "COPY (SELECT id, name FROM a ORDER BY id) TO 'out-k/' STORED AS CSV PARTITIONED BY (name)
           OPTIONS ('execution.keep_partition_by_columns' 'true')",
        "out-k",
    )
    .await;
}

#[tokio::test]
async fn inserts_keep_the_options_of_the_table_and_add() {
    let texts = texts_are_equal(
        "CREATE EXTERNAL TABLE t (id BIGINT, name VARCHAR) STORED AS CSV LOCATION 'out-t/'
           OPTIONS ('format.has_header' 'false', 'format.delimiter' '|');
         INSERT INTO t SELECT id, name FROM a WHERE id = 1;",
        "out-t",
    )
    .await;
    assert_eq!(texts[""], "1|ua\n");

    let world = World::new();
    let text = format!(
        "{TABLES}
         CREATE EXTERNAL TABLE t (id BIGINT, name VARCHAR) STORED AS CSV LOCATION 'out-t/' OPTIONS ('format.has_header' 'false');
         INSERT INTO t SELECT id, name FROM a WHERE id = 1;
         INSERT INTO t (name, id) VALUES ('zz', 9);
         INSERT INTO t SELECT id + 10, name FROM t;
         SELECT * FROM t ORDER BY id;"
    );
    let shown = world.stored(&text).await;
    assert_eq!(shown, world.direct(&text).await);
    assert!(shown[0].contains("(4 rows)"), "{}", shown[0]);
}

#[tokio::test]
async fn an_insert_keeps_the_order_that_the_table_promises() {
    let texts = texts_are_equal(
        "CREATE EXTERNAL TABLE t (id BIGINT) STORED AS JSON WITH ORDER (id DESC) LOCATION 'out-t/';
         INSERT INTO t SELECT id FROM a",
        "out-t",
    )
    .await;
    assert_eq!(texts[""], "{\"id\":4}\n{\"id\":3}\n{\"id\":2}\n{\"id\":1}\n");
}

#[tokio::test]
async fn inserts_into_partitions() {
    let texts = texts_are_equal(
        "CREATE EXTERNAL TABLE t (n INT, day INT) STORED AS CSV PARTITIONED BY (day) LOCATION 'out-t/';
         INSERT INTO t SELECT n, day FROM nested",
        "out-t",
    )
    .await;
    assert_eq!(texts["day=2"], "n\n20\n");
}

#[tokio::test]
async fn parquet_options_and_rows_survive() {
    let world = World::new();
    let text = format!(
        "{TABLES} COPY (SELECT * FROM a ORDER BY id) TO 'out-p.parquet' STORED AS PARQUET
           OPTIONS ('format.compression' 'snappy', 'format.max_row_group_size' '2');
         COPY (SELECT * FROM c ORDER BY id) TO 'out-q/' STORED AS PARQUET;"
    );
    world.direct(&text).await;
    world.stored(&text).await;
    let context = SessionContext::new();
    for (output, groups) in [("out-p.parquet", 2), ("out-q", 1)] {
        let mut shown = Vec::new();
        for side in ["direct", "stored"] {
            let path = world.path(&format!("{side}/{output}"));
            let frame = context
                .read_parquet(path.to_str().unwrap(), ParquetReadOptions::default())
                .await
                .unwrap();
            let schema = frame.schema().inner().clone();
            shown.push(print(&schema, &frame.collect().await.unwrap()));
        }
        assert_eq!(shown[0], shown[1], "{output}");
        let part = only_file(&world.path(&format!("stored/{output}")));
        let reader = datafusion::parquet::file::reader::SerializedFileReader::new(
            std::fs::File::open(part).unwrap(),
        )
        .unwrap();
        use datafusion::parquet::file::reader::FileReader;
        assert_eq!(reader.metadata().num_row_groups(), groups, "{output}");
    }
}

/// The only part of an output, which is marked as whole.
fn only_file(directory: &Path) -> PathBuf {
    let mut files: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    assert!(files.len() == 2 && files[0].ends_with("_SUCCESS"), "{files:?}");
    files.remove(1)
}

#[tokio::test]
async fn no_rows_still_make_a_file_with_columns() {
    let world = World::new();
    for (format, suffix) in [("CSV", "csv"), ("PARQUET", "parquet")] {
        let text = format!(
            "{TABLES} COPY (SELECT id, name FROM a WHERE false) TO 'out-{suffix}' STORED AS {format}"
        );
        world.stored(&text).await;
        let part = only_file(&world.path(&format!("stored/out-{suffix}")));
        let context = SessionContext::new();
        let path = part.to_str().unwrap();
        let frame = match suffix {
            "csv" => context.read_csv(path, CsvReadOptions::new()).await.unwrap(),
            _ => context.read_parquet(path, ParquetReadOptions::default()).await.unwrap(),
        };
        assert_eq!(frame.schema().field_names(), ["?table?.id", "?table?.name"], "{format}");
        assert_eq!(frame.count().await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_script_reads_back_what_it_wrote() {
    let world = World::new();
    let shown = world
        .stored(&format!(
            "{TABLES}
             COPY (SELECT name, delay FROM a) TO 'out-x.parquet';
             CREATE EXTERNAL TABLE x STORED AS PARQUET LOCATION 'out-x.parquet';
             SELECT count(*) AS n FROM x"
        ))
        .await;
    assert_eq!(shown, ["n\n-\n4\n(1 row)\n"]);
    let part = only_file(&world.path("stored/out-x.parquet"));
    assert_eq!(
        part.file_name().unwrap().to_str(),
        Some("part-00112233445566778899aabbccdd0005-0.parquet")
    );
}

#[tokio::test]
async fn a_location_with_odd_characters_works() {
    let world = World::new();
    let odd = "out-50% [x]* größe?/y";
    world.stored(&format!("{TABLES} COPY (SELECT 1 AS a) TO '{odd}' STORED AS CSV")).await;
    assert_eq!(world.texts(&format!("stored/{odd}"))[""], "a\n1\n");
}

#[tokio::test]
async fn damaged_bytes_are_refused_by_the_other_process() {
    let world = World::new();
    let script = Script::parse("t.sql", "SELECT 1").unwrap();
    let paths = Paths { inputs: world.path("in"), outputs: world.path("stored") };
    let mut session = ScriptSession::new(paths, false).unwrap();
    let mut graph = session.step(&script, &script.statements[0]).await.unwrap().unwrap();
    graph.plan.truncate(graph.plan.len() / 2);
    let output = world.run(&graph, 1);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("error: "));
    assert!(publish::sweep(&[], &[]).is_ok());
}
