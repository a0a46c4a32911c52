//! `…/secrets`: values that only leaders get, removed once the generation is clean.

use proto::ApplicationRef;

use super::Kind;
use crate::store::Key;

/// The values of `spec.secrets`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
#[prost(skip_debug)]
pub struct Secrets {
    /// The values by the names of the secrets.
    #[prost(btree_map = "string, string", tag = "1")]
    pub values: std::collections::BTreeMap<String, String>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({} values)", self.values.len())
    }
}

impl Kind for Secrets {
    const NAME: &'static str = "secrets";
}

/// The key of a generation's secrets.
pub fn key(application: &ApplicationRef) -> Key {
    super::of_generation(application, "secrets")
}
