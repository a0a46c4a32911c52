use super::*;

fn parse(text: &str) -> Result<Script, SqlError> {
    Script::parse("t.sql", text)
}

fn refusal(text: &str) -> SqlError {
    parse(text).expect_err("this has to be refused")
}

#[test]
fn statements_keep_their_text_place_and_name() {
    let script = parse(
        "-- header; with a semicolon\nCREATE VIEW v AS SELECT ';' AS s;\n\n-- job: first.one\n-- more words\n  SELECT *\n  FROM v; SELECT 2;",
    )
    .unwrap();
    let shown: Vec<_> =
        script.statements.iter().map(|s| (s.ordinal, s.line, s.column, s.text.as_str())).collect();
    assert_eq!(
        shown,
        [
            (1, 2, 1, "CREATE VIEW v AS SELECT ';' AS s"),
            (2, 6, 3, "SELECT *\n  FROM v"),
            (3, 7, 11, "SELECT 2")
        ]
    );
    assert_eq!(script.statements[0].kind, StatementKind::Setup);
    assert_eq!(
        script.statements[1].kind,
        StatementKind::Job { name: Some("first.one".to_owned()), returns_rows: true }
    );
    assert_eq!(script.statements[2].kind, StatementKind::Job { name: None, returns_rows: true });
    assert_eq!(script.jobs(), 2);
}

#[test]
fn a_comment_behind_a_statement_names_nothing() {
    let script = parse("SELECT 1; -- job: late\nSELECT 2").unwrap();
    assert_eq!(script.statements[1].kind, StatementKind::Job { name: None, returns_rows: true });
}

#[test]
fn an_empty_script_has_no_statements() {
    assert!(parse("-- nothing\n ;; ").unwrap().statements.is_empty());
}

#[test]
fn kinds_of_statements() {
    let setup = [
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 'x.csv'",
        "CREATE OR REPLACE VIEW v AS SELECT 1",
        "CREATE SCHEMA s",
        "DROP TABLE t",
        "DROP VIEW IF EXISTS v",
        "SET datafusion.execution.batch_size = 100",
        "SET TIME ZONE = '+02:00'",
        "RESET datafusion.execution.batch_size",
    ];
    for sql in setup {
        assert_eq!(parse(sql).unwrap().statements[0].kind, StatementKind::Setup, "{sql}");
    }
    let jobs = [
        ("SELECT 1", true),
        ("VALUES (1)", true),
        ("WITH a AS (SELECT 1) SELECT * FROM a", true),
        ("EXPLAIN SELECT 1", true),
        ("EXPLAIN ANALYZE SELECT 1", true),
        ("COPY (SELECT 1) TO 'x.csv'", false),
        ("INSERT INTO t VALUES (1)", false),
    ];
    for (sql, returns_rows) in jobs {
        let kind = parse(sql).unwrap().statements[0].kind.clone();
        assert_eq!(kind, StatementKind::Job { name: None, returns_rows }, "{sql}");
    }
}

#[test]
fn what_cannot_be_stored_is_refused_by_name_with_a_way_out() {
    let cases = [
        ("CREATE TABLE t AS SELECT 1", "CREATE TABLE … AS", "CREATE VIEW"),
        ("CREATE TABLE t (a INT)", "CREATE TABLE", "CREATE EXTERNAL TABLE"),
        ("CREATE FUNCTION f(INT) RETURNS INT RETURN $1", "functions", "SDK"),
        ("CREATE INDEX i ON t (a)", "CREATE INDEX", "drop"),
        ("DESCRIBE t", "DESCRIBE", "LIMIT 0"),
        ("SHOW TABLES", "SHOW", "LIMIT 0"),
        ("PREPARE p AS SELECT 1", "prepared", "values"),
        ("DELETE FROM t", "DELETE", "COPY"),
        ("UPDATE t SET a = 1", "UPDATE", "COPY"),
        ("INSERT OVERWRITE t VALUES (1)", "INSERT INTO", "COPY"),
        ("BEGIN TRANSACTION", "transactions", "job"),
        ("CREATE UNBOUNDED EXTERNAL TABLE t STORED AS CSV LOCATION 'x'", "unbounded", "flink"),
        ("CREATE EXTERNAL TABLE t STORED AS AVRO LOCATION 'x'", "AVRO", "PARQUET"),
        (
            "SET datafusion.execution.listing_table_ignore_subdirectory = false",
            "sub-directories",
            "PARTITIONED BY",
        ),
        ("SET datafusion.runtime.memory_limit = '1G'", "worker", "-D"),
        ("EXPLAIN COPY (SELECT 1) TO 'x'", "EXPLAIN", "query"),
        ("GRANT ALL ON t TO u", "GRANT", "docs/sql.md"),
    ];
    for (sql, message, help) in cases {
        let error = refusal(sql);
        assert!(error.message.contains(message), "{sql}: {error}");
        assert!(error.help.as_deref().unwrap_or("").contains(help), "{sql}: {error}");
    }
}

