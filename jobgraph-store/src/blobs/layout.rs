//! What lies below the root of a backend that has names, beside payloads. All such backends have the
//! same layout, [`BlobName::place`](super::BlobName::place), so payloads go from one to another by a
//! plain copy.

/// Who the payloads belong to, below the root.
pub(super) const OWNER: &str = "payloads.owner";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blobs::BlobName;

    #[test]
    fn the_owner_is_no_payload() {
        assert_eq!(BlobName::at(OWNER), None);
    }
}
