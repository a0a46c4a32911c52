//! The session in which main() plans, and the one in which a worker runs what was planned.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use datafusion::error::DataFusionError;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::defaults::config;
use crate::error::GraphError;
use crate::graph::{JobGraph, Origin};
use crate::script::{KnownNames, Paths, Script, ScriptStatement, SqlError, StatementKind};

/// The part of a job's memory, as its reciprocal, that each sort keeps back at most.
const SORT_RESERVE_SHARE: usize = 16;

/// How many spilled runs are merged at once: each of them costs memory, and a merge cannot spill.
const SPILL_MERGE_FAN_IN: usize = 16;

/// A session of a worker, with bounded memory, which spills below `spill`.
pub(crate) fn worker(
    settings: &BTreeMap<String, String>,
    memory_limit_bytes: usize,
    spill: &Path,
) -> Result<SessionContext, DataFusionError> {
    let mut config = config();
    // The memory that a sort keeps back for merging its spills has to leave room for the sort
    // itself.
    let reserved = &mut config.options_mut().execution.sort_spill_reservation_bytes;
    *reserved = (*reserved).min(memory_limit_bytes / SORT_RESERVE_SHARE);
    for (key, value) in settings {
        config.options_mut().set(key, value)?;
    }
    let pool = TrackConsumersPool::new(
        FairSpillPool::new(memory_limit_bytes),
        std::num::NonZeroUsize::new(3).expect("3 is not 0"),
    );
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(pool))
        .with_disk_manager_builder(
            DiskManagerBuilder::default()
                .with_max_spill_merge_fan_in(SPILL_MERGE_FAN_IN)
                .with_mode(DiskManagerMode::Directories(vec![spill.to_owned()])),
        )
        .build()?;
    Ok(context(config, runtime))
}

fn context(config: SessionConfig, runtime: RuntimeEnv) -> SessionContext {
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(Arc::new(runtime))
        .with_default_features()
        .build();
    SessionContext::new_with_state(state)
}

/// A session for planning in main(). It has the defaults here, and no cache of directory listings,
/// because jobs add files between two statements.
pub fn planning() -> Result<SessionContext, DataFusionError> {
    let runtime = RuntimeEnvBuilder::new()
        .with_object_list_cache_limit(0)
        .with_file_statistics_cache_limit(0)
        .with_metadata_cache_limit(0)
        .build()?;
    Ok(context(config(), runtime))
}

/// A script that is executed statement by statement.
///
/// A set-up statement takes effect in this session alone. A job is only planned here, and its graph
/// carries what a worker needs of the session.
pub struct ScriptSession {
    context: SessionContext,
    paths: Paths,
    append: bool,
    setup: Vec<String>,
}

impl ScriptSession {
    /// A new session; `append` lets COPY targets hold parts of other runs.
    pub fn new(paths: Paths, append: bool) -> Result<Self, DataFusionError> {
        Ok(Self { context: planning()?, paths, append, setup: Vec::new() })
    }

    /// Applies the settings of `-D datafusion.…`, before the first statement.
    pub fn set(&self, settings: &BTreeMap<String, String>) -> Result<(), DataFusionError> {
        let state = self.context.state_ref();
        let mut state = state.write();
        for (name, value) in settings {
            state.config_mut().options_mut().set(name, value)?;
        }
        Ok(())
    }

    /// The graph for people.
    pub fn describe(&self, graph: &JobGraph) -> Result<proto::api::GraphDescription, GraphError> {
        graph.describe(&self.context.task_ctx())
    }

    /// Runs a set-up statement, or plans a job.
    pub async fn step(
        &mut self,
        script: &Script,
        statement: &ScriptStatement,
    ) -> Result<Option<JobGraph>, SqlError> {
        for (written, absolute) in script.inputs(statement, &self.paths)? {
            // DataFusion takes a table whose file is missing for an empty table.
            if !Path::new(&absolute).exists() {
                let message = format!("there is nothing at '{written}': {absolute} does not exist");
                let help = "relative inputs begin at the script's own directory; outputs of this script are found by themselves";
                return Err(script.error_at(statement, message).with_help(help));
            }
        }
        let ast = script.resolved(statement, &self.paths)?;
        let plan = match self.context.state().statement_to_plan(ast).await {
            Ok(plan) => plan,
            Err(error) => return Err(self.explain(script, statement, &error)),
        };
        if statement.kind == StatementKind::Setup {
            return self.set_up(script, statement, plan).await.map(|()| None);
        }
        let origin = Origin {
            setup: self.setup.clone(),
            sql: Some(statement.text.clone()),
            append: self.append,
        };
        let mut graph =
            JobGraph::from_plan(&self.context.state(), &plan, origin).map_err(|e| match e {
                GraphError::NotStorable { what, remedy } => script
                    .error_at(statement, format!("{what} cannot be part of a job"))
                    .with_help(remedy),
                other => script.error_at(statement, other.to_string()),
            })?;
        self.name_target(&mut graph, statement);
        Ok(Some(graph))
    }

    async fn set_up(
        &mut self,
        script: &Script,
        statement: &ScriptStatement,
        plan: LogicalPlan,
    ) -> Result<(), SqlError> {
        if let Err(error) = self.context.execute_logical_plan(plan).await {
            return Err(self.explain(script, statement, &error));
        }
        self.setup.push(statement.text.clone());
        Ok(())
    }

    /// Puts the target into the graph as the user wrote it, because people read it there.
    fn name_target(&self, graph: &mut JobGraph, statement: &ScriptStatement) {
        if let crate::graph::JobKind::Sink(sink) = &mut graph.kind {
            let below = Path::new(&sink.location).strip_prefix(&self.paths.outputs);
            sink.target = match statement.copy_target() {
                Some(written) => written.to_owned(),
                None => below.map_or_else(|_| sink.location.clone(), |p| p.display().to_string()),
            };
        }
    }

    fn explain(
        &self,
        script: &Script,
        statement: &ScriptStatement,
        error: &DataFusionError,
    ) -> SqlError {
        let start = (statement.line, statement.column);
        SqlError::from_planner(&script.file, &script.text, start, error, &self.known())
    }

    fn known(&self) -> KnownNames {
        let mut tables = Vec::new();
        for catalog in self.context.catalog_names() {
            let Some(catalog) = self.context.catalog(&catalog) else { continue };
            for schema in catalog.schema_names() {
                if let Some(schema) = catalog.schema(&schema) {
                    tables.extend(schema.table_names());
                }
            }
        }
        tables.sort();
        let state = self.context.state();
        let scalar = state.scalar_functions().keys();
        let functions =
            scalar.chain(state.aggregate_functions().keys()).chain(state.window_functions().keys());
        KnownNames { tables, functions: functions.cloned().collect() }
    }
}
