//! etcd asked from outside the product: its JSON gateway, over plain HTTP. What a test learns and
//! changes here passes no client of mainspring's own.

use std::time::Duration;

use serde_json::{Value, json};

use crate::http;

/// How long a member may be silent until the next one is asked. A member that is held is silent.
const SILENCE: Duration = Duration::from_secs(2);

/// What a deployment's keys begin with, unless it was told otherwise.
pub const PREFIX: &str = "/mainspring/";

/// The members of one etcd, any of which may be asked.
#[derive(Debug, Clone)]
pub struct Gateway {
    members: Vec<String>,
}

/// A key, and what etcd knows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Its value.
    pub value: Vec<u8>,
    /// The revision of the write that it has its value from.
    pub revision: u64,
    /// How often the key was written since it was made.
    pub version: u64,
    /// The lease that the key is under; 0 if it is under none.
    pub lease: u64,
}

/// The entries that a question was answered by, and the revision that the answer is of.
#[derive(Debug)]
pub struct Found {
    /// The entries, by key.
    pub entries: Vec<Entry>,
    /// The latest revision when the answer was given.
    pub now: u64,
}

impl Gateway {
    /// The gateway of members with these addresses, as `host:port`.
    pub fn new(members: impl IntoIterator<Item = String>) -> Self {
        Self { members: members.into_iter().collect() }
    }

    /// All keys with this prefix that were written at `from` or later.
    pub fn list(&self, prefix: &str, from: u64) -> Option<Found> {
        let mut end = prefix.as_bytes().to_vec();
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        self.range(json!({
            "key": encoded(prefix.as_bytes()),
            "range_end": encoded(&end),
            "min_mod_revision": from.to_string(),
        }))
    }

    /// One key, as it was at a revision; 0 is the latest one. No entry is found where the key was
    /// not there. `None`: no member answers, or the revision is compacted.
    pub fn get(&self, key: &str, at: u64) -> Option<Found> {
        self.range(json!({ "key": encoded(key.as_bytes()), "revision": at.to_string() }))
    }

    /// Writes a key.
    pub fn put(&self, key: &str, value: &[u8]) -> bool {
        let put = json!({ "key": encoded(key.as_bytes()), "value": encoded(value) });
        self.call("kv/put", &put).is_some()
    }

    /// Removes a key; `false` if it was not there, or if no member answers.
    pub fn delete(&self, key: &str) -> bool {
        let answer = self.call("kv/deleterange", &json!({ "key": encoded(key.as_bytes()) }));
        answer.is_some_and(|answer| number(&answer["deleted"]) > 0)
    }

    /// Ends a lease, and the keys under it.
    pub fn revoke(&self, lease: u64) -> bool {
        self.call("lease/revoke", &json!({ "ID": lease.to_string() })).is_some()
    }

    /// Gives up what led to this revision.
    pub fn compact(&self, revision: u64) -> bool {
        self.call("kv/compaction", &json!({ "revision": revision.to_string() })).is_some()
    }

    /// Has etcd refuse every write that needs room, as it does when its quota is used up, or take
    /// writes again, as it does once an operator has made room and cleared the alarm.
    pub fn set_full(&self, full: bool) -> bool {
        let alarm = |action: &str, member: &str| {
            let order = json!({ "action": action, "memberID": member, "alarm": "NOSPACE" });
            self.call("maintenance/alarm", &order)
        };
        if full {
            let state = self.call("maintenance/status", &json!({}));
            let member = state.as_ref().and_then(|state| state["header"]["member_id"].as_str());
            return member.is_some_and(|member| alarm("ACTIVATE", member).is_some());
        }
        let Some(raised) = alarm("GET", "0") else { return false };
        let raised = raised["alarms"].as_array().cloned().unwrap_or_default();
        let mut members = raised.iter().filter_map(|alarm| alarm["memberID"].as_str());
        members.all(|member| alarm("DEACTIVATE", member).is_some())
    }

    /// Has another member lead, `steps` members further in the order of the addresses. `false` if
    /// that could not be done, as where there is one member alone.
    pub fn move_leader(&self, steps: usize) -> bool {
        let ask = |address: &String| tell(address, "maintenance/status", &json!({}));
        let states: Vec<Option<Value>> = self.members.iter().map(ask).collect();
        let id = |state: &Option<Value>| state.as_ref().map(|s| number(&s["header"]["member_id"]));
        let mut leaders = states.iter().flatten().map(|state| number(&state["leader"]));
        let leader = leaders.find(|id| *id > 0);
        let Some(at) = states.iter().position(|state| leader.is_some() && id(state) == leader)
        else {
            return false;
        };
        let others = self.members.len() - 1;
        let to = (at + 1 + steps % others.max(1)) % self.members.len();
        let Some(target) = id(&states[to]).filter(|_| to != at) else { return false };
        let order = json!({ "targetID": target.to_string() });
        // The member that leads is the one that can hand over.
        tell(&self.members[at], "maintenance/transfer-leadership", &order).is_some()
    }

