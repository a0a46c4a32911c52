//! What lies below the root of a backend that has names, beside payloads. All such backends have
//! the same layout, [`BlobName::place`](super::BlobName::place), so payloads go from one to another
//! by a plain copy.

use async_trait::async_trait;

use super::{BlobError, Blobs};

/// Who the payloads belong to, below the root.
pub(super) const OWNER: &str = "payloads.owner";

/// Payloads in a place that several stores reach.
#[async_trait]
pub(crate) trait Shared: Blobs {
    /// The record that the payloads belong to, as that record set it.
    async fn owner(&self) -> Result<Option<String>, BlobError>;

    /// Says which record the payloads belong to, unless that is said already.
    async fn set_owner(&self, owner: &str) -> Result<(), BlobError>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blobs::BlobName;

    #[test]
    fn the_owner_is_no_payload() {
        assert_eq!(BlobName::at(OWNER), None);
    }
}
