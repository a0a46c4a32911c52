//! What a job that has ended well left.

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::ipc::reader::StreamReader;
use datafusion::arrow::record_batch::RecordBatch;
use proto::job::{JobEnd, JobOutcome};
use proto::{JobId, Reason};

use crate::error::Error;
use crate::executor::{Ended, Executor};

/// A job that SUCCEEDED: its end is recorded and its output published.
#[derive(Clone)]
pub struct Finished {
    name: String,
    id: JobId,
    found: bool,
    end: JobEnd,
    outputs: Vec<Written>,
    executor: Arc<dyn Executor>,
}

/// The files that a job published in one directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The absolute path of the directory that holds the parts.
    pub location: String,
    /// How many parts of this job are in it.
    pub files: usize,
    /// How many rows they have together.
    pub rows: u64,
    /// How large they are together, in bytes.
    pub bytes: u64,
}

impl std::fmt::Debug for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Finished")
            .field("name", &self.name)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Finished {
    /// The job behind an end; an end that is not SUCCEEDED is an error.
    pub(crate) fn of(job: &str, ended: Ended, executor: Arc<dyn Executor>) -> Result<Self, Error> {
        let Ended { accepted, end } = ended;
        let name = if accepted.name.is_empty() { job.to_owned() } else { accepted.name };
        if end.outcome() != JobOutcome::Succeeded {
            let (outcome, reason) = (end.outcome(), end.reason.parse().ok());
            return Err(Error::Job { job: name, outcome, reason, message: end.message });
        }
        let id = accepted.job_id.parse().map_err(|error| Error::Refused {
            job: name.clone(),
            reason: Some(Reason::IdMalformed),
            message: format!("the runner answered with a malformed id: {error}"),
        })?;
        let written = |output: &proto::job::Output| Written {
            location: output.location.clone(),
            files: output.files.len(),
            rows: output.rows,
            bytes: output.files.iter().map(|file| file.size_bytes).sum(),
        };
        let outputs =
            end.manifest.iter().flat_map(|manifest| &manifest.outputs).map(written).collect();
        Ok(Self { name, id, found: accepted.found, end, outputs, executor })
    }

    /// The job's name; `job-<n>` for a job that was not named.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id of the job, the same in every execution of main().
    pub fn id(&self) -> JobId {
        self.id
    }

    /// Whether the record knew the job before this call, because an earlier execution of main() had
    /// come this far.
    pub fn was_found(&self) -> bool {
        self.found
    }

    /// How many rows were read from files.
    pub fn rows_in(&self) -> u64 {
        self.end.progress.unwrap_or_default().rows_in
    }

    /// How many rows were written, or brought back.
    pub fn rows_out(&self) -> u64 {
        self.end.progress.unwrap_or_default().rows_out
    }

    /// What the job published; empty for a query.
    pub fn outputs(&self) -> &[Written] {
        &self.outputs
    }

    /// The directory that the job wrote to: an absolute path, for `session.read_parquet` and its
    /// like. `RESULT_NONE` for a query.
    pub fn location(&self) -> Result<&str, Error> {
        let first = self
            .outputs
            .first()
            .ok_or_else(|| self.no("it is a query and wrote no files; see collect()"))?;
        Ok(&first.location)
    }

    /// The rows that a query brought back, read from the record. `RESULT_NONE` for a job that wrote
    /// files.
    pub async fn collect(&self) -> Result<Vec<RecordBatch>, Error> {
        Ok(self.read().await?.1)
    }

    pub(crate) async fn read(&self) -> Result<(SchemaRef, Vec<RecordBatch>), Error> {
        if self.end.result_digest.is_empty() {
            return Err(
                self.no("it wrote files and brought no rows back; read them from location()")
            );
        }
        let bytes = self.executor.rows(self.id).await.map_err(|refusal| Error::Result {
            job: self.name.clone(),
            reason: refusal.reason,
            message: refusal.message,
        })?;
        let unreadable = |error: datafusion::arrow::error::ArrowError| Error::Result {
            job: self.name.clone(),
            reason: None,
            message: format!("its rows cannot be read: {error}"),
        };
        let reader = StreamReader::try_new(bytes.as_ref(), None).map_err(unreadable)?;
        let schema = reader.schema();
        Ok((schema, reader.collect::<Result<_, _>>().map_err(unreadable)?))
    }

    fn no(&self, message: &str) -> Error {
        Error::Result {
            job: self.name.clone(),
            reason: Some(Reason::ResultNone),
            message: message.to_owned(),
        }
    }
}
