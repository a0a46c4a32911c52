//! SQL scripts with an error in them: line, column and caret, and what would have been right.

use e2e::Host;

use crate::each_gets_an_error;

each_gets_an_error! {
    an_sql_error_has_line_and_caret: [("bad.sql", "SELECT 1;\nSELEC 2;\n")], ["run", "bad.sql"]
        => 1, ["PROGRAM_INVALID", "bad.sql:2:1", "2 | SELEC 2;", "| ^^^^^"];
    a_script_without_a_statement: [("bad.sql", "-- to be written\n")], ["run", "bad.sql"]
        => 1, ["PROGRAM_INVALID", "holds no statement", "bad.sql:1:1"];
    a_file_by_the_name_that_people_gave_it: [("ä b.sql", "SELECT 1;\nSELEC 2;\n")], ["run", "ä b.sql"]
        => 1, ["PROGRAM_INVALID", "--> ä b.sql:2:1"];
    a_name_that_a_job_without_one_has: [("bad.sql", "SELECT 1;\n-- job: job-0\nSELECT 2;\n")], ["run", "bad.sql"]
        => 1, ["PROGRAM_INVALID", "'job-0' is that of the job in line 1", "bad.sql:3:1", "help:"];
    a_target_by_two_names: [("bad.sql", "COPY (SELECT 1) TO 'x/';\nCOPY (SELECT 2) TO 'y/../x/';\n")], ["run", "bad.sql"]
        => 1, ["PROGRAM_INVALID", "already written by line 1 as 'x/'", "bad.sql:2:1"];
    an_unknown_table_where_none_is: [("bad.sql", "SELECT a FROM nowhere;")], ["run", "bad.sql"]
        => 1, ["PROGRAM_INVALID", "'nowhere' not found", "bad.sql:1:15", "^^^^^^^", "CREATE EXTERNAL TABLE first"];
    an_unknown_table_among_known_ones: [(
            "bad.sql", "CREATE VIEW flights AS SELECT 1 AS a;\nCREATE VIEW carriers AS SELECT 2 AS a;\nSELECT * FROM flihgts;"
        )], ["run", "bad.sql"]
        => 1, ["'flihgts' not found", "bad.sql:3:15", "did you mean 'flights'? known tables: carriers, flights"];
    an_unknown_column: [("bad.sql", "SELECT a, bb\nFROM (SELECT 1 AS a, 2 AS b) t;")], ["run", "bad.sql"]
        => 1, ["PROGRAM_INVALID", "'bb' not found", "bad.sql:1:11", "did you mean 'b'?"];
    an_unknown_setting_in_the_script: [("bad.sql", "SET datafusion.execution.batch_sizee = 3;\nSELECT 1;")], ["run", "bad.sql"]
        => 1, ["datafusion.execution.batch_sizee", "bad.sql:1:"];
    an_input_that_is_not_there: [(
            "bad.sql", "CREATE EXTERNAL TABLE t (a INT) STORED AS CSV LOCATION 'no-such.csv';\nSELECT * FROM t;"
        )], ["run", "bad.sql"]
        => 1, ["PROGRAM_INVALID", "there is nothing at 'no-such.csv'", "{dir}/no-such.csv", "bad.sql:1:1"];
    a_failing_job: [("bad.sql", "-- job: broken\nSELECT 1 / (n - 1) AS never FROM (VALUES (1)) AS t(n);\n")], ["run", "bad.sql"]
        => 1, ["JOB_FAILED", "broken", "Divide by zero"];
}

#[test]
fn a_script_that_is_no_text() {
    let host = Host::new();
    let path = host.scratch().join("bad.sql");
    std::fs::write(&path, b"SELECT 1;\nSELECT '\xff';\n").unwrap();
    host.run(&["run", path.to_str().unwrap()])
        .exits(1)
        .says("PROGRAM_INVALID")
        .says("not UTF-8")
        .says("bad.sql:2:9")
        .says("help:");
    host.down();
}
