//! What can go wrong for a program, in the program's terms.

use proto::Reason;
use proto::job::JobOutcome;

/// What a main() or a `once` step may fail with: any error, `anyhow`'s and text included.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why something that a program asked for did not come about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The process was started in a way that cannot work.
    #[error("{0}")]
    Environment(String),
    /// The frame cannot become a job graph. Nothing was submitted.
    #[error("job {job}: {message}")]
    Graph {
        /// The job's name.
        job: String,
        /// The reason, such as `STATEMENT_UNSUPPORTED`.
        reason: Reason,
        /// What is in the way, and the way out.
        message: String,
    },
    /// The call was refused, and the job did not run because of it.
    #[error("job {job} was refused: {message}")]
    Refused {
        /// The job's name.
        job: String,
        /// The reason, such as `JOB_NAME_TAKEN` or `MAIN_DIVERGED`; `None` for a reason that this
        /// build does not know.
        reason: Option<Reason>,
        /// What was refused, for people.
        message: String,
    },
    /// The job has ended, and not well. The end is recorded: asking again answers the same.
    #[error("job {job} ended {}: {message}", outcome_word(*outcome))]
    Job {
        /// The job's name.
        job: String,
        /// How the job ended.
        outcome: JobOutcome,
        /// The reason in the record; `None` for a reason that this build does not know.
        reason: Option<Reason>,
        /// The engine's root cause.
        message: String,
    },
    /// The job succeeded, but left no result of the kind that is asked for.
    #[error("job {job}: {message}")]
    Result {
        /// The job's name.
        job: String,
        /// The reason, such as `RESULT_NONE`.
        reason: Option<Reason>,
        /// What is missing, for people.
        message: String,
    },
    /// A `once` step itself failed. Nothing was kept.
    #[error("once step {key:?} failed")]
    Once {
        /// The key of the step.
        key: String,
        /// What the step returned.
        source: BoxError,
    },
    /// A `once` value could not be kept or read back.
    #[error("once step {key:?}: {message}")]
    Journal {
        /// The key of the step.
        key: String,
        /// The reason, such as `JOURNAL_VALUE_TOO_LARGE`.
        reason: Option<Reason>,
        /// What went wrong, for people.
        message: String,
    },
}

impl Error {
    /// The stable reason, where there is one that this build knows.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Environment(_) | Self::Once { .. } => None,
            Self::Graph { reason, .. } => Some(*reason),
            Self::Refused { reason, .. }
            | Self::Job { reason, .. }
            | Self::Result { reason, .. }
            | Self::Journal { reason, .. } => *reason,
        }
    }
}

/// The word for an outcome: `FAILED` for `JOB_OUTCOME_FAILED`.
fn outcome_word(outcome: JobOutcome) -> &'static str {
    let name = outcome.as_str_name();
    name.strip_prefix("JOB_OUTCOME_").unwrap_or(name)
}

/// An error with its causes in one line, and the reason of the first of them that has a reason.
pub(crate) fn explain(error: &(dyn std::error::Error + 'static)) -> (Option<Reason>, String) {
    let mut text = error.to_string();
    let mut reason = None;
    let mut next = Some(error);
    while let Some(cause) = next {
        reason = reason.or_else(|| cause.downcast_ref::<Error>().and_then(Error::reason));
        let said = cause.to_string();
        // Many errors repeat their cause in their own text.
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    (reason, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job_error() -> Error {
        Error::Job {
            job: "clean".to_owned(),
            outcome: JobOutcome::Failed,
            reason: Some(Reason::JobFailed),
            message: "no such file".to_owned(),
        }
    }

    #[test]
    fn an_error_says_its_causes_once_and_finds_the_reason() {
        let wrapped = Error::Once { key: "k".to_owned(), source: Box::new(job_error()) };
        let (reason, text) = explain(&wrapped);
        assert_eq!(reason, Some(Reason::JobFailed));
        assert_eq!(text, "once step \"k\" failed: job clean ended FAILED: no such file");
    }

    #[test]
    fn text_is_an_error_without_a_reason() {
        let error: BoxError = "no column \"dep_dely\"".into();
        assert_eq!(explain(error.as_ref()), (None, "no column \"dep_dely\"".to_owned()));
    }
}
