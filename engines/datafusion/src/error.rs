//! What can go wrong in the engine, in the caller's terms.

use std::path::PathBuf;

use datafusion::error::DataFusionError;

use proto::Reason;

pub use crate::script::SqlError;

/// Why bytes are not a job graph that runs here, or why a plan cannot become one.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// The bytes are damaged or were never a graph of this engine.
    #[error("not a readable job graph: {why}")]
    Unreadable {
        /// What was found instead.
        why: String,
    },
    /// A graph of another engine.
    #[error("this job graph belongs to engine '{found}', this is 'datafusion'")]
    OtherEngine {
        /// The engine named in the envelope.
        found: String,
    },
    /// The graph was planned by another major version; plan bytes are not stable across majors of
    /// DataFusion.
    #[error(
        "this job graph was planned by DataFusion {found}, this engine is {ours}: plans are not portable between majors; \
         run it with the engine that planned it, or submit the application anew so that it is planned again"
    )]
    OtherMajor {
        /// The major version in the envelope.
        found: u32,
        /// The major version of this executable.
        ours: u32,
    },
    /// The graph was written by another codec, whose bytes this one would misread without an error.
    #[error("this job graph was written by codec '{found}', this engine reads '{ours}'")]
    OtherCodec {
        /// The codec named in the envelope.
        found: String,
        /// The only codec that is read here.
        ours: &'static str,
    },
    /// The plan holds something that does not survive being stored.
    #[error("{what} cannot be part of a stored job graph: {remedy}")]
    NotStorable {
        /// The thing, by name.
        what: String,
        /// The way out.
        remedy: String,
    },
    /// DataFusion refused to encode or decode.
    #[error("the plan cannot be converted: {0}")]
    Plan(String),
}

impl GraphError {
    /// The stable reason code.
    pub fn reason(&self) -> Reason {
        match self {
            Self::NotStorable { .. } => Reason::StatementUnsupported,
            _ => Reason::GraphUnreadable,
        }
    }
}

impl From<DataFusionError> for GraphError {
    fn from(error: DataFusionError) -> Self {
        // A refusal of the codec arrives wrapped in layers of DataFusion's errors; people need the
        // refusal itself.
        match take_graph_error(error) {
            Ok(ours) => ours,
            Err(text) => Self::Plan(text),
        }
    }
}

fn take_graph_error(error: DataFusionError) -> Result<GraphError, String> {
    match error {
        DataFusionError::Context(context, inner) => {
            take_graph_error(*inner).map_err(|text| format!("{context}: {text}"))
        }
        DataFusionError::Diagnostic(_, inner) => take_graph_error(*inner),
        DataFusionError::External(source) => match source.downcast::<GraphError>() {
            Ok(ours) => Ok(*ours),
            Err(other) => Err(other.to_string()),
        },
        other => Err(plain(&other)),
    }
}

/// Why a job did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The graph cannot be run here.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A cancel asked the job to stop.
    #[error("cancelled")]
    Cancelled,
    /// More memory was needed than the job may have, and spilling did not help.
    #[error(
        "out of memory within the limit of {limit_bytes} bytes: {detail}; give the worker more with -D datafusion.memory-limit=…"
    )]
    Memory {
        /// The limit in bytes.
        limit_bytes: usize,
        /// Which operators asked for how much.
        detail: String,
    },
    /// A SELECT brought back more than the record keeps.
    #[error(
        "the result is larger than {limit_bytes} bytes; write it to files with COPY (…) TO '…' or add a LIMIT"
    )]
    ResultTooLarge {
        /// The limit in bytes.
        limit_bytes: u64,
    },
    /// The target of a COPY or INSERT cannot be written.
    #[error("cannot write to {}: {why}", location.display())]
    Target {
        /// The directory that was to hold the parts.
        location: PathBuf,
        /// What is in the way and what to do.
        why: String,
    },
    /// The target holds parts that are not this application's.
    #[error(transparent)]
    Taken(#[from] Taken),
    /// A file or directory of the job's own could not be used.
    #[error("{}: {source}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// DataFusion failed; the text is its root cause.
    #[error("{0}")]
    Failed(String),
}

impl JobError {
    /// The stable reason code.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Graph(graph) => graph.reason(),
            Self::Cancelled => Reason::Cancelled,
            Self::Target { .. } => Reason::OutputNotWritable,
            Self::Taken(_) => Reason::OutputTargetTaken,
            Self::Memory { .. }
            | Self::ResultTooLarge { .. }
            | Self::Io { .. }
            | Self::Failed(_) => Reason::JobFailed,
        }
    }

    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn from_datafusion(error: DataFusionError, limit_bytes: usize) -> Self {
        if let DataFusionError::ResourcesExhausted(detail) = error.find_root() {
            return Self::Memory { limit_bytes, detail: detail.clone() };
        }
        Self::Failed(plain(&error))
    }
}

/// The target holds a part of another generation or application.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} holds {part}, which another run wrote; choose another --output, remove it, or allow it with --append",
    location.display()
)]
pub struct Taken {
    /// The target directory.
    pub location: PathBuf,
    /// The first foreign part that was found.
    pub part: String,
}

/// Why staged files did not reach their final names.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Neither the staged nor the final file exists.
    #[error("the output is lost: neither {} nor {} exists", staged.display(), r#final.display())]
    Lost {
        /// Where the file was staged.
        staged: PathBuf,
        /// Where the file should have gone.
        r#final: PathBuf,
    },
    /// Foreign parts are in the target.
    #[error(transparent)]
    Taken(#[from] Taken),
    /// The manifest names a path outside its target.
    #[error("the manifest names '{path}', which leaves its directory")]
    Escapes {
        /// The offending relative path.
        path: String,
    },
    /// The file system refused.
    #[error("cannot publish to {}: {source}", path.display())]
    NotWritable {
        /// The path.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
}

impl PublishError {
    /// The stable reason code.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Lost { .. } => Reason::OutputLost,
            Self::Taken(_) => Reason::OutputTargetTaken,
            Self::Escapes { .. } => Reason::RequestInvalid,
            Self::NotWritable { .. } => Reason::OutputNotWritable,
        }
    }

    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::NotWritable { path, source }
    }
}

/// DataFusion's root cause without its prefixes and back traces.
pub(crate) fn plain(error: &DataFusionError) -> String {
    let text = error.find_root().strip_backtrace();
    let mut text = text.as_str();
    for prefix in [
        "Error during planning: ",
        "Execution error: ",
        "SQL error: ",
        "Schema error: ",
        "This feature is not implemented: ",
        "Invalid or Unsupported Configuration: ",
        "External error: ",
        "Object Store error: ",
        "Arrow error: ",
    ] {
        text = text.strip_prefix(prefix).unwrap_or(text);
    }
    text.to_owned()
}
