//! Translates outputs, progress and ends between this crate's types and the proto's.

use std::path::PathBuf;
use std::time::Duration;

use proto::job::{self, JobEnd, JobOutcome, Manifest};

use crate::error::JobError;
use crate::execute::{Counters, JobOutput};
use crate::manifest::{Output, StagedFile};

/// The proto's output as this crate's.
pub fn output_of(output: job::Output) -> Output {
    let file = |f: job::StagedFile| StagedFile {
        staged: f.staged,
        r#final: f.r#final,
        size_bytes: f.size_bytes,
    };
    Output {
        target: output.target,
        location: PathBuf::from(output.location),
        staging: output.staging,
        files: output.files.into_iter().map(file).collect(),
        append: output.append,
        format: output.format,
        rows: output.rows,
    }
}

/// This crate's outputs as the proto's manifest.
pub fn manifest(outputs: &[Output]) -> Manifest {
    let file = |f: &StagedFile| job::StagedFile {
        staged: f.staged.clone(),
        r#final: f.r#final.clone(),
        size_bytes: f.size_bytes,
    };
    let output = |o: &Output| job::Output {
        target: o.target.clone(),
        // Targets come from UTF-8 text, so that nothing is lost.
        location: o.location.to_string_lossy().into_owned(),
        staging: o.staging.clone(),
        files: o.files.iter().map(file).collect(),
        append: o.append,
        format: o.format.clone(),
        rows: o.rows,
        ..job::Output::default()
    };
    Manifest { outputs: outputs.iter().map(output).collect(), ..Manifest::default() }
}

/// The counters with the time since the job began.
pub fn progress(counters: Counters, elapsed: Duration) -> job::Progress {
    job::Progress {
        rows_in: counters.rows_in,
        rows_out: counters.rows_out,
        bytes_in: counters.bytes_in,
        bytes_out: counters.bytes_out,
        elapsed: prost_types::Duration::try_from(elapsed).ok(),
        ..job::Progress::default()
    }
}

/// The end of a job that succeeded; the caller adds the digest of its result.
pub fn succeeded(output: &JobOutput, elapsed: Duration) -> JobEnd {
    JobEnd {
        outcome: JobOutcome::Succeeded.into(),
        manifest: (!output.outputs.is_empty()).then(|| manifest(&output.outputs)),
        progress: Some(progress(output.progress, elapsed)),
        ..JobEnd::default()
    }
}

/// The end of a job that did not succeed; `reached` is how far the job came.
pub fn failed(error: &JobError, reached: Counters, elapsed: Duration) -> JobEnd {
    let outcome = if matches!(error, JobError::Cancelled) {
        JobOutcome::Cancelled
    } else {
        JobOutcome::Failed
    };
    JobEnd {
        outcome: outcome.into(),
        reason: error.reason().to_string(),
        message: error.to_string(),
        progress: Some(progress(reached, elapsed)),
        ..JobEnd::default()
    }
}
