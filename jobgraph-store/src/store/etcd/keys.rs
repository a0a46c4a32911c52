//! What the keys of the record are called on etcd.

use etcd_client::{Event, GetOptions, SortOrder, SortTarget, TxnOp};

use super::super::Key;
use super::u64_of;

/// The names below one deployment's prefix.
///
/// The data of the record and the slots of its writers have one prefix in common, so that one watch
/// hears of every commit, also of one without operations.
#[derive(Debug)]
pub(super) struct Keys {
    record: Vec<u8>,
    compacted: Vec<u8>,
}

/// The letter that data are kept below.
const DATA: &[u8] = b"d/";

/// The letter that the slots of writers are kept below.
const SLOTS: &[u8] = b"w/";

impl Keys {
    /// The names of the deployment with this prefix.
    pub(super) fn below(prefix: &str) -> Self {
        let prefix = prefix.trim_end_matches('/');
        let named = |rest: &str| format!("{prefix}{rest}").into_bytes();
        Self { record: named("/record/"), compacted: named("/compacted") }
    }

    /// What the entry is called that says which store compacts. It is beside the record, because it
    /// is no change of the record.
    pub(super) fn compacted(&self) -> Vec<u8> {
        self.compacted.clone()
    }

    /// What all keys of the record begin with.
    pub(super) fn record(&self) -> Vec<u8> {
        self.record.clone()
    }

    /// What a key of the seam is called.
    pub(super) fn data(&self, key: &Key) -> Vec<u8> {
        [&self.record[..], DATA, key.as_bytes()].concat()
    }

    /// The key of the seam that has this name; `None` for the name of a slot.
    pub(super) fn read(&self, name: &[u8]) -> Option<Key> {
        let key = name.strip_prefix(&self.record[..])?.strip_prefix(DATA)?;
        Some(Key::new(key.to_vec()))
    }

    /// What a slot is called.
    pub(super) fn slot(&self, writer: &str, number: usize) -> Vec<u8> {
        [&self.record[..], SLOTS, format!("{writer}/{number}").as_bytes()].concat()
    }

    /// Looks at the revision of a key.
    pub(super) fn look(&self, key: &Key) -> TxnOp {
        TxnOp::get(self.data(key), Some(GetOptions::new().with_keys_only()))
    }

    /// Asks for nothing at a revision; 0 is the latest one.
    pub(super) fn look_at(&self, revision: i64) -> TxnOp {
        let options = GetOptions::new().with_revision(revision).with_count_only();
        TxnOp::get(self.record.clone(), Some(options))
    }

    /// Looks at the slot that was put last, as of a revision.
    pub(super) fn latest_slot(&self, revision: i64) -> TxnOp {
        let options = GetOptions::new()
            .with_prefix()
            .with_revision(revision)
            .with_sort(SortTarget::Mod, SortOrder::Descend)
            .with_limit(1)
            .with_keys_only();
        TxnOp::get([&self.record[..], SLOTS].concat(), Some(options))
    }

    /// The keys that changed, by the revision of their commit. A commit without operations has
    /// none.
    pub(super) fn changed(&self, events: &[Event]) -> Vec<(u64, Vec<Key>)> {
        let mut commits: Vec<(u64, Vec<Key>)> = Vec::new();
        for kv in events.iter().filter_map(Event::kv) {
            let revision = u64_of(kv.mod_revision());
            if commits.last().is_none_or(|(last, _)| *last != revision) {
                commits.push((revision, Vec::new()));
            }
            if let (Some(key), Some((_, keys))) = (self.read(kv.key()), commits.last_mut()) {
                keys.push(key);
            }
        }
        commits
    }
}
