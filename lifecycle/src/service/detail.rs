//! What the record keeps of a process so that another lifecycle can go on with it.

use serde::{Deserialize, Serialize};

use crate::model::{Order, RoleSpec};

/// The detail of a process, kept as JSON: a later build reads what this one has written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// The role of the process; the role's files are on disk.
    pub role: RoleSpec,
    /// W3C trace context that the process continues; may be empty.
    pub traceparent: String,
}

impl Detail {
    /// The detail of an order.
    pub fn new(order: &Order) -> Self {
        Self { role: order.role.clone(), traceparent: order.traceparent.clone() }
    }

    /// The detail as bytes for the record.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers always have a JSON form")
    }

    /// The detail in the bytes of a record; `None` for what another build has written in another
    /// way.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::Detail;

    /// What a build has once written has to be read by every later one.
    #[test]
    fn the_first_version_is_still_read() {
        let kept =
            br#"{"role":{"name":"worker","command":["/bin/worker","-v"],"environment":{"A":"b"},"replicas":2,
            "probe":{"Http":{"port":8081,"path":"/up"}},"ready_within_ms":60000,"restart":{"UntilDone":[0,1]},
            "serves_jobs":true},"traceparent":"00-1-2-01"}"#;
        let detail = Detail::decode(kept).expect("readable");
        assert_eq!((detail.role.replicas, detail.traceparent.as_str()), (2, "00-1-2-01"));
        assert_eq!(Detail::decode(&detail.encode()), Some(detail));
        assert_eq!(Detail::decode(b"\0"), None);
    }
}
