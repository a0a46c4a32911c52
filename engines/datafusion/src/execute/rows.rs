//! Runs a SELECT: its rows become one Arrow IPC stream in the work directory.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execute_stream;
use futures::StreamExt;

use super::{JobOutput, ResultFile, RunContext};
use crate::error::JobError;

pub(super) async fn run(
    session: &SessionContext,
    query: &LogicalPlan,
    context: &RunContext,
) -> Result<JobOutput, JobError> {
    let limit = context.memory_limit_bytes;
    let failed = |e| JobError::from_datafusion(e, limit);
    let plan = session.state().create_physical_plan(query).await.map_err(failed)?;
    context.progress.watch(plan.clone(), false);
    let mut stream = execute_stream(plan, session.task_ctx()).map_err(failed)?;

    let path = context.work_dir.join("result.arrow");
    let file = File::create(&path).map_err(JobError::io(&path))?;
    let sink =
        Bounded { inner: BufWriter::new(file), written: 0, limit: context.result_limit_bytes };
    let arrow = |e: datafusion::arrow::error::ArrowError| match &e {
        datafusion::arrow::error::ArrowError::IoError(_, io)
            if io.kind() == io::ErrorKind::FileTooLarge =>
        {
            JobError::ResultTooLarge { limit_bytes: context.result_limit_bytes }
        }
        datafusion::arrow::error::ArrowError::IoError(text, _) => {
            JobError::Failed(format!("{}: {text}", path.display()))
        }
        other => JobError::Failed(other.to_string()),
    };
    let mut writer = StreamWriter::try_new(sink, &stream.schema()).map_err(arrow)?;
    let mut rows = 0;
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(failed)?;
        rows += batch.num_rows() as u64;
        writer.write(&batch).map_err(arrow)?;
        context.progress.add_out(batch.num_rows() as u64, 0);
    }
    writer.finish().map_err(arrow)?;
    let mut sink = writer.into_inner().map_err(arrow)?;
    sink.flush().map_err(JobError::io(&path))?;
    let size_bytes = sink.written;
    context.progress.add_out(0, size_bytes);
    Ok(JobOutput {
        result: Some(ResultFile { path, rows, size_bytes }),
        outputs: Vec::new(),
        progress: context.progress.snapshot(),
    })
}

/// A writer that refuses to grow past a limit.
struct Bounded<W> {
    inner: W,
    written: u64,
    limit: u64,
}

impl<W: Write> Write for Bounded<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.written + bytes.len() as u64 > self.limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let n = self.inner.write(bytes)?;
        self.written += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