#[test]
fn a_syntax_error_shows_line_and_caret() {
    let error = refusal("SELECT 1;\nSELECT a\n  FORM table1;");
    assert_eq!((error.line, error.column), (3, 8));
    let shown = error.to_string();
    assert!(
        shown.ends_with("--> t.sql:3:8\n  |\n3 |   FORM table1;\n  |        ^^^^^^"),
        "{shown}"
    );
}

#[test]
fn an_unfinished_statement_points_at_its_end() {
    let error = refusal("SELECT 1;\nSELECT (1 +\n");
    assert_eq!((error.line, error.column), (2, 11), "{error}");
}

#[test]
fn an_unfinished_string_points_into_the_script() {
    let error = refusal("SELECT 1;\nSELECT 'abc");
    assert_eq!(error.line, 2, "{error}");
}

#[test]
fn two_statements_without_a_semicolon_are_an_error_at_the_second() {
    let error = refusal("SELECT 1 FROM t\nCOPY t TO 'x'");
    assert_eq!(error.line, 2, "{error}");
}

#[test]
fn job_names_are_unique_and_well_formed() {
    assert!(
        refusal("-- job: a\nSELECT 1;\n-- job: a\nSELECT 2")
            .message
            .contains("already used by line 2")
    );
    // A job without a name of its own has one in the record.
    let error = refusal("SELECT 1;\n-- job: job-0\nSELECT 2");
    assert_eq!(error.line, 3);
    assert!(error.message.contains("'job-0' is that of the job in line 1"), "{error}");
    let error = refusal("CREATE VIEW v AS SELECT 1;\n-- job: job-1\nSELECT 1;\nSELECT 2");
    assert_eq!(error.line, 4);
    assert!(error.message.contains("called 'job-1', which is the name of line 3"), "{error}");
    parse("-- job: job-0\nSELECT 1;\nSELECT 2").unwrap();
    assert!(refusal("-- job: a b\nSELECT 1").message.contains("'a b' is not a job name"));
    let error = refusal("-- job: v\nCREATE VIEW v AS SELECT 1");
    assert_eq!(error.line, 1);
    assert!(error.message.contains("no job"), "{error}");
}

#[test]
fn one_target_belongs_to_one_copy() {
    let error = refusal("COPY (SELECT 1) TO 'x/';\nCOPY (SELECT 2) TO 'x'");
    assert_eq!(error.line, 2);
    assert!(error.message.contains("already written by line 1"), "{error}");
    for (one, other) in
        [("x/", "y/../x/"), ("./x", "x/."), ("a//b", "a/b/"), ("/x", "file:///x/"), ("/../x", "/x")]
    {
        let error = refusal(&format!("COPY (SELECT 1) TO '{one}';\nCOPY (SELECT 2) TO '{other}'"));
        assert!(
            error.message.contains(&format!("'{other}' is already written by line 1 as '{one}'")),
            "{error}"
        );
    }
    for (one, other) in [("x", "../x"), ("x", "x/y"), ("x", "/x"), ("x", "X")] {
        parse(&format!("COPY (SELECT 1) TO '{one}';\nCOPY (SELECT 2) TO '{other}'")).unwrap();
    }
}

#[test]
fn one_target_belongs_to_one_copy_wherever_outputs_and_links_lead() {
    let directory = tempfile::tempdir().unwrap();
    let outputs = directory.path();
    std::fs::create_dir(outputs.join("x")).unwrap();
    std::os::unix::fs::symlink("x", outputs.join("link")).unwrap();
    let absolute = outputs.join("./y/../z").display().to_string();
    for (one, other, same) in
        [("x/new", "link/new", true), ("z", absolute.as_str(), true), ("x", "z", false)]
    {
        let script =
            parse(&format!("COPY (SELECT 1) TO '{one}';\nCOPY (SELECT 2) TO '{other}'")).unwrap();
        assert_eq!(script.targets_are_distinct(outputs).is_err(), same, "{one} and {other}");
    }
}

#[test]
fn deep_nesting_is_refused_and_does_not_overflow_the_stack() {
    let sql = format!("SELECT {}1{}", "(".repeat(2000), ")".repeat(2000));
    assert!(refusal(&sql).message.contains("nested deeper than 256"));
}
