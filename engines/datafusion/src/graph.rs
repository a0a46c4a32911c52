//! The job graph: a logical plan in an envelope that says what it takes to read the plan.
//!
//! DataFusion's bytes are not stable across majors, do not say which writer made them, and drop the
//! options of COPY. Therefore the envelope names engine, version and codec, and what a job writes
//! is *not* part of the plan: the plan is the query below the COPY or INSERT, and the [`Sink`]
//! beside the plan says where its rows go.

mod codec;
mod description;
mod sink;
mod storable;
mod subquery;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::BTreeMap;

use datafusion::dataframe::DataFrame;
use datafusion::execution::TaskContext;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{DmlStatement, LogicalPlan, WriteOp};
use datafusion_proto::logical_plan::AsLogicalPlan;
use datafusion_proto::protobuf::LogicalPlanNode;

use crate::defaults;
use crate::error::GraphError;

pub use codec::Codec;
pub use sink::{Format, Sink};
pub use wire::MAGIC;

/// The engine's name in the envelope.
pub const ENGINE: &str = "datafusion";
/// The codec that wrote the plan bytes, and the only one that reads them.
pub const CODEC: &str = "mainspring.datafusion/1";

/// DataFusion's major version in this executable.
pub fn engine_major() -> u32 {
    datafusion::DATAFUSION_VERSION
        .split('.')
        .next()
        .and_then(|major| major.parse().ok())
        .unwrap_or(0)
}

/// One dataflow graph, ready to be stored, and enough to run it anywhere.
///
/// main() makes the graph, the record keeps its bytes, and a worker of the same major runs it,
/// which has neither the session nor the script that the graph came from.
#[derive(Clone, Debug, PartialEq)]
pub struct JobGraph {
    /// DataFusion's major version that planned the graph.
    pub engine_major: u32,
    /// Session settings that differ from the defaults here, such as
    /// `datafusion.execution.batch_size`.
    pub settings: BTreeMap<String, String>,
    /// The set-up statements of the script before this one: for people, and for planning the job
    /// anew under another major.
    pub setup: Vec<String>,
    /// The statement as the user wrote it, if there is one.
    pub sql: Option<String>,
    /// What happens to the job's rows.
    pub kind: JobKind,
    /// The query, encoded by [`CODEC`].
    pub plan: Vec<u8>,
}

/// What happens to a job's rows.
#[derive(Clone, Debug, PartialEq)]
pub enum JobKind {
    /// The rows come back to main() through the record.
    Rows,
    /// The rows are written to files.
    Sink(Sink),
}

/// Where a plan came from, which is kept beside it.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The set-up statements before it.
    pub setup: Vec<String>,
    /// The statement itself.
    pub sql: Option<String>,
    /// Whether parts of other generations may be in the target of a COPY.
    pub append: bool,
}

impl JobGraph {
    /// The graph of an unoptimised logical plan. A query's rows come back, while COPY and INSERT
    /// become sinks.
    pub fn from_plan(
        state: &SessionState,
        plan: &LogicalPlan,
        origin: Origin,
    ) -> Result<Self, GraphError> {
        let (query, kind) = match plan {
            LogicalPlan::Copy(copy) => {
                (copy.input.as_ref().clone(), JobKind::Sink(Sink::of_copy(copy, origin.append)?))
            }
            LogicalPlan::Dml(DmlStatement {
                target,
                op: WriteOp::Insert(InsertOp::Append),
                input,
                ..
            }) => {
                let (sink, query) = Sink::of_insert(target, input)?;
                (query, JobKind::Sink(sink))
            }
            LogicalPlan::Ddl(_)
            | LogicalPlan::Dml(_)
            | LogicalPlan::Statement(_)
            | LogicalPlan::DescribeTable(_) => {
                return Err(GraphError::NotStorable {
                    what: plan.display().to_string(),
                    remedy: "run it in the session before the job that needs it".to_owned(),
                });
            }
            query => (query.clone(), JobKind::Rows),
        };
        Self::new(state, &query, kind, origin)
    }

    /// A graph whose rows come back to main().
    pub fn from_dataframe(frame: DataFrame) -> Result<Self, GraphError> {
        let (state, plan) = frame.into_parts();
        Self::from_plan(&state, &plan, Origin::default())
    }

    /// A graph that writes a frame's rows to files.
    pub fn from_dataframe_into(frame: DataFrame, sink: Sink) -> Result<Self, GraphError> {
        let (state, plan) = frame.into_parts();
        Self::new(&state, &plan, JobKind::Sink(sink), Origin::default())
    }

    fn new(
        state: &SessionState,
        query: &LogicalPlan,
        kind: JobKind,
        origin: Origin,
    ) -> Result<Self, GraphError> {
        storable::check(query)?;
        let settings = defaults::changed(state)?;
        let query = &subquery::as_joins(state, query)?;
        let mut plan = Vec::new();
        LogicalPlanNode::try_from_logical_plan(query, &Codec)?.try_encode(&mut plan)?;
        Ok(Self {
            engine_major: engine_major(),
            settings,
            setup: origin.setup,
            sql: origin.sql,
            kind,
            plan,
        })
    }

    /// The query, decoded with the functions of `context`.
    pub fn query(&self, context: &TaskContext) -> Result<LogicalPlan, GraphError> {
        Ok(LogicalPlanNode::try_decode(&self.plan)?.try_into_logical_plan(context, &Codec)?)
    }

    /// The graph for people, as `mainspring graph` shows it.
    pub fn describe(
        &self,
        context: &TaskContext,
    ) -> Result<proto::api::GraphDescription, GraphError> {
        Ok(description::describe(self, &self.query(context)?))
    }

    /// The absolute directories in which this job stages output.
    pub fn staging_locations(&self) -> Vec<String> {
        match &self.kind {
            JobKind::Rows => Vec::new(),
            JobKind::Sink(sink) => vec![sink.location.clone()],
        }
    }

    /// The graph's bytes, as they are stored.
    pub fn encode(&self) -> Vec<u8> {
        wire::encode(self)
    }

    /// Reads stored bytes, and refuses bytes that this engine would misread.
    pub fn decode(bytes: &[u8]) -> Result<Self, GraphError> {
        wire::decode(bytes)
    }
}
