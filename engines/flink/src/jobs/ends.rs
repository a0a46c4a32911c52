//! The commit point of a job: its end goes from Flink's words into the record.

use std::sync::Arc;

use bytes::Bytes;
use client::error::CallError;
use client::payloads::Payloads;
use proto::job::{JobEnd, JobOutcome};
use proto::{Digest, IncarnationFence, JobId, Reason};
use record::Record;

use super::board::{Board, Tenancy};
use crate::answer;
use crate::jobmanager::{Ended, elapsed};

/// Where ends are written to.
#[derive(Clone)]
pub(super) struct Ends {
    pub(super) fence: IncarnationFence,
    pub(super) record: Arc<dyn Record>,
    pub(super) payloads: Payloads,
    pub(super) board: Board,
}

/// Flink's word is none of an end.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no end of a job")]
pub(super) struct NoEnd(String);

/// How a job ended, in the record's words.
pub(super) fn outcome(ended: &Ended) -> Result<JobOutcome, NoEnd> {
    match ended.status.as_str() {
        "SUCCEEDED" => Ok(JobOutcome::Succeeded),
        "CANCELED" => Ok(JobOutcome::Cancelled),
        "FAILED" => Ok(JobOutcome::Failed),
        other => Err(NoEnd(other.to_owned())),
    }
}

impl Ends {
    /// Records an end. The first end wins, regardless of which process records it.
    pub(super) async fn record(
        &self,
        job: JobId,
        outcome: JobOutcome,
        ended: Ended,
    ) -> Result<(), CallError> {
        let reason = match outcome {
            JobOutcome::Succeeded => "",
            JobOutcome::Cancelled => Reason::Cancelled.as_str(),
            _ => Reason::JobFailed.as_str(),
        };
        let result: Bytes = ended.answer;
        let result_kind = answer::kind(&result);
        let digest = Digest::of(&result);
        let size = result.len() as u64;
        self.payloads.put_bytes(digest, result).await?;
        // An operator who stops a job wants the place to go on from, so that the pointer is
        // committed with the end.
        let savepoint = match outcome {
            JobOutcome::Succeeded => self.board.stopped_with(job).await?.unwrap_or_default(),
            _ => String::new(),
        };
        let leaves_checkpoints =
            self.board.tenancy() == Tenancy::Own && self.discards_all(job, outcome).await?;
        // The counters of a short job may never have been read.
        self.board.look_once_more(job).await;
        let mut progress = self.board.progress(job);
        progress.elapsed = Some(elapsed(ended.net_runtime));
        let recorded = JobEnd {
            outcome: outcome.into(),
            reason: reason.to_owned(),
            message: with_help(ended.cause),
            result_digest: digest.to_string(),
            result_size_bytes: size,
            result_kind: result_kind.into(),
            progress: Some(progress),
            savepoint,
            leaves_checkpoints,
            ..JobEnd::default()
        };
        let standing = self.record.job_ended(&self.fence, job, recorded).await?;
        self.board.end_recorded(job);
        tracing::info!(
            { chassis::telemetry::fields::JOB_ID } = %job,
            ?outcome, first = standing.recorded, "end recorded"
        );
        Ok(())
    }

    /// Whether no checkpoint is to outlive this end. The record is asked before the end is
    /// recorded, because Flink then removes all pointers, whether or not it keeps the files.
    async fn discards_all(&self, job: JobId, outcome: JobOutcome) -> Result<bool, CallError> {
        let known = self.record.read_checkpoints(&self.fence, job).await?;
        let mut own = known.checkpoints.iter().filter(|known| !known.savepoint);
        Ok(own.all(|known| known.discarded_after().any(|discards| discards == outcome)))
    }
}

/// Adds what to do about a savepoint that cannot be begun from, or a file system that is missing,
/// because Flink says so in the words of its own command line, or not at all.
fn with_help(message: String) -> String {
    if message.contains("allowNonRestoredState") {
        let skip = " If you want to allow to skip this";
        let said = message.split_once(skip).map_or(message.as_str(), |(said, _)| said);
        return format!(
            "{said}; help: is it a savepoint of this program? If operators were removed or have no uid() of their own, run it with \
             -n (--allow-non-restored-state) to leave that state out"
        );
    }
    if let Some((said, plugins)) = message.split_once(" through the following plugin(s): ") {
        // What Flink says about its plugins directory is for the person who installed Flink.
        let plugins = plugins.split_once(". ").map_or(plugins, |(names, _)| names);
        // The one plugin that Flink's message calls by another name than its own.
        let plugins = plugins.replace("flink-fs-azure-", "flink-azure-fs-").replace("flink-", "");
        let first = plugins.split(',').next().unwrap_or_default();
        return format!(
            "{said} through a plugin: {plugins}; help: mainspring setup flink --plugin {first}, then -D flink.plugins={first}"
        );
    }
    if message.contains("Hadoop is not in the classpath") {
        return format!(
            "{message}; help: say where it is, with the variable that Hadoop names it by: HADOOP_CLASSPATH=$(hadoop classpath) mainspring \
             run …"
        );
    }
    if message.contains("Cannot find checkpoint or savepoint") {
        return format!(
            "{message}; help: -s takes what `mainspring savepoint` or `stop` printed; mainspring jobs ID -o json lists those of an \
             application"
        );
    }
    message
}

#[cfg(test)]
mod tests {
    use super::with_help;

    #[test]
    fn a_savepoint_that_does_not_fit_is_told_with_what_to_do() {
        let flink = "Failed to rollback to savepoint file:/s. The operator is not available in the new program. If you want to \
                     allow to skip this, you can set the --allowNonRestoredState option on the CLI.";
        let told = with_help(flink.to_owned());
        let (said, help) = told.split_once("; help: ").unwrap();
        assert!(
            said.ends_with("not available in the new program.") && help.contains("-n"),
            "{told}"
        );
        let missing =
            with_help("Cannot find checkpoint or savepoint file/directory '/s'".to_owned());
        assert!(missing.contains("; help: -s takes"), "{missing}");
        assert_eq!(with_help("/ by zero".to_owned()), "/ by zero");
    }

    #[test]
    fn a_missing_file_system_is_told_with_the_plugin_that_brings_it() {
        let flink = "org.apache.flink.core.fs.UnsupportedFileSystemSchemeException: Could not find a file system implementation for scheme \
                     's3'. The scheme is directly supported by Flink through the following plugin(s): flink-s3-fs-hadoop, \
                     flink-s3-fs-presto. Please ensure that each plugin resides within its own subfolder within the plugins directory.";
        let told = with_help(flink.to_owned());
        let end = "for scheme 's3'. The scheme is directly supported by Flink through a plugin: s3-fs-hadoop, s3-fs-presto; help: \
                   mainspring setup flink --plugin s3-fs-hadoop, then -D flink.plugins=s3-fs-hadoop";
        assert!(told.ends_with(end), "{told}");
        let azure = told
            .replace("s3-fs-hadoop, s3-fs-presto", "azure-fs-hadoop")
            .replace("s3-fs-hadoop", "azure-fs-hadoop");
        assert_eq!(
            with_help(
                flink.replace("flink-s3-fs-hadoop, flink-s3-fs-presto", "flink-fs-azure-hadoop")
            ),
            azure
        );
        let hadoop = with_help(
            "UnsupportedFileSystemSchemeException: Hadoop is not in the classpath/dependencies."
                .to_owned(),
        );
        assert!(hadoop.contains("; help: ") && hadoop.contains("HADOOP_CLASSPATH="), "{hadoop}");
    }
}
