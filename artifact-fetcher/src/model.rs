//! What a URI means and what may be evicted. No I/O, no clock.

use std::fmt;
use std::path::PathBuf;

use proto::Digest;
use reqwest::Url;

use crate::error::FetchError;

/// Where an artifact is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Location {
    /// A file that is copied into the cache.
    File(PathBuf),
    /// A file that stays where it is (`local://`): digested, never moved.
    Local(PathBuf),
    /// An address that is downloaded.
    Http(Url),
}

impl Location {
    /// Parses `file:///path`, `local:///path`, `http(s)://…` or an absolute path.
    pub fn parse(uri: &str) -> Result<Self, FetchError> {
        let refuse = |why: &str| FetchError::UriInvalid { uri: masked(uri), why: why.to_owned() };
        if uri.starts_with('/') {
            return Ok(Self::File(PathBuf::from(uri)));
        }
        if let Some(path) = uri.strip_prefix("local://") {
            let absolute = path.starts_with('/');
            return absolute
                .then(|| Self::Local(path.into()))
                .ok_or_else(|| refuse("it is local:///absolute/path"));
        }
        let url = Url::parse(uri).map_err(|error| refuse(&error.to_string()))?;
        match url.scheme() {
            "file" => url.to_file_path().map(Self::File).map_err(|()| refuse("it is file:///absolute/path")),
            "http" | "https" => Ok(Self::Http(url)),
            other => Err(refuse(&format!("the scheme {other:?} is not one of file, local, http, https"))),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Local(path) => write!(f, "local://{}", path.display()),
            Self::Http(url) => f.write_str(&masked(url.as_str())),
        }
    }
}

/// A URI as it may be shown: who logs in and the values of a query are secrets (a token is often all of the former).
pub fn masked(uri: &str) -> String {
    let Ok(mut url) = Url::parse(uri) else { return masked_text(uri) };
    if !url.username().is_empty() || url.password().is_some() {
        // Only URLs that cannot have them refuse, and this one has one.
        let _ = url.set_password(None);
        let _ = url.set_username("***");
    }
    if url.query().is_some() {
        url.set_query(Some("***"));
    }
    url.to_string()
}

/// The same for what is no URI: everything before an `@` and behind a `?` goes.
fn masked_text(text: &str) -> String {
    let shown: String = text.chars().take(200).collect();
    if shown.starts_with('/') {
        return shown;
    }
    let (front, query) = shown.split_once('?').map_or((shown.as_str(), ""), |(front, _)| (front, "?***"));
    match front.rsplit_once('@') {
        Some((_, host)) => format!("***@{host}{query}"),
        None => format!("{front}{query}"),
    }
}

/// One cached artifact as eviction sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub digest: Digest,
    /// How much it would free.
    pub size_bytes: u64,
    /// When it was used last, nanoseconds since the Unix epoch.
    pub used_at: u128,
    /// A live application uses it.
    pub held: bool,
}

/// What to evict so that at most `limit_bytes` are left: least recently used first, never what is held.
pub fn evictions(mut candidates: Vec<Candidate>, limit_bytes: u64) -> Vec<Digest> {
    let mut total: u64 = candidates.iter().map(|candidate| candidate.size_bytes).sum();
    candidates.sort_by_key(|candidate| (candidate.used_at, candidate.digest));
    let mut evicted = Vec::new();
    for candidate in candidates {
        if total <= limit_bytes {
            break;
        }
        if !candidate.held {
            total -= candidate.size_bytes;
            evicted.push(candidate.digest);
        }
    }
    evicted
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_uri_says_where_and_how() {
        assert_eq!(Location::parse("/a/b.sql").unwrap(), Location::File("/a/b.sql".into()));
        assert_eq!(Location::parse("file:///a/b%20c.sql").unwrap(), Location::File("/a/b c.sql".into()));
        assert_eq!(Location::parse("local:///opt/app.jar").unwrap(), Location::Local("/opt/app.jar".into()));
        assert!(matches!(Location::parse("https://example.org/app").unwrap(), Location::Http(_)));
        for bad in ["", "app.sql", "local://app.jar", "s3://bucket/key", "http://", "file://host/path"] {
            let error = Location::parse(bad).unwrap_err();
            assert!(matches!(error, FetchError::UriInvalid { .. }), "{bad}: {error}");
        }
    }

    #[test]
    fn secrets_of_a_uri_are_not_shown() {
        for uri in [
            "https://user:geheim@example.org/a?token=geheim",
            "https://geheim@example.org/a",
            "https://user:geheim@example.org:notaport/a?geheim",
            "geheim@example.org/a",
        ] {
            let shown = masked(uri);
            assert!(!shown.contains("geheim"), "{shown}");
            assert!(shown.contains("example.org"), "{shown}");
        }
        assert_eq!(masked("/a/b@c?d"), "/a/b@c?d", "a path has no secrets");
    }

    #[test]
    fn the_least_recently_used_goes_first_and_what_is_held_stays() {
        let candidate = |byte, size_bytes, used_at, held| Candidate {
            digest: Digest::from_bytes([byte; 32]),
            size_bytes,
            used_at,
            held,
        };
        let all = vec![candidate(1, 10, 1, true), candidate(2, 10, 2, false), candidate(3, 10, 3, false)];
        assert_eq!(evictions(all.clone(), 30), vec![]);
        assert_eq!(evictions(all.clone(), 20), vec![Digest::from_bytes([2; 32])]);
        assert_eq!(evictions(all, 0).len(), 2);
    }
}
