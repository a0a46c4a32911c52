//! The name of a blob: the digest of its bytes, and the number of the mark that it was put under.
//! A payload that is swept and put again lies under another name. So a removal that comes late
//! hits the bytes that it was meant for, and never those that came afterwards; `service/sweep.rs`
//! says why that is needed.

use std::fmt;

use proto::Digest;

/// What a blob is put, read and removed by.
///
/// As text it is the 64 hex digits of the digest, then `.` and the number in decimal digits. The
/// number 0 is left out: that is the name of every payload until something was swept from the
/// record, and of all payloads of older builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobName {
    /// The digest of the blob's bytes.
    pub digest: Digest,
    /// The number of the mark that the blob was put under.
    pub number: u64,
}

impl BlobName {
    /// The name that this text is; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let (hex, number) = match text.split_once('.') {
            Some((hex, number)) => (hex, number.parse().ok()?),
            None => (text, 0),
        };
        let name = Self { digest: format!("sha256:{hex}").parse().ok()?, number };
        // Another spelling of a name is no name, because the blob is never found by it.
        (name.to_string() == text).then_some(name)
    }

    /// The blob's place below the root of a backend that has directories: `<2 hex>/<name>`.
    pub fn place(&self) -> String {
        let name = self.to_string();
        format!("{}/{name}", &name[..2])
    }

    /// The blob that has this place below the root; `None` for what is no blob.
    pub fn at(place: &str) -> Option<Self> {
        let (_, name) = place.split_once('/')?;
        Self::parse(name).filter(|name| name.place() == place)
    }
}

impl From<Digest> for BlobName {
    /// The name with the number 0.
    fn from(digest: Digest) -> Self {
        Self { digest, number: 0 }
    }
}

impl fmt::Display for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.digest.to_hex())?;
        match self.number {
            0 => Ok(()),
            number => write!(f, ".{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_and_only_its_own_spelling_is_it() {
        let digest = Digest::of(b"bytes");
        let hex = digest.to_hex();
        for number in [0, 1, 10, u64::MAX] {
            let name = BlobName { digest, number };
            assert_eq!(BlobName::parse(&name.to_string()), Some(name));
            assert_eq!(name.place(), format!("{}/{name}", &hex[..2]));
            assert_eq!(BlobName::at(&name.place()), Some(name));
            assert_eq!(BlobName::at(&format!("unfinished/{name}")), None);
        }
        assert_eq!(BlobName::from(digest).to_string(), hex, "payloads of older builds");
        let upper = hex.to_uppercase();
        for other in ["", "7", &hex[1..], &upper] {
            assert_eq!(BlobName::parse(other), None, "{other}");
        }
        for suffix in [".", ".0", ".01", ".+1", ".1.2", ".18446744073709551616", ".x", "/1"] {
            assert_eq!(BlobName::parse(&format!("{hex}{suffix}")), None, "{suffix}");
        }
    }
}
