//! Pointers to programs and files: a URI, or a path on this machine, with or without the digest
//! that the file must have.

use std::path::Path;

use proto::Digest;

/// A file, named and perhaps pinned to a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pointer {
    /// A URI with a scheme; a bare path has become `file://`.
    pub(crate) uri: String,
    /// `sha256:<64 hex>`, or empty.
    pub(crate) digest: String,
}

/// Reads `URI[#sha256=HEX]`. A bare path is made absolute from `directory`.
pub(crate) fn parse(text: &str, directory: &Path) -> Result<Pointer, String> {
    let (location, digest) = match text.rsplit_once("#sha256=") {
        Some((location, hex)) => {
            let digest = format!("sha256:{}", hex.to_lowercase());
            (
                location,
                digest
                    .parse::<Digest>()
                    .map_err(|_| format!("{text:?}: after #sha256= come 64 hex digits"))?
                    .to_string(),
            )
        }
        None => (text, String::new()),
    };
    if location.is_empty() {
        return Err("an empty name of a file".to_owned());
    }
    Ok(Pointer { uri: absolute(location, directory), digest })
}

/// The place of savepoints, or of one of them, in Flink's spelling: a path becomes absolute, a URI
/// stays as it is, also `file:/x`.
pub(crate) fn place(text: &str, directory: &Path) -> String {
    if is_uri_of_place(text) {
        return text.to_owned();
    }
    let path = without_dots(&directory.join(text));
    format!("file://{}", path.display())
}

/// Whether a place is a path that begins at the current directory of this machine.
pub(crate) fn is_relative_place(text: &str) -> bool {
    !is_uri_of_place(text) && Path::new(text).is_relative()
}

fn is_uri_of_place(text: &str) -> bool {
    text.split_once(":/").is_some_and(|(scheme, _)| has_scheme(&format!("{scheme}://")))
}

/// Whether a text has a scheme, such as `a://`; a colon in a file's name makes none.
pub(crate) fn has_scheme(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
    })
}

fn absolute(location: &str, directory: &Path) -> String {
    if has_scheme(location) {
        return location.to_owned();
    }
    let path = without_dots(&directory.join(location));
    let mut uri = String::from("file://");
    for byte in path.to_string_lossy().bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~+,=@:".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}

/// The same path without `.`; `..` stays, because its meaning depends on links.
fn without_dots(path: &Path) -> std::path::PathBuf {
    path.components().collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_path_becomes_an_absolute_uri_and_a_uri_stays() {
        for (text, uri) in [
            ("carriers.sql", "file:///home/me/carriers.sql"),
            ("./a/carriers.sql", "file:///home/me/a/carriers.sql"),
            ("/opt/x.jar", "file:///opt/x.jar"),
            ("my file#1.sql", "file:///home/me/my%20file%231.sql"),
            ("https://host/x.jar", "https://host/x.jar"),
            ("local:///opt/x.jar", "local:///opt/x.jar"),
            ("s3://bucket/x.jar", "s3://bucket/x.jar"),
        ] {
            assert_eq!(parse(text, Path::new("/home/me")).unwrap().uri, uri, "{text}");
        }
    }

    #[test]
    fn a_digest_is_taken_from_the_end() {
        let hex = "9F3A".repeat(16);
        let pointer = parse(&format!("x.sql#sha256={hex}"), Path::new("/")).unwrap();
        assert_eq!(
            (pointer.uri.as_str(), pointer.digest),
            ("file:///x.sql", format!("sha256:{}", hex.to_lowercase()))
        );
        for text in ["x#sha256=12", "x#sha256=", "#sha256=", ""] {
            assert!(parse(text, Path::new("/")).is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn a_place_is_absolute_and_a_uri_stays_as_flink_writes_it() {
        for (text, expected) in [
            ("savepoints", "file:///home/me/savepoints"),
            ("./a/../b", "file:///home/me/a/../b"),
            ("/sp/savepoint-1", "file:///sp/savepoint-1"),
            ("file:/sp/savepoint-1", "file:/sp/savepoint-1"),
            ("file:///sp", "file:///sp"),
            ("s3://bucket/x", "s3://bucket/x"),
            ("hdfs:/x", "hdfs:/x"),
            ("a b", "file:///home/me/a b"),
        ] {
            assert_eq!(place(text, Path::new("/home/me")), expected, "{text}");
            let is_relative = text.starts_with(['s', '.', 'a']) && !text.starts_with("s3:");
            assert_eq!(is_relative_place(text), is_relative, "{text}");
        }
    }
}
