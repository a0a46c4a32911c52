//! Where artifacts come from, and what of their addresses may be shown.

mod name;
mod scheme;

use std::fmt;

use crate::api;

pub use name::file_name;
pub use scheme::{Scheme, UnknownScheme};

/// The longest text that is shown of something that is no URI, in characters.
const MAX_SHOWN: usize = 200;

/// A URI or an absolute path, as it was given.
///
/// The user information, the query and the fragment of a URI are secrets, because a token is often
/// one of them. However a `Uri` is printed, they are masked; only the fetch of its bytes and
/// comparisons ask for [`expose`](Self::expose).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Uri(String);

impl Uri {
    /// The URI as it was given. The fetcher says whether anything can be fetched from it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The whole URI, with its secrets: to fetch, and to compare.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether this URI is what [`masked`](Self::masked) shows of one with secrets: nothing can be
    /// fetched from it.
    pub fn is_masked(&self) -> bool {
        ["://***@", "?***", "#***"].iter().any(|mark| self.0.contains(mark))
    }

    /// What may be shown: `https://***@host/dir/app.sql?***`. A path, and a URI of a path, is shown
    /// as it is.
    pub fn masked(&self) -> String {
        let text = self.0.as_str();
        let Some((scheme, rest)) = text.split_once("://") else { return masked_text(text) };
        if rest.starts_with('/') {
            // Without an authority the URI is a file of some machine, whose name may hold any
            // character.
            return text.to_owned();
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, behind) = rest.split_at(end);
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        if !is_host(host) {
            // The host is perhaps half of a password with a slash in it, and where the secret ends
            // cannot be said.
            return format!("{scheme}://{}", masked_text(rest));
        }
        let login = if host.len() == authority.len() { "" } else { "***@" };
        format!("{scheme}://{login}{host}{}", without_query(behind))
    }
}

/// Masks every URI of a spec from which only the fetcher fetches.
pub fn mask_artifacts(spec: &mut api::ApplicationSpec) {
    let program = spec.program.iter_mut().map(|program| &mut program.uri);
    program.chain(spec.artifacts.iter_mut().map(|artifact| &mut artifact.uri)).for_each(mask);
}

/// Masks every URI of an application, for callers that only look at it.
pub fn mask_application(shown: &mut api::Application) {
    shown.artifacts.iter_mut().for_each(|artifact| mask(&mut artifact.uri));
    shown.spec.iter_mut().for_each(mask_spec);
}

/// Masks the URI of an event: older builds have recorded whole ones.
pub fn mask_event(event: &mut api::Event) {
    event.attributes.get_mut("uri").into_iter().for_each(mask);
}

/// Masks every URI of a spec, also those that a JVM loads by itself.
pub fn mask_spec(spec: &mut api::ApplicationSpec) {
    mask_artifacts(spec);
    spec.program.iter_mut().flat_map(|program| &mut program.classpaths).for_each(mask);
}

fn mask(uri: &mut String) {
    *uri = Uri::new(std::mem::take(uri)).masked();
}

impl From<String> for Uri {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.masked())
    }
}

/// Whether the text is `host`, `host:port` or `[::1]:port`. What stands behind the colon has to be
/// a port, because it could be the half of a password.
fn is_host(text: &str) -> bool {
    let port = match text.strip_prefix('[') {
        Some(literal) => literal.split_once(']').map(|(_, port)| port.trim_start_matches(':')),
        None => Some(text.split_once(':').map_or("", |(_, port)| port)),
    };
    port.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
}

fn without_query(path: &str) -> String {
    match path.find(['?', '#']) {
        Some(at) => format!("{}{}***", &path[..at], &path[at..=at]),
        None => path.to_owned(),
    }
}

/// Masks a text that is no URI: everything before an `@` and behind a `?` goes. A path is shown as
/// it is.
fn masked_text(text: &str) -> String {
    // The last `@` of the whole text counts, because a secret may hold a `?` too.
    let shown = match text.rsplit_once('@') {
        _ if text.starts_with('/') => text.to_owned(),
        Some((_, host)) => format!("***@{}", without_query(host)),
        None => without_query(text),
    };
    shown.chars().take(MAX_SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masked(text: &str) -> String {
        Uri::new(text).masked()
    }

    #[test]
    fn secrets_of_a_uri_are_not_shown() {
        for (uri, shown) in [
            ("https://user:geheim@example.org/a?token=geheim", "https://***@example.org/a?***"),
            ("https://geheim@example.org:8443/a", "https://***@example.org:8443/a"),
            ("https://example.org/a#geheim", "https://example.org/a#***"),
            ("https://example.org/a?b#geheim", "https://example.org/a?***"),
            ("https://user:geheim@[::1]:80/a", "https://***@[::1]:80/a"),
            ("https://user:gehe/im@example.org/a", "https://***@example.org/a"),
            ("https://user:gehe?im@example.org/a", "https://***@example.org/a"),
            (
                "https://user:geheim@example.org:notaport/a?geheim",
                "https://***@example.org:notaport/a?***",
            ),
            ("https:/user:geheim@example.org/a", "***@example.org/a"),
            ("geheim@example.org/a", "***@example.org/a"),
            ("s3://key:geheim@bucket/a?versionId=geheim", "s3://***@bucket/a?***"),
        ] {
            assert_eq!(masked(uri), shown);
            assert!(!Uri::new(uri).is_masked());
            assert!(!uri.contains("://") || Uri::new(shown).is_masked(), "{shown}");
            assert_eq!(format!("{}", Uri::new(uri)), shown);
            assert!(!format!("{:?}", Uri::new(uri)).contains("geheim"));
        }
    }

    #[test]
    fn what_has_no_secret_is_shown_as_it_is() {
        for text in [
            "/a/b@c?d",
            "file:///a/b%20c@d?.sql",
            "local:///opt/a?b",
            "https://example.org/@scope/pkg.jar",
            "http://[::1]/a",
            "http://example.org:80",
            "",
        ] {
            assert_eq!(masked(text), text);
        }
    }

    proptest! {
        #[test]
        fn a_login_and_a_query_are_never_shown(
            host in "[a-z]{1,9}", any in "S[!-~]{4,300}S", token in "S[A-Za-z0-9%:@._~-]{4,300}S", path in "[a-z/]{0,9}"
        ) {
            for (uri, secret) in [
                (format!("https://u:{any}@{host}/{path}"), &any),
                (format!("https://{host}/{path}?{any}"), &any),
                (format!("https://{token}@{host}/{path}?{any}"), &token),
            ] {
                prop_assert!(!masked(&uri).contains(&secret[..5]), "{uri}: {}", masked(&uri));
            }
        }
    }
}
