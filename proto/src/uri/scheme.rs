//! The schemes that programs and artifacts are fetched from.

use std::fmt;
use std::str::FromStr;

/// A scheme of a URI that can be fetched. The record accepts these and no others, and the fetcher has a source for each: both ask this
/// one set, so that a scheme which is added here cannot be refused on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// A file of the host, which is copied into the cache.
    File,
    /// A file of the host that stays where it is.
    Local,
    /// An address that is downloaded in plain text.
    Http,
    /// An address that is downloaded under TLS.
    Https,
}

impl Scheme {
    /// Every scheme, in the order in which messages name them.
    pub const ALL: &'static [Self] = &[Self::File, Self::Local, Self::Http, Self::Https];

    /// The word before `://`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Local => "local",
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// Whether a path follows, which has to be absolute, and no host.
    pub fn is_of_paths(self) -> bool {
        match self {
            Self::File | Self::Local => true,
            Self::Http | Self::Https => false,
        }
    }

    /// `file, local, http, https`: for messages that name what there is.
    pub fn list() -> String {
        Self::ALL.iter().map(|scheme| scheme.as_str()).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Nothing is fetched from a URI of this scheme.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the scheme {0:?} is not one of {list}", list = Scheme::list())]
pub struct UnknownScheme(pub String);

impl FromStr for Scheme {
    type Err = UnknownScheme;

    fn from_str(word: &str) -> Result<Self, UnknownScheme> {
        let known = Self::ALL.iter().find(|scheme| scheme.as_str() == word);
        known.copied().ok_or_else(|| UnknownScheme(word.to_owned()))
    }
}
