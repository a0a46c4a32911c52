//! The main() of a `.sql` application: executes the statements in their order, and has the runner
//! run the jobs.

use std::io::{self, Write};
use std::path::PathBuf;

use bytes::Bytes;
use clap::Args;
use client::execution::{Accepted, ExecuteCall, ExecuteEvent, Execution, JobEnd, JobOutcome};
use futures::TryStreamExt as _;

use crate::graph::JobGraph;
use crate::script::{Paths, Script, ScriptStatement, SqlError, StatementKind};
use crate::session::ScriptSession;
use crate::{settings, table};

/// What a script is run with.
#[derive(Args, Clone, Debug)]
pub struct SqlMain {
    /// The script
    pub script: PathBuf,
    /// Its name in messages; default: the file's own
    #[arg(long)]
    pub name: Option<String>,
    /// Where relative inputs are; default: the script's own directory
    #[arg(long)]
    pub inputs: Option<PathBuf>,
    /// Where outputs of relative targets go
    #[arg(long, env = "MAINSPRING_OUTPUT_DIR")]
    pub outputs: PathBuf,
}

/// Why a script did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum SqlMainError {
    /// The script is wrong, or one of its jobs failed; the error shows the statement.
    #[error("error[{reason}]: {error}")]
    Sql {
        /// The stable reason code.
        reason: String,
        /// The error with its place in the script.
        error: Box<SqlError>,
    },
    /// Something around the script failed.
    #[error("error: {0}")]
    Other(String),
}

impl From<SqlError> for SqlMainError {
    fn from(error: SqlError) -> Self {
        Self::Sql { reason: SqlError::REASON.to_string(), error: Box::new(error) }
    }
}

/// Runs the script to its end, and prints rows as tables to `out`.
pub async fn run(
    main: SqlMain,
    execution: &Execution,
    out: &mut (impl Write + Send),
) -> Result<(), SqlMainError> {
    let other = |text: String| SqlMainError::Other(text);
    let text = std::fs::read_to_string(&main.script)
        .map_err(|e| other(format!("{}: {e}", main.script.display())))?;
    let name = main.name.unwrap_or_else(|| main.script.display().to_string());
    let script = Script::parse(&name, &text)?;
    let inputs = match main.inputs {
        Some(inputs) => inputs,
        None => main.script.parent().map(PathBuf::from).unwrap_or_default(),
    };
    let absolute = |path: PathBuf| {
        std::path::absolute(&path).map_err(|e| other(format!("{}: {e}", path.display())))
    };
    let paths = Paths { inputs: absolute(inputs)?, outputs: absolute(main.outputs)? };
    script.targets_are_distinct(&paths.outputs)?;
    let (settings, append) = settings::of_main();
    let mut session = ScriptSession::new(paths, append).map_err(|e| other(e.to_string()))?;
    session.set(&settings).map_err(|e| other(e.to_string()))?;
    for statement in &script.statements {
        if let Some(graph) = session.step(&script, statement).await? {
            let job = execute(&script, statement, &session, &graph, execution).await?;
            show(statement, job, execution, out).await?;
        }
    }
    Ok(())
}

async fn execute(
    script: &Script,
    statement: &ScriptStatement,
    session: &ScriptSession,
    graph: &JobGraph,
    execution: &Execution,
) -> Result<(Accepted, JobEnd), SqlMainError> {
    let at = |reason: String, message: String| SqlMainError::Sql {
        reason,
        error: Box::new(script.error_at(statement, message)),
    };
    let name = match &statement.kind {
        StatementKind::Job { name, .. } => name.clone().unwrap_or_default(),
        StatementKind::Setup => String::new(),
    };
    // A graph that cannot be described for people still runs.
    let description = session.describe(graph).unwrap_or_default();
    let mut running = execution.execute(ExecuteCall {
        name,
        graph: Bytes::from(graph.encode()),
        description,
        staging_locations: graph.staging_locations(),
        name_is_literal: true,
        ..ExecuteCall::default()
    });
    let mut accepted = Accepted::default();
    while let Some(event) = running.next().await {
        let event = event.map_err(|e| {
            let reason = e.reason().map_or_else(|| "JOB_REFUSED".to_owned(), |r| r.to_string());
            at(reason, e.message().to_owned())
        })?;
        match event {
            ExecuteEvent::Accepted(answer) => {
                if !answer.warning.is_empty() {
                    eprintln!("warning: {}", answer.warning);
                }
                accepted = answer;
            }
            ExecuteEvent::Progress(_) => {}
            ExecuteEvent::Ended(end) if end.outcome() == JobOutcome::Succeeded => {
                return Ok((accepted, end));
            }
            ExecuteEvent::Ended(end) => {
                return Err(at(
                    end.reason.clone(),
                    format!("job {}: {}", accepted.name, end.message),
                ));
            }
        }
    }
    Err(SqlMainError::Other(format!(
        "the runner said nothing about the end of job {}",
        accepted.name
    )))
}

/// Prints the rows of a SELECT as a table.
async fn show(
    statement: &ScriptStatement,
    (accepted, end): (Accepted, JobEnd),
    execution: &Execution,
    out: &mut (impl Write + Send),
) -> Result<(), SqlMainError> {
    if !matches!(statement.kind, StatementKind::Job { returns_rows: true, .. })
        || end.result_digest.is_empty()
    {
        return Ok(());
    }
    let other =
        |text: String| SqlMainError::Other(format!("rows of job {}: {text}", accepted.name));
    let id = accepted.job_id.parse().map_err(|e| other(format!("{e}")))?;
    let chunks = execution.read_result(id).try_fold(Vec::new(), |mut all, chunk| async move {
        all.extend_from_slice(&chunk);
        Ok(all)
    });
    let bytes = chunks.await.map_err(|e| other(e.to_string()))?;
    match table::print_stream(out, bytes.as_slice()) {
        // The reader of this process's output has gone away; the jobs go on.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed.map_err(|e| other(e.to_string())),
    }
}
