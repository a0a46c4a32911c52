//! Where a payload lies below the root of a backend that has names: `<2 hex>/<64 hex>`. All such
//! backends have the same layout, so payloads go from one to another by a plain copy.

use proto::Digest;

/// Who the payloads belong to, below the root.
pub(super) const OWNER: &str = "payloads.owner";

/// The payload's name below the root.
pub(super) fn path(digest: Digest) -> String {
    let hex = digest.to_hex();
    format!("{}/{hex}", &hex[..2])
}

/// The payload that lies at this name below the root; `None` for what is no payload.
pub(super) fn digest_at(path: &str) -> Option<Digest> {
    let (_, hex) = path.split_once('/')?;
    let digest: Digest = format!("sha256:{hex}").parse().ok()?;
    (self::path(digest) == path).then_some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_payload_only_where_that_payload_would_lie() {
        let digest = Digest::of(b"bytes");
        let (name, hex) = (path(digest), digest.to_hex());
        assert_eq!(digest_at(&name), Some(digest));
        for other in [
            OWNER.to_owned(),
            hex.clone(),
            format!("zz/{hex}"),
            format!("unfinished/{hex}"),
            format!("{name}.part"),
            name.to_uppercase(),
        ] {
            assert_eq!(digest_at(&other), None, "{other}");
        }
    }
}
