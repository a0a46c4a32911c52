//! What can go wrong with an artifact, in the caller's terms. An error names the URI as it may be
//! shown (secrets masked), what was seen, and the way out.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proto::Digest;

/// Why an artifact is not there. All callers of one transfer get the same error.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FetchError {
    /// The URI is not one that this build fetches.
    #[error("{uri:?} cannot be fetched: {why}")]
    UriInvalid {
        /// The URI as given, with secrets masked.
        uri: String,
        /// What is wrong with the URI.
        why: String,
    },
    /// The source says that there is nothing at the URI.
    #[error("there is nothing at {uri}: {why}")]
    NotFound {
        /// The URI, with secrets masked.
        uri: String,
        /// What the source said.
        why: String,
    },
    /// The source does not answer after all tries.
    #[error("{uri} cannot be reached: {why} (tried {tries} times)")]
    NotReachable {
        /// The URI, with secrets masked.
        uri: String,
        /// The last failure.
        why: String,
        /// How often the source was tried.
        tries: u32,
    },
    /// The artifact exists and cannot be read.
    #[error("{uri} cannot be read: {why}")]
    NotReadable {
        /// The URI, with secrets masked.
        uri: String,
        /// Why it cannot be read.
        why: String,
    },
    /// The source has other bytes than the caller asked for.
    #[error("{uri} has the digest {actual}, not {expected} as asked for")]
    DigestMismatch {
        /// The URI, with secrets masked.
        uri: String,
        /// The digest that the caller expects.
        expected: Digest,
        /// The digest of what the source sent.
        actual: Digest,
    },
    /// The source redirects too often, in a loop, or from https to http.
    #[error("{uri} redirects {why}")]
    Redirects {
        /// The URI where the redirects began, with secrets masked.
        uri: String,
        /// What is wrong with the redirects.
        why: String,
    },
    /// The cache's disk has no room or refuses writes.
    #[error("the artifact cache {directory} cannot take {uri}: {error}", directory = directory.display())]
    CacheFull {
        /// The directory of the cache.
        directory: PathBuf,
        /// The URI of the artifact that was to be kept.
        uri: String,
        /// What the disk said.
        error: Arc<std::io::Error>,
    },
    /// The artifact and those that live applications use are more than the cache may hold.
    #[error(
        "the artifact cache {directory} has no room for {uri}: {size_bytes} bytes, and {used_bytes} of its {limit_bytes} are in use",
        directory = directory.display()
    )]
    CacheLimit {
        /// The directory of the cache.
        directory: PathBuf,
        /// The URI of the artifact that was to be kept.
        uri: String,
        /// How large that artifact is, as far as it is known.
        size_bytes: u64,
        /// How much live applications use.
        used_bytes: u64,
        /// How much the cache may hold.
        limit_bytes: u64,
    },
    /// A part of the request makes no sense.
    #[error("{field}: {why}")]
    Request {
        /// The field of the request.
        field: &'static str,
        /// What is wrong with the field.
        why: String,
    },
    /// The page token was not given out by this service.
    #[error("the page token {0:?} was not given out by this service")]
    PageToken(String),
    /// The disk of the working directory has no room.
    #[error("no room to place the artifact at {path}: {error}", path = path.display())]
    LinkFull {
        /// The path where the artifact was to be placed.
        path: PathBuf,
        /// What the disk said.
        error: Arc<std::io::Error>,
    },
    /// The file could not be placed where the caller wants it.
    #[error("cannot place the artifact at {path}: {error}", path = path.display())]
    Link {
        /// The path where the artifact was to be placed.
        path: PathBuf,
        /// What the disk said.
        error: Arc<std::io::Error>,
    },
    /// The cache holds no such artifact.
    #[error("the cache holds no artifact {0}")]
    NotCached(Digest),
    /// The cached bytes are not those that were fetched. The cache has dropped them.
    #[error("the cached artifact {} is damaged: its bytes do not have the digest {digest}", path.display())]
    Damaged {
        /// The damaged file.
        path: PathBuf,
        /// The digest that its bytes should have.
        digest: Digest,
    },
    /// A number or id in the request is malformed.
    #[error(transparent)]
    Malformed(#[from] proto::InvalidId),
    /// A read begins behind the artifact's end.
    #[error("offset {offset} is behind the artifact's end at {size}")]
    PastEnd {
        /// The offset that the caller asked for.
        offset: u64,
        /// The size of the artifact.
        size: u64,
    },
    /// The cache's own files cannot be read or written.
    #[error("the artifact cache: {0}")]
    Cache(Arc<std::io::Error>),
    /// The fetcher is ending.
    #[error("the fetcher is going down")]
    GoingDown,
}

/// Whether the disk takes no more bytes, whichever they are.
fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::QuotaExceeded
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
