//! All versions of all keys since the last compaction.

use std::collections::BTreeMap;

use super::Refusal;
use super::request::Span;

/// The revision of an etcd that holds nothing.
const FIRST_REVISION: i64 = 1;

/// The compaction of an etcd that was never compacted.
const NEVER_COMPACTED: i64 = -1;

/// A key with its value, as of some revision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: Vec<u8>,
    /// The revision that created the key.
    pub created: i64,
    /// The revision that put the key last.
    pub modified: i64,
    /// How often the key was put since it was created.
    pub version: i64,
    /// The value.
    pub value: Vec<u8>,
    /// The lease that the key lasts by; 0: none.
    pub lease: i64,
}

/// What happened to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Whether the key was put; otherwise it was deleted.
    pub put: bool,
    /// What is there since. Of a deletion it has the key and the revision.
    pub now: KeyValue,
    /// What was there before, if it is kept.
    pub before: Option<KeyValue>,
}

/// One version of a key.
#[derive(Debug)]
struct Version {
    revision: i64,
    /// Which change of the revision it is.
    number: usize,
    /// `None`: the key was deleted.
    there: Option<There>,
}

#[derive(Debug)]
struct There {
    created: i64,
    version: i64,
    value: Vec<u8>,
    lease: i64,
}

/// All versions of all keys since the last compaction.
#[derive(Debug)]
pub struct History {
    keys: BTreeMap<Vec<u8>, Vec<Version>>,
    /// The keys that each revision changed, in the order of its changes.
    changed: BTreeMap<i64, Vec<Vec<u8>>>,
    revision: i64,
    compacted: i64,
}

impl Default for History {
    fn default() -> Self {
        Self {
            keys: BTreeMap::new(),
            changed: BTreeMap::new(),
            revision: FIRST_REVISION,
            compacted: NEVER_COMPACTED,
        }
    }
}

impl History {
    /// The latest revision.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The revision of the last compaction, which is the oldest one that can be read.
    pub fn compacted(&self) -> i64 {
        self.compacted
    }

    /// A key as of a revision.
    pub fn at(&self, key: &[u8], revision: i64) -> Option<KeyValue> {
        as_of(key, self.keys.get(key)?, revision)
    }

    /// The keys of a span as of a revision, in their order.
    pub fn scan(&self, span: &Span, revision: i64) -> Vec<KeyValue> {
        if span.is_empty() {
            return Vec::new();
        }
        let versions = self.keys.range::<[u8], _>(span.bounds());
        versions.filter_map(|(key, versions)| as_of(key, versions, revision)).collect()
    }

    /// Puts a value as part of the revision `at`. Answers the lease that the key had.
    pub(super) fn put(&mut self, at: i64, key: &[u8], value: Vec<u8>, lease: i64) -> i64 {
        let versions = self.keys.entry(key.to_vec()).or_default();
        let before = versions.last().and_then(|version| version.there.as_ref());
        let there = There {
            created: before.map_or(at, |before| before.created),
            version: before.map_or(0, |before| before.version) + 1,
            value,
            lease,
        };
        let lease_before = before.map_or(0, |before| before.lease);
        let number = note(&mut self.changed, at, key);
        versions.push(Version { revision: at, number, there: Some(there) });
        lease_before
    }

    /// Deletes the keys of a span as part of the revision `at`. Answers what was there.
    pub(super) fn delete(&mut self, at: i64, span: &Span) -> Vec<KeyValue> {
        let deleted = self.scan(span, at);
        for kv in &deleted {
            let number = note(&mut self.changed, at, &kv.key);
            let version = Version { revision: at, number, there: None };
            self.keys.entry(kv.key.clone()).or_default().push(version);
        }
        deleted
    }

    /// The revision is complete.
    pub(super) fn advance_to(&mut self, revision: i64) {
        self.revision = revision;
    }

    /// Gives up what led to a revision.
    pub(super) fn compact(&mut self, revision: i64) -> Result<(), Refusal> {
        if revision <= self.compacted {
            return Err(Refusal::Compacted);
        }
        if revision > self.revision {
            return Err(Refusal::Future);
        }
        self.compacted = revision;
        self.keys.retain(|_, versions| {
            let later = versions.partition_point(|version| version.revision <= revision);
            versions.drain(..later.saturating_sub(1));
            // A watch from the compacted revision on still tells of what was deleted there.
            if versions
                .first()
                .is_some_and(|first| first.there.is_none() && first.revision < revision)
            {
                versions.remove(0);
            }
            !versions.is_empty()
        });
        self.changed = self.changed.split_off(&revision);
        Ok(())
    }

    /// The revisions from `from` on that changed something, with the keys that they changed.
    pub(super) fn changed_since(&self, from: i64) -> impl Iterator<Item = (i64, &Vec<Vec<u8>>)> {
        self.changed.range(from..).map(|(revision, keys)| (*revision, keys))
    }

    /// What a change of a revision did to its key; `None` if that is kept no longer.
    pub(super) fn event(
        &self,
        key: &[u8],
        revision: i64,
        number: usize,
        with_before: bool,
    ) -> Option<Event> {
        let versions = self.keys.get(key)?;
        let is_it = |version: &&Version| (version.revision, version.number) == (revision, number);
        let version = versions.iter().find(is_it)?;
        let now = match &version.there {
            Some(there) => there.of(key, revision),
            None => KeyValue { key: key.to_vec(), modified: revision, ..KeyValue::default() },
        };
        let is_created = now.created == revision;
        let before = revision - 1;
        let tells_before = with_before && !is_created && before >= self.compacted;
        let before = tells_before.then(|| as_of(key, versions, before)).flatten();
        Some(Event { put: version.there.is_some(), now, before })
    }
}

/// Notes a change of a revision. Answers which one it is.
fn note(changed: &mut BTreeMap<i64, Vec<Vec<u8>>>, revision: i64, key: &[u8]) -> usize {
    let keys = changed.entry(revision).or_default();
    keys.push(key.to_vec());
    keys.len() - 1
}

impl There {
    fn of(&self, key: &[u8], modified: i64) -> KeyValue {
        KeyValue {
            key: key.to_vec(),
            created: self.created,
            modified,
            version: self.version,
            value: self.value.clone(),
            lease: self.lease,
        }
    }
}

fn as_of(key: &[u8], versions: &[Version], revision: i64) -> Option<KeyValue> {
    let later = versions.partition_point(|version| version.revision <= revision);
    let version = versions.get(later.checked_sub(1)?)?;
    Some(version.there.as_ref()?.of(key, version.revision))
}
