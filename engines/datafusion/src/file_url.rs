//! Paths as `file://` URLs and back, because DataFusion reads `*`, `?`, `[` and `%` in a bare path
//! as more than letters.

use std::path::Path;

/// The URL of a path, such as `file:///a%20b`: every byte but letters, digits, `-._~` and `/` is
/// escaped.
pub(crate) fn encode(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let mut url = String::from("file://");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                url.push(char::from(*byte))
            }
            other => url.push_str(&format!("%{other:02X}")),
        }
    }
    url
}

/// The path that a `file://` URL's path part stands for; `None` when an escape is broken or the
/// result is not UTF-8.
pub(crate) fn decode(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |b: Option<u8>| char::from(b?).to_digit(16);
            let (high, low) = (digit(rest.next())?, digit(rest.next())?);
            bytes.push((high * 16 + low) as u8);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_path_survives_the_round_trip() {
        for path in ["/a/b.parquet", "/with space/50%/x*[1]?.csv", "/größe/#1"] {
            let url = encode(Path::new(path));
            assert!(url.is_ascii());
            assert_eq!(decode(url.strip_prefix("file://").unwrap()).as_deref(), Some(path));
        }
        assert_eq!(decode("/50%"), None);
    }
}
