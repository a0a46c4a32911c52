//! What the key of a host's seat is called, and what is in it.

use proto::{Place, PlaceUid};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::model::hosts::Host;

/// The names below one deployment's prefix.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
}

/// What a key holds. The host's name is in the key's, and the stream that has the seat is the lease
/// that the key lasts by, which no other stream has.
#[derive(Serialize, Deserialize)]
struct Kept {
    uid: PlaceUid,
    version: String,
    since_unix_ms: u64,
}

impl Keys {
    /// The names of the deployment with this prefix.
    pub(super) fn below(prefix: &str) -> Self {
        Self { prefix: format!("{}/hosts/", prefix.trim_end_matches('/')) }
    }

    /// What all keys of seats begin with.
    pub(super) fn all(&self) -> &str {
        &self.prefix
    }

    /// What the key of this host's seat is called.
    pub(super) fn name(&self, host: &str) -> Vec<u8> {
        format!("{}{host}", self.prefix).into_bytes()
    }

    /// The host whose seat has the key of this name; `None` for the name of something else.
    pub(super) fn host<'a>(&self, name: &'a [u8]) -> Option<&'a str> {
        std::str::from_utf8(name).ok()?.strip_prefix(&self.prefix)
    }

    /// The host that a key tells of.
    pub(super) fn read(&self, name: &[u8], value: &[u8]) -> Result<Host, Error> {
        let unreadable = |why: String| {
            let key = String::from_utf8_lossy(name).into_owned();
            Error::SeatUnreadable { key, why }
        };
        let Kept { uid, version, since_unix_ms } =
            serde_json::from_slice(value).map_err(|error| unreadable(error.to_string()))?;
        let place = Place::host(self.host(name).unwrap_or_default(), uid)
            .map_err(|invalid| unreadable(invalid.to_string()))?;
        Ok(Host { place, version, since_unix_ms })
    }
}

/// What the key of this host's seat holds.
pub(super) fn written(host: &Host) -> Result<Vec<u8>, Error> {
    let Host { place, version, since_unix_ms } = host.clone();
    serde_json::to_vec(&Kept { uid: place.uid(), version, since_unix_ms })
        .map_err(|error| Error::Internal(error.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NAME: &[u8] = b"/mainspring/hosts/node-7.example";

    #[test]
    fn a_seat_reads_back_from_what_is_written_by_every_build() {
        let keys = Keys::below("/mainspring/");
        let place = Place::host("node-7.example", PlaceUid::from_bytes([0xa7; 8])).unwrap();
        let host = Host { place, version: "0.1.0".to_owned(), since_unix_ms: 1_767_225_600_000 };
        let text = r#"{"uid":"a7a7a7a7a7a7a7a7","version":"0.1.0","since_unix_ms":1767225600000}"#;
        assert_eq!(String::from_utf8(written(&host).unwrap()).unwrap(), text);
        assert_eq!(keys.name("node-7.example"), NAME);
        assert_eq!(keys.read(NAME, text.as_bytes()), Ok(host.clone()));
        let later = text.replace('}', r#","zone":"b"}"#);
        assert_eq!(keys.read(NAME, later.as_bytes()), Ok(host), "of a later build");
    }

    #[test]
    fn a_key_that_tells_of_no_host_is_named() {
        let keys = Keys::below("/mainspring");
        let (own, value) = (
            "/mainspring/hosts/node-7.example",
            r#"{"uid":"a7a7a7a7a7a7a7a7","version":"","since_unix_ms":0}"#,
        );
        for (key, value) in [
            (own, "no JSON"),
            (own, r#"{"uid":"a7","version":"","since_unix_ms":0}"#),
            ("/mainspring/hosts/", value),
            ("/mainspring/hosts/a/b", value),
        ] {
            let refused = keys.read(key.as_bytes(), value.as_bytes());
            assert!(
                matches!(&refused, Err(Error::SeatUnreadable { key: named, .. }) if named == key),
                "{key}: {refused:?}"
            );
        }
        assert_eq!(keys.host(b"/mainspring/election/orders/leader"), None);
    }
}
