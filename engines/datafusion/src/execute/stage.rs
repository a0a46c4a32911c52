//! Runs a COPY or INSERT: its files go into a staging directory below the target, and are durable
//! before the job's end is told.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use chassis::disk;
use datafusion::arrow::array::AsArray;
use datafusion::arrow::compute::sum;
use datafusion::arrow::datatypes::UInt64Type;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::{EmptyRelation, LogicalPlan};
use datafusion::physical_plan::collect;

use super::{JobOutput, RunContext};
use crate::error::JobError;
use crate::graph::Sink;
use crate::manifest::{Output, STAGING, StagedFile, part_name, staging_of};
use crate::publish::foreign_part;

pub(super) async fn run(
    session: &SessionContext,
    query: LogicalPlan,
    sink: &Sink,
    context: &RunContext,
) -> Result<JobOutput, JobError> {
    let location = PathBuf::from(&sink.location);
    if location.is_file() {
        let why = "it is a file; what a job writes is a directory of parts. Remove the file or choose another target";
        return Err(JobError::Target { location, why: why.to_owned() });
    }
    if let (false, Some(own)) = (sink.append, &context.own_job_ids)
        && let Some(taken) =
            foreign_part(&location, own).map_err(|e| target_error(&location, &e))?
    {
        return Err(taken.into());
    }
    let staging = staging_of(&context.job_id, context.incarnation);
    let directory = location.join(&staging);
    if directory.exists() {
        fs::remove_dir_all(&directory).map_err(|e| target_error(&location, &e))?;
    }
    // The names of all directories are durable before the end of the job is told, also those of a
    // new target and of what is above it.
    disk::make_directories(&directory, 0o777).map_err(|e| target_error(&location, &e))?;

    let single = sink.options.get("single_file_output").is_some_and(|v| v.trim() == "true");
    let schema = query.schema().clone();
    write(session, query, sink, &directory, single && sink.partition_by.is_empty(), context)
        .await?;
    let mut found = files_in(&directory).map_err(JobError::io(&directory))?;
    if found.is_empty() && sink.partition_by.is_empty() {
        // Without rows DataFusion writes no file, in which a reader would find no columns; one
        // empty file keeps the schema.
        let nothing = LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: false, schema });
        write(session, nothing, sink, &directory, true, context).await?;
        found = files_in(&directory).map_err(JobError::io(&directory))?;
    }
    let mut files = Vec::with_capacity(found.len());
    for (n, (staged, size_bytes)) in found.into_iter().enumerate() {
        files.push(StagedFile {
            r#final: final_name(&staged, &context.job_id, n),
            staged,
            size_bytes,
        });
    }
    context.progress.add_out(0, files.iter().map(|f| f.size_bytes).sum());
    let progress = context.progress.snapshot();
    let output = Output {
        target: sink.target.clone(),
        location,
        staging,
        files,
        append: sink.append,
        format: sink.format.name().to_owned(),
        rows: progress.rows_out,
    };
    Ok(JobOutput { result: None, outputs: vec![output], progress })
}

/// Removes what a failed job has staged, and the directories that were made only for it.
pub(super) fn discard(sink: &Sink, context: &RunContext) {
    let location = Path::new(&sink.location);
    let _ = fs::remove_dir_all(location.join(staging_of(&context.job_id, context.incarnation)));
    // These two directories are removed only if they are empty.
    let _ = fs::remove_dir(location.join(STAGING));
    let _ = fs::remove_dir(location);
}

async fn write(
    session: &SessionContext,
    query: LogicalPlan,
    sink: &Sink,
    directory: &Path,
    single_file: bool,
    context: &RunContext,
) -> Result<(), JobError> {
    let limit = context.memory_limit_bytes;
    let failed = |e| JobError::from_datafusion(e, limit);
    let mut url = crate::file_url::encode(directory);
    url.push('/');
    if single_file {
        url.push_str(&format!("part.{}", sink.format.name()));
    }
    let copy = sink.copy_of(query, url, single_file)?;
    let plan = session.state().create_physical_plan(&copy).await.map_err(failed)?;
    context.progress.watch(plan.clone(), true);
    let counts = collect(plan, session.task_ctx()).await.map_err(failed)?;
    let counts = counts.iter().filter_map(|batch| batch.column(0).as_primitive_opt::<UInt64Type>());
    context.progress.wrote(counts.filter_map(sum).sum());
    Ok(())
}

/// The files with their relative paths and sizes in a stable order, each one flushed to the disk.
fn files_in(root: &Path) -> std::io::Result<Vec<(String, u64)>> {
    let mut files = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
                continue;
            }
            let path = entry.path();
            let file = File::open(&path)?;
            file.sync_all()?;
            let relative = path.strip_prefix(root).expect("it was found below root");
            let relative = relative.to_str().ok_or(std::io::ErrorKind::InvalidFilename)?;
            files.push((relative.to_owned(), file.metadata()?.len()));
        }
        File::open(&directory)?.sync_all()?;
    }
    // DataFusion numbers files of one write in order: `…_2.csv` before `…_10.csv`.
    files.sort_by_key(|(path, _)| (path.len(), path.clone()));
    Ok(files)
}

/// The final name of a staged file, which keeps partition directories and the whole extension.
fn final_name(staged: &str, job_id: &str, n: usize) -> String {
    let (directory, name) = match staged.rsplit_once('/') {
        Some((directory, name)) => (Some(directory), name),
        None => (None, staged),
    };
    let extension = name.split_once('.').map_or("", |(_, extension)| extension);
    let part = part_name(job_id, n, extension);
    directory.map_or_else(|| part.clone(), |d| format!("{d}/{part}"))
}

fn target_error(location: &Path, error: &std::io::Error) -> JobError {
    JobError::Target { location: location.to_owned(), why: error.to_string() }
}
