//! Decides which statement is set-up, which is a job, and which is refused by name.

use datafusion::sql::parser::{CreateExternalTable, Statement};
use datafusion::sql::sqlparser::ast::{
    CopySource, CreateTable, Insert, ObjectType, Set, Statement as Sql,
};

use super::StatementKind;

/// Why a statement is not accepted, and what to write instead.
pub(super) struct Unfit {
    pub(super) message: String,
    pub(super) help: String,
}

fn refuse<T>(message: impl Into<String>, help: impl Into<String>) -> Result<T, Unfit> {
    Err(Unfit { message: message.into(), help: help.into() })
}

const ROWS: StatementKind = StatementKind::Job { name: None, returns_rows: true };
const FILES: StatementKind = StatementKind::Job { name: None, returns_rows: false };

pub(super) fn classify(statement: &Statement) -> Result<StatementKind, Unfit> {
    match statement {
        Statement::CreateExternalTable(table) => external_table(table),
        Statement::CopyTo(_) => Ok(FILES),
        Statement::Explain(explain) => match classify(&explain.statement)? {
            StatementKind::Job { returns_rows: true, .. } => Ok(ROWS),
            _ => refuse("EXPLAIN of a statement that is no query", "EXPLAIN the query inside it"),
        },
        Statement::Reset(reset) => setting(&reset.to_string()["RESET ".len()..], ""),
        Statement::Statement(sql) => standard(sql),
    }
}

fn standard(sql: &Sql) -> Result<StatementKind, Unfit> {
    match sql {
        Sql::Query(_) => Ok(ROWS),
        Sql::Insert(insert) => insert_into(insert),
        Sql::CreateView(view) if view.materialized => refuse(
            "CREATE MATERIALIZED VIEW is not supported",
            "COPY the query TO a file, then CREATE EXTERNAL TABLE over it",
        ),
        Sql::CreateView(_) | Sql::CreateSchema { .. } => Ok(StatementKind::Setup),
        Sql::Drop {
            object_type: ObjectType::Table | ObjectType::View | ObjectType::Schema,
            ..
        } => Ok(StatementKind::Setup),
        Sql::Set(set) => set_variable(set),
        Sql::CreateTable(table) => create_table(table),
        Sql::CreateFunction(_) | Sql::DropFunction(_) | Sql::CreateMacro { .. } => refuse(
            "functions cannot be created in a script: a stored job graph names functions, it does not carry them",
            "write the expression in a CREATE VIEW, or use the Rust SDK",
        ),
        Sql::CreateIndex(_) => refuse(
            "CREATE INDEX has no meaning over files",
            "drop the statement; Parquet files carry their own statistics",
        ),
        Sql::ExplainTable { .. }
        | Sql::ShowTables { .. }
        | Sql::ShowColumns { .. }
        | Sql::ShowVariable { .. }
        | Sql::ShowFunctions { .. }
        | Sql::ShowCreate { .. }
        | Sql::ShowSchemas { .. }
        | Sql::ShowDatabases { .. } => refuse(
            "DESCRIBE and SHOW ask the session of main(), they are no job",
            "SELECT * FROM the table LIMIT 0 shows its columns, EXPLAIN SELECT … its plan",
        ),
        Sql::Prepare { .. } | Sql::Execute { .. } | Sql::Deallocate { .. } => refuse(
            "prepared statements are not supported in a script",
            "write the statement with its values; $-parameters of the program are not substituted",
        ),
        Sql::Update(_) | Sql::Delete(_) | Sql::Merge(_) | Sql::Truncate(_) => refuse(
            "files are only ever added: UPDATE, DELETE, MERGE and TRUNCATE are not supported",
            "COPY (SELECT … the rows as they should be …) TO a new target",
        ),
        Sql::StartTransaction { .. }
        | Sql::Commit { .. }
        | Sql::Rollback { .. }
        | Sql::Savepoint { .. } => refuse(
            "there are no transactions across jobs",
            "each job commits by itself; what belongs together goes into one statement",
        ),
        Sql::Copy { source: CopySource::Query(_), .. } | Sql::Copy { .. } => refuse(
            "this form of COPY is not supported",
            "COPY (SELECT …) TO 'target' STORED AS PARQUET | CSV | JSON",
        ),
        other => {
            let text = other.to_string();
            let words: Vec<_> = text.split_whitespace().take(2).collect();
            refuse(
                format!("{} is not supported", words.join(" ")),
                "see docs/sql.md for what a script may hold",
            )
        }
    }
}

fn external_table(table: &CreateExternalTable) -> Result<StatementKind, Unfit> {
    if table.unbounded {
        return refuse(
            "unbounded tables are not supported: a job of this engine ends",
            "drop the word UNBOUNDED; for streams use the flink engine",
        );
    }
    let file_type = table.file_type.to_ascii_uppercase();
    if !matches!(file_type.as_str(), "CSV" | "JSON" | "NDJSON" | "PARQUET") {
        return refuse(
            format!("STORED AS {file_type} is not supported"),
            "use CSV, JSON (newline-delimited) or PARQUET",
        );
    }
    Ok(StatementKind::Setup)
}

fn create_table(table: &CreateTable) -> Result<StatementKind, Unfit> {
    if table.query.is_some() {
        return refuse(
            "CREATE TABLE … AS keeps its rows in the memory of main(), where no job can see them",
            "CREATE VIEW to name the query, or COPY (…) TO 'x' and CREATE EXTERNAL TABLE … LOCATION 'x/'",
        );
    }
    refuse(
        "CREATE TABLE makes a table in the memory of main(), where no job can see it",
        "CREATE EXTERNAL TABLE … STORED AS PARQUET LOCATION 'x/'",
    )
}

fn insert_into(insert: &Insert) -> Result<StatementKind, Unfit> {
    if insert.overwrite || insert.replace_into || insert.on.is_some() || insert.or.is_some() {
        return refuse(
            "only plain INSERT INTO is supported: files are only ever added",
            "COPY (…) TO a new target, or INSERT INTO a table over an empty one",
        );
    }
    Ok(FILES)
}

fn set_variable(set: &Set) -> Result<StatementKind, Unfit> {
    match set {
        Set::SingleAssignment { variable, values, .. } => {
            let value = values.first().map(ToString::to_string).unwrap_or_default();
            setting(&variable.to_string(), value.trim_matches('\''))
        }
        Set::SetTimeZone { .. } => Ok(StatementKind::Setup),
        other => refuse(
            format!("'{other}' is not supported"),
            "SET datafusion.<section>.<name> = value, one at a time",
        ),
    }
}

fn setting(name: &str, value: &str) -> Result<StatementKind, Unfit> {
    let name = name.to_ascii_lowercase();
    if name == "datafusion.execution.listing_table_ignore_subdirectory"
        && !value.eq_ignore_ascii_case("true")
    {
        return refuse(
            "tables must ignore sub-directories: unfinished output is staged in one",
            "drop the statement; use PARTITIONED BY for nested directories, or name them in LOCATION ('a/', 'b/')",
        );
    }
    if name.starts_with("datafusion.runtime.") {
        return refuse(
            format!("{name} belongs to the worker, not to the session"),
            "run with -D datafusion.memory-limit=1GiB",
        );
    }
    Ok(StatementKind::Setup)
}
