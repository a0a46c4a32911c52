//! What a URI means and what may be evicted. There is no I/O and no clock here.

use std::fmt;
use std::path::PathBuf;

use proto::uri::{Scheme, UnknownScheme};
use proto::{Digest, Uri};
use reqwest::Url;

use crate::error::FetchError;

/// Where an artifact is.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Location {
    /// A file that is copied into the cache.
    File(PathBuf),
    /// A file that stays where it is (`local://`): it is digested and never moved.
    Local(PathBuf),
    /// An address that is downloaded.
    Http(Url),
}

impl Location {
    /// Parses `file:///path`, `local:///path`, `http(s)://…` or an absolute path.
    pub fn parse(given: &Uri) -> Result<Self, FetchError> {
        let uri = given.expose();
        let refuse =
            |why: &str| FetchError::UriInvalid { uri: given.to_string(), why: why.to_owned() };
        if uri.starts_with('/') {
            return Ok(Self::File(PathBuf::from(uri)));
        }
        let url = Url::parse(uri).map_err(|error| refuse(&error.to_string()))?;
        match url.scheme().parse().map_err(|unknown: UnknownScheme| refuse(&unknown.to_string()))? {
            Scheme::File => url
                .to_file_path()
                .map(Self::File)
                .map_err(|()| refuse("it is file:///absolute/path")),
            // The path is taken as it is written: nothing in it is decoded.
            Scheme::Local => {
                match uri.strip_prefix("local://").filter(|path| path.starts_with('/')) {
                    Some(path) => Ok(Self::Local(path.into())),
                    None => Err(refuse("it is local:///absolute/path")),
                }
            }
            Scheme::Http | Scheme::Https => Ok(Self::Http(url)),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Local(path) => write!(f, "local://{}", path.display()),
            Self::Http(url) => f.write_str(&shown(url)),
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({self})")
    }
}

/// An address as it may be shown, with secrets masked.
pub fn shown(url: &Url) -> String {
    Uri::new(url.as_str()).masked()
}

/// One cached artifact as eviction sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The artifact that may go.
    pub digest: Digest,
    /// How many bytes its eviction would free.
    pub size_bytes: u64,
    /// When it was used last, in nanoseconds since the Unix epoch.
    pub used_at: u128,
    /// Whether a live application uses it.
    pub held: bool,
}

/// What to evict so that at most `limit_bytes` are left: the least recently used first, never what
/// is held.
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
        let parse = |text: &str| Location::parse(&Uri::new(text));
        assert_eq!(parse("/a/b.sql").unwrap(), Location::File("/a/b.sql".into()));
        assert_eq!(parse("file:///a/b%20c.sql").unwrap(), Location::File("/a/b c.sql".into()));
        assert_eq!(parse("local:///opt/app.jar").unwrap(), Location::Local("/opt/app.jar".into()));
        assert_eq!(
            parse("local:///opt/a b%20c.jar").unwrap(),
            Location::Local("/opt/a b%20c.jar".into())
        );
        assert!(matches!(parse("https://example.org/app").unwrap(), Location::Http(_)));
        for bad in
            ["", "app.sql", "local://app.jar", "s3://bucket/key", "http://", "file://host/path"]
        {
            let error = parse(bad).unwrap_err();
            assert!(matches!(error, FetchError::UriInvalid { .. }), "{bad}: {error}");
        }
    }

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        let uri = Uri::new("https://user:geheim@example.org/a?token=geheim");
        let location = Location::parse(&uri).unwrap();
        assert_eq!(location.to_string(), "https://***@example.org/a?***");
        assert!(!format!("{location:?}").contains("geheim"));
    }

    #[test]
    fn the_least_recently_used_goes_first_and_what_is_held_stays() {
        let candidate = |byte, size_bytes, used_at, held| Candidate {
            digest: Digest::from_bytes([byte; 32]),
            size_bytes,
            used_at,
            held,
        };
        let all =
            vec![candidate(1, 10, 1, true), candidate(2, 10, 2, false), candidate(3, 10, 3, false)];
        assert_eq!(evictions(all.clone(), 30), vec![]);
        assert_eq!(evictions(all.clone(), 20), vec![Digest::from_bytes([2; 32])]);
        assert_eq!(evictions(all, 0).len(), 2);
    }
}