    fn range(&self, question: Value) -> Option<Found> {
        let answer = self.call("kv/range", &question)?;
        let listed = answer["kvs"].as_array().cloned().unwrap_or_default();
        Some(Found {
            entries: listed.iter().filter_map(entry).collect(),
            now: number(&answer["header"]["revision"]),
        })
    }

    /// Asks the members in turn, until one of them answers.
    fn call(&self, path: &str, body: &Value) -> Option<Value> {
        self.members.iter().find_map(|address| tell(address, path, body))
    }
}

fn tell(address: &str, path: &str, body: &Value) -> Option<Value> {
    let path = format!("/v3/{path}");
    let answer = http::tell_within(SILENCE, address, "POST", &path, &body.to_string()).ok()?;
    (answer.status == 200).then(|| answer.json())
}

fn entry(kv: &Value) -> Option<Entry> {
    let key = decoded(kv["key"].as_str()?)?;
    Some(Entry {
        key: String::from_utf8_lossy(&key).into_owned(),
        // Fields that have their default are left out.
        value: decoded(kv["value"].as_str().unwrap_or_default())?,
        revision: number(&kv["mod_revision"]),
        version: number(&kv["version"]),
        lease: number(&kv["lease"]),
    })
}

/// A number as JSON has it: one of 64 bits is a text there; 0 if it is left out.
pub fn number(value: &Value) -> u64 {
    let text = value.as_str().and_then(|text| text.parse().ok());
    text.or_else(|| value.as_u64()).unwrap_or_default()
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Bytes in base 64.
fn encoded(bytes: &[u8]) -> String {
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let at = |number: usize| u32::from(group.get(number).copied().unwrap_or_default());
        let bits = (at(0) << 16) | (at(1) << 8) | at(2);
        for place in 0..4_usize {
            let digit = (bits >> (18 - 6 * place)) & 63;
            let is_padding = place > group.len();
            text.push(if is_padding { '=' } else { char::from(ALPHABET[digit as usize]) });
        }
    }
    text
}

/// The bytes of a text in base 64.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut bits, mut known) = (Vec::new(), 0_u32, 0);
    for digit in text.bytes().filter(|digit| *digit != b'=') {
        let value = ALPHABET.iter().position(|letter| *letter == digit)?;
        bits = (bits << 6) | u32::try_from(value).ok()?;
        known += 6;
        if known >= 8 {
            known -= 8;
            bytes.push(u8::try_from((bits >> known) & 0xff).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::{Gateway, PREFIX, decoded, encoded};
    use crate::etcd::{Cluster, Etcd};

    #[test]
    fn base_64_is_what_others_mean_by_it() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("/mainspring0", "L21haW5zcHJpbmcw"),
        ] {
            assert_eq!(encoded(bytes.as_bytes()), text);
            assert_eq!(decoded(text).as_deref(), Some(bytes.as_bytes()));
        }
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decoded(&encoded(&all)), Some(all));
        assert_eq!(decoded("?"), None);
    }

    #[test]
    fn keys_are_listed_read_as_they_were_and_removed() {
        let etcd = Etcd::start();
        let gateway = Gateway::new([etcd.address().to_owned()]);
        let key = format!("{PREFIX}k");
        assert!(!gateway.delete(&key), "it is not there");
        for value in [b"one", b"two"] {
            assert!(gateway.put(&key, value));
        }
        let listed = gateway.list(PREFIX, 0).expect("etcd answers");
        let [entry] = listed.entries.as_slice() else { panic!("{listed:?}") };
        assert_eq!((entry.key.as_str(), entry.version, entry.lease), (key.as_str(), 2, 0));
        assert_eq!(entry.value, b"two");
        let before = gateway.get(&key, entry.revision - 1).expect("etcd answers");
        assert_eq!(before.entries[0].value, b"one");
        assert!(gateway.list(PREFIX, listed.now + 1).is_some_and(|found| found.entries.is_empty()));
        assert!(gateway.compact(listed.now));
        assert!(gateway.get(&key, entry.revision - 1).is_none(), "it is compacted");
        assert!(gateway.delete(&key));
        assert!(gateway.list(PREFIX, 0).is_some_and(|found| found.entries.is_empty()));
        assert!(!gateway.move_leader(0), "there is one member alone");
    }

    #[test]
    fn an_etcd_that_is_full_takes_no_write_until_it_has_room_again() {
        let etcd = Etcd::start();
        let gateway = Gateway::new([etcd.address().to_owned()]);
        let key = format!("{PREFIX}k");
        assert!(gateway.put(&key, b"one"));
        assert!(gateway.set_full(true));
        assert!(!gateway.put(&key, b"two"));
        assert_eq!(gateway.get(&key, 0).expect("etcd answers").entries[0].value, b"one");
        assert!(gateway.set_full(false));
        assert!(gateway.put(&key, b"three"));
    }

    #[test]
    fn the_leader_of_three_members_moves() {
        let cluster = Cluster::start();
        let gateway = Gateway::new(cluster.each_address().map(ToOwned::to_owned));
        assert!(gateway.move_leader(0));
        assert!(gateway.move_leader(1));
    }
}
