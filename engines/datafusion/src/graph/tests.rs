use std::path::Path;

use super::*;
use crate::defaults::config;
use crate::script::{Paths, Script};
use crate::session::ScriptSession;

fn sample() -> JobGraph {
    JobGraph {
        engine_major: 55,
        settings: BTreeMap::from([(
            "datafusion.execution.batch_size".to_owned(),
            "100".to_owned(),
        )]),
        setup: vec!["CREATE VIEW v AS SELECT 1".to_owned()],
        sql: Some("COPY v TO 'x.csv'".to_owned()),
        kind: JobKind::Sink(
            Sink {
                target: "x.csv".to_owned(),
                format_options: Some(vec![1, 2, 3]),
                ..Sink::new("/out/x.csv", Format::Csv)
            }
            .with_option("format.delimiter", ";")
            .partitioned_by(["a"])
            .appending(),
        ),
        plan: vec![9, 8, 7],
    }
}

/// The file of this version of the envelope may never change, because stored graphs have to stay
/// readable.
#[test]
fn the_envelope_of_version_1_is_this_file() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/graph-v1.bin");
    if std::env::var_os("MAINSPRING_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, sample().encode()).unwrap();
    }
    let golden = std::fs::read(path).unwrap();
    assert_eq!(sample().encode(), golden);
    assert_eq!(JobGraph::decode(&golden).unwrap(), sample());
}

#[test]
fn foreign_bytes_are_refused_with_a_reason() {
    let tampered = |change: fn(&mut JobGraph)| {
        let mut graph = sample();
        change(&mut graph);
        JobGraph::decode(&graph.encode()).unwrap_err().to_string()
    };
    assert!(
        tampered(|g| g.engine_major = 54).contains("planned by DataFusion 54, this engine is 55")
    );
    for bytes in [b"".as_slice(), b"PAR1", b"MSGRAPH2....", b"MSGRAPH1\xff\xff"] {
        let error = JobGraph::decode(bytes).unwrap_err();
        assert_eq!(error.reason(), proto::Reason::GraphUnreadable, "{error}");
    }
    assert!(JobGraph::decode(b"MSGRAPH2....").unwrap_err().to_string().contains("version '2'"));
}

#[test]
fn every_cut_of_a_graph_is_refused_or_smaller_never_a_panic() {
    let bytes = sample().encode();
    for end in 0..bytes.len() {
        if let Ok(graph) = JobGraph::decode(&bytes[..end]) {
            assert_ne!(graph, sample());
        }
    }
}

async fn plan(text: &str) -> Result<Vec<JobGraph>, crate::error::SqlError> {
    let script = Script::parse("t.sql", text)?;
    let paths = Paths { inputs: "/nowhere".into(), outputs: "/out".into() };
    let mut session = ScriptSession::new(paths, false).unwrap();
    let mut graphs = Vec::new();
    for statement in &script.statements {
        graphs.extend(session.step(&script, statement).await?);
    }
    Ok(graphs)
}

#[tokio::test]
async fn settings_travel_and_defaults_do_not() {
    let graphs = plan("SELECT 1; SET datafusion.execution.batch_size = 7; SELECT 2").await.unwrap();
    assert!(graphs[0].settings.is_empty(), "{:?}", graphs[0].settings);
    assert_eq!(graphs[1].settings["datafusion.execution.batch_size"], "7");
    assert_eq!(graphs[1].setup, ["SET datafusion.execution.batch_size = 7"]);
}

#[tokio::test]
async fn the_options_of_copy_and_of_an_insert_are_in_the_envelope() {
    let graphs = plan(
        "COPY (SELECT 1 AS a) TO 'x' STORED AS CSV OPTIONS ('format.delimiter' ';', 'format.has_header' 'false');
         CREATE EXTERNAL TABLE t (a INT, b INT) STORED AS CSV PARTITIONED BY (b) LOCATION 't/' OPTIONS ('format.delimiter' '|');
         INSERT INTO t VALUES (1, 2)",
    )
    .await
    .unwrap();
    let JobKind::Sink(copy) = &graphs[0].kind else { panic!("COPY is a sink") };
    assert_eq!(copy.location, "/out/x");
    assert_eq!(copy.target, "x");
    assert_eq!(copy.options["format.delimiter"], ";");
    assert!(!copy.append);
    let JobKind::Sink(insert) = &graphs[1].kind else { panic!("INSERT is a sink") };
    assert_eq!((insert.location.as_str(), insert.target.as_str()), ("/out/t", "t"));
    assert_eq!(insert.partition_by, ["b"]);
    assert!(insert.append, "INSERT adds");
    assert!(insert.format_options.as_ref().unwrap().contains(&b'|'));
}

#[tokio::test]
async fn what_only_lives_in_mains_memory_is_refused_by_name() {
    let error = plan("SELECT * FROM generate_series(1, 3)").await.unwrap_err();
    assert!(error.message.contains("table function generate_series()"), "{error}");
    assert!(error.help.unwrap().contains("unnest(generate_series"));

    let context = datafusion::prelude::SessionContext::new_with_config(config());
    let batch = context.sql("SELECT 1 AS a").await.unwrap().collect().await.unwrap();
    let frame = context.read_batches(batch).unwrap();
    let error = JobGraph::from_dataframe(frame).unwrap_err();
    assert_eq!(error.reason(), proto::Reason::StatementUnsupported);
    assert!(error.to_string().contains("in-memory table"), "{error}");
}

#[tokio::test]
async fn staging_must_stay_invisible() {
    let mut config = config();
    config.options_mut().execution.listing_table_ignore_subdirectory = false;
    let context = datafusion::prelude::SessionContext::new_with_config(config);
    let error = JobGraph::from_dataframe(context.sql("SELECT 1").await.unwrap()).unwrap_err();
    assert!(error.to_string().contains("staged"), "{error}");
}

#[tokio::test]
async fn planning_errors_name_the_word_and_what_there_is() {
    let error = plan("CREATE VIEW carriers AS SELECT 1 AS delay;\nSELECT * FROM carirers")
        .await
        .unwrap_err();
    assert_eq!((error.line, error.column, error.width), (2, 15, 8), "{error}");
    assert!(error.help.as_deref().unwrap().contains("did you mean 'carriers'"), "{error}");

    let error = plan("CREATE VIEW v AS SELECT 1 AS dep_delay;\n\nSELECT max(\n  dep_dely) FROM v")
        .await
        .unwrap_err();
    assert_eq!((error.line, error.column), (4, 3), "{error}");
    assert!(error.help.as_deref().unwrap().contains("dep_delay"), "{error}");

    let error = plan("SELECT * FROM nothing").await.unwrap_err();
    assert!(error.help.as_deref().unwrap().contains("CREATE EXTERNAL TABLE"), "{error}");

    let error = plan("SELECT averag(1)").await.unwrap_err();
    assert!(error.to_string().contains("averag"), "{error}");
}

#[tokio::test]
async fn a_table_over_files_that_are_not_there_says_where_it_looked() {
    let error =
        plan("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 'missing.csv'").await.unwrap_err();
    assert!(error.to_string().contains("/nowhere/missing.csv"), "{error}");
}
