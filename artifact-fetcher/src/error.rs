//! What can go wrong with an artifact, in the caller's terms. An error names the URI as it may be shown (secrets masked),
//! what was seen, and the way out.

use std::path::PathBuf;
use std::sync::Arc;

use chassis::status::Problem;
use proto::{Digest, Reason};
use tonic::{Code, Status};

/// Why an artifact is not there. Shared by all callers of one transfer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FetchError {
    /// Not a URI that this build fetches.
    #[error("{uri:?} cannot be fetched: {why}")]
    UriInvalid {
        /// As given, masked.
        uri: String,
        /// What is wrong with it.
        why: String,
    },
    /// The source says that there is nothing.
    #[error("there is nothing at {uri}: {why}")]
    NotFound {
        /// Where.
        uri: String,
        /// What the source said.
        why: String,
    },
    /// The source does not answer, after all tries.
    #[error("{uri} cannot be reached: {why} (tried {tries} times)")]
    NotReachable {
        /// Where.
        uri: String,
        /// The last failure.
        why: String,
        /// How often it was tried.
        tries: u32,
    },
    /// It exists and cannot be read.
    #[error("{uri} cannot be read: {why}")]
    NotReadable {
        /// Where.
        uri: String,
        /// Why.
        why: String,
    },
    /// Other bytes than were asked for.
    #[error("{uri} has the digest {actual}, not {expected} as asked for")]
    DigestMismatch {
        /// Where.
        uri: String,
        /// What the caller wants.
        expected: Digest,
        /// What the source sent.
        actual: Digest,
    },
    /// Redirected too often, in a loop, or from https to http.
    #[error("{uri} redirects {why}")]
    Redirects {
        /// Where it began.
        uri: String,
        /// How.
        why: String,
    },
    /// The cache's disk has no room or refuses writes.
    #[error("the artifact cache {directory} cannot take {uri}: {error}", directory = directory.display())]
    CacheFull {
        /// The cache.
        directory: PathBuf,
        /// What was to be kept.
        uri: String,
        /// What the disk said.
        error: Arc<std::io::Error>,
    },
    /// The file could not be placed where the caller wants it.
    #[error("cannot place the artifact at {path}: {error}", path = path.display())]
    Link {
        /// Where to.
        path: PathBuf,
        /// Why not.
        error: Arc<std::io::Error>,
    },
    /// The cache holds no such artifact.
    #[error("the cache holds no artifact {0}")]
    NotCached(Digest),
    /// A number or id in the request is malformed.
    #[error(transparent)]
    Malformed(#[from] proto::InvalidId),
    /// A read begins behind the artifact's end.
    #[error("offset {offset} is behind the artifact's end at {size}")]
    PastEnd {
        /// Asked for.
        offset: u64,
        /// What there is.
        size: u64,
    },
    /// The cache's own files cannot be read or written.
    #[error("the artifact cache: {0}")]
    Cache(Arc<std::io::Error>),
    /// The process is ending.
    #[error("the fetcher is going down")]
    GoingDown,
}

impl From<FetchError> for Status {
    fn from(error: FetchError) -> Self {
        let text = error.to_string();
        let problem = |code, reason| Problem::new(code, reason, text.clone());
        match error {
            FetchError::UriInvalid { uri, .. } => problem(Code::InvalidArgument, Reason::ArtifactUriInvalid)
                .metadata("uri", uri)
                .help("give file:///path, local:///path, http(s)://host/path or an absolute path"),
            FetchError::NotFound { uri, .. } => problem(Code::NotFound, Reason::ArtifactNotFound)
                .metadata("uri", uri)
                .help("check the spelling, and that the machine that fetches sees the same path"),
            FetchError::NotReachable { uri, .. } => problem(Code::Unavailable, Reason::ArtifactNotReachable)
                .metadata("uri", uri)
                .help("check the host's name and port, and that this machine can reach it"),
            FetchError::NotReadable { uri, .. } => {
                problem(Code::FailedPrecondition, Reason::ArtifactNotReadable)
                    .metadata("uri", uri)
                    .help("it has to be a regular file that the user of the host may read")
            }
            FetchError::DigestMismatch { uri, expected, actual } => problem(
                Code::FailedPrecondition,
                Reason::ArtifactDigestMismatch,
            )
            .metadata("uri", uri)
            .metadata("expected", expected)
            .metadata("actual", actual)
            .help("the file changed, or the digest is another file's: correct #sha256=… or leave it out"),
            FetchError::Redirects { uri, .. } => problem(Code::FailedPrecondition, Reason::ArtifactRedirects)
                .metadata("uri", uri)
                .help("give the address where the redirects end"),
            FetchError::CacheFull { directory, .. } => problem(Code::ResourceExhausted, Reason::CacheFull)
                .metadata("directory", directory.display())
                .help("make room on that disk, or give the host another --state-dir"),
            FetchError::Link { path, .. } => problem(Code::ResourceExhausted, Reason::CacheFull)
                .metadata("directory", path.display())
                .help("the working directory has to be writable and its disk have room"),
            FetchError::NotCached(digest) => {
                problem(Code::NotFound, Reason::ArtifactNotCached).metadata("digest", digest)
            }
            FetchError::Malformed(_) => problem(Code::InvalidArgument, Reason::IdMalformed),
            FetchError::PastEnd { .. } => problem(Code::OutOfRange, Reason::RequestInvalid),
            FetchError::Cache(_) => problem(Code::Internal, Reason::Internal),
            FetchError::GoingDown => problem(Code::Unavailable, Reason::Overloaded)
                .retry_after(std::time::Duration::from_millis(200)),
        }
        .into_status()
    }
}
