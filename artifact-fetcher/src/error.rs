//! What can go wrong with an artifact, in the caller's terms. An error names the URI as it may be shown (secrets masked),
//! what was seen, and the way out.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proto::Digest;

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
    /// More than the cache may hold beside what live applications use.
    #[error(
        "the artifact cache {directory} has no room for {uri}: {size_bytes} bytes, and {used_bytes} of its {limit_bytes} are in use",
        directory = directory.display()
    )]
    CacheLimit {
        /// The cache.
        directory: PathBuf,
        /// What was to be kept.
        uri: String,
        /// How large that is, as far as it is known.
        size_bytes: u64,
        /// What live applications use.
        used_bytes: u64,
        /// What the cache may hold.
        limit_bytes: u64,
    },
    /// A part of the request cannot be.
    #[error("{field}: {why}")]
    Request {
        /// Which part.
        field: &'static str,
        /// Why not.
        why: String,
    },
    /// The page token is none of ours.
    #[error("the page token {0:?} was not given out by this service")]
    PageToken(String),
    /// The disk of the working directory has no room.
    #[error("no room to place the artifact at {path}: {error}", path = path.display())]
    LinkFull {
        /// Where to.
        path: PathBuf,
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
    /// The cached bytes are not those that were fetched. They are out of the cache.
    #[error("the cached artifact {} is damaged: its bytes do not have the digest {digest}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What it was.
        digest: Digest,
    },
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

/// The disk takes no more bytes, whatever they are.
fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::QuotaExceeded
    )
}

impl FetchError {
    /// A failure of the cache's own disk while `what` was to be kept.
    pub(crate) fn disk(directory: &Path, what: &str, error: io::Error) -> Self {
        if is_full(&error) {
            let (directory, uri) = (directory.to_owned(), what.to_owned());
            return Self::CacheFull { directory, uri, error: Arc::new(error) };
        }
        Self::Cache(Arc::new(error))
    }

    /// A failure to put a file where the caller wants it.
    pub(crate) fn placing(path: &Path, error: io::Error) -> Self {
        let (path, full, error) = (path.to_owned(), is_full(&error), Arc::new(error));
        if full { Self::LinkFull { path, error } } else { Self::Link { path, error } }
    }
}
