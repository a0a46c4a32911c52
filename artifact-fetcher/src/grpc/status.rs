//! The one place where errors become statuses.

use proto::{Problem, Reason};
use tonic::Status;

use crate::error::FetchError;

impl From<FetchError> for Status {
    fn from(error: FetchError) -> Self {
        let text = error.to_string();
        let problem = |reason| Problem::new(reason, text.clone());
        match error {
            FetchError::UriInvalid { uri, .. } => problem(Reason::ArtifactUriInvalid)
                .metadata("uri", uri)
                .help("give file:///path, local:///path, http(s)://host/path or an absolute path"),
            FetchError::NotFound { uri, .. } => problem(Reason::ArtifactNotFound)
                .metadata("uri", uri)
                .help("check the spelling, and that the machine that fetches sees the same path"),
            FetchError::NotReachable { uri, .. } => problem(Reason::ArtifactNotReachable)
                .metadata("uri", uri)
                .help("check the host's name and port, and that this machine can reach it"),
            FetchError::NotReadable { uri, .. } => problem(Reason::ArtifactNotReadable)
                .metadata("uri", uri)
                .help("name a regular file that the user of the host may read"),
            FetchError::DigestMismatch { uri, expected, actual } => problem(Reason::ArtifactDigestMismatch)
                .metadata("uri", uri)
                .metadata("expected", expected)
                .metadata("actual", actual)
                .help("the file changed, or the digest is another file's: correct #sha256=… or leave it out"),
            FetchError::Redirects { uri, .. } => problem(Reason::ArtifactRedirects)
                .metadata("uri", uri)
                .help("give the address where the redirects end"),
            FetchError::CacheFull { directory, .. } => problem(Reason::CacheFull)
                .metadata("directory", directory.display())
                .help("make room on that disk, or give the host another --state-dir"),
            FetchError::CacheLimit { directory, limit_bytes, .. } => problem(Reason::CacheFull)
                .metadata("directory", directory.display())
                .metadata("limit_bytes", limit_bytes)
                .help("give the host a larger --cache-limit, or wait until running applications have ended"),
            FetchError::LinkFull { path, .. } => problem(Reason::CacheFull)
                .metadata("directory", path.display())
                .help("make the working directory writable, and make room on its disk"),
            FetchError::Link { path, .. } => problem(Reason::RequestInvalid)
                .metadata("path", path.display())
                .field("link_to", text.clone())
                .help("name a file in a directory that is there and that the fetcher may write"),
            FetchError::Request { field, why } => problem(Reason::RequestInvalid).field(field, why),
            FetchError::PageToken(_) => problem(Reason::PageTokenInvalid)
                .field("page_token", text.clone())
                .help("begin again without a token"),
            FetchError::NotCached(digest) => problem(Reason::ArtifactNotCached).metadata("digest", digest),
            FetchError::Damaged { path, digest } => problem(Reason::DataCorrupt)
                .metadata("file", path.display())
                .metadata("digest", digest)
                .help("the file is out of the cache now: fetch the artifact again"),
            FetchError::Malformed(_) => problem(Reason::IdMalformed),
            FetchError::PastEnd { .. } => problem(Reason::RequestInvalid),
            FetchError::Cache(_) => problem(Reason::Internal),
            FetchError::GoingDown => problem(Reason::Overloaded),
        }
        .into_status()
    }
}
