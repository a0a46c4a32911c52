//! What one `execute()` runs.

use std::path::Path;

use datafusion::dataframe::DataFrame;
use datafusion::logical_expr::LogicalPlan;
use mainspring_datafusion::error::GraphError;
use mainspring_datafusion::graph::{Format, JobGraph, JobKind, Origin, Sink};
use mainspring_datafusion::script::Paths;

/// A frame, and what becomes of its rows.
///
/// A plain `DataFrame` is a job, too: the rows of a query come back through the record, and a frame
/// of `session.sql("COPY …")` or `session.sql("INSERT INTO …")` writes files. Relative targets lead
/// below the application's output directory, and relative inputs below the working directory, as
/// DataFusion has it.
#[derive(Debug, Clone)]
pub struct Job {
    frame: DataFrame,
    write: Option<Write>,
}

#[derive(Debug, Clone)]
struct Write {
    target: String,
    format: Format,
    options: Vec<(String, String)>,
    partition_by: Vec<String>,
    append: bool,
}

impl From<DataFrame> for Job {
    fn from(frame: DataFrame) -> Self {
        Self { frame, write: None }
    }
}

impl Job {
    /// Writes the rows as Parquet into the directory `target`: a path, absolute or below the output
    /// directory.
    pub fn parquet(frame: DataFrame, target: impl Into<String>) -> Self {
        Self::write(frame, target.into(), Format::Parquet)
    }

    /// Writes the rows as CSV into the directory `target`.
    pub fn csv(frame: DataFrame, target: impl Into<String>) -> Self {
        Self::write(frame, target.into(), Format::Csv)
    }

    /// Writes the rows as newline-delimited JSON into the directory `target`.
    pub fn json(frame: DataFrame, target: impl Into<String>) -> Self {
        Self::write(frame, target.into(), Format::Json)
    }

    fn write(frame: DataFrame, target: String, format: Format) -> Self {
        let write =
            Write { target, format, options: Vec::new(), partition_by: Vec::new(), append: false };
        Self { frame, write: Some(write) }
    }

    /// Sets an option of the format by its name in SQL, such as `format.delimiter`. Without a
    /// target the option changes nothing.
    #[must_use]
    pub fn with_option(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        if let Some(write) = &mut self.write {
            write.options.push((name.into(), value.into()));
        }
        self
    }

    /// Splits the rows into `column=value` directories. Without a target this changes nothing.
    #[must_use]
    pub fn partitioned_by(mut self, columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        if let Some(write) = &mut self.write {
            write.partition_by = columns.into_iter().map(Into::into).collect();
        }
        self
    }

    /// Lets the target hold parts of other runs. Without a target this changes nothing.
    #[must_use]
    pub fn appending(mut self) -> Self {
        if let Some(write) = &mut self.write {
            write.append = true;
        }
        self
    }

    /// The graph that is stored. `append` is the setting that the application was started with.
    pub(crate) fn graph(self, paths: &Paths, append: bool) -> Result<JobGraph, GraphError> {
        let Some(write) = self.write else { return of_frame(self.frame, paths, append) };
        let location = paths.output(&write.target).map_err(|why| unusable(&write.target, why))?;
        let mut sink = Sink::new(location, write.format);
        sink.target = write.target;
        sink.options = write.options.into_iter().collect();
        sink.partition_by = write.partition_by;
        sink.append = write.append || append;
        JobGraph::from_dataframe_into(self.frame, sink)
    }
}

fn of_frame(frame: DataFrame, paths: &Paths, append: bool) -> Result<JobGraph, GraphError> {
    let (state, mut plan) = frame.into_parts();
    let mut written = None;
    if let LogicalPlan::Copy(copy) = &mut plan {
        let target = std::mem::take(&mut copy.output_url);
        copy.output_url = paths.output(&target).map_err(|why| unusable(&target, why))?;
        written = Some(target);
    }
    let mut graph = JobGraph::from_plan(&state, &plan, Origin { append, ..Origin::default() })?;
    if let JobKind::Sink(sink) = &mut graph.kind {
        let below = || {
            Path::new(&sink.location).strip_prefix(&paths.outputs).ok()?.to_str().map(str::to_owned)
        };
        // People read the target as the program wrote it.
        if let Some(target) = written.or_else(below) {
            sink.target = target;
        }
    }
    Ok(graph)
}

fn unusable(target: &str, why: String) -> GraphError {
    GraphError::NotStorable { what: format!("the target '{target}'"), remedy: why }
}
