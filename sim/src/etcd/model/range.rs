//! What a read answers.

use std::cmp::Ordering;

use super::Refusal;
use super::history::{History, KeyValue};
use super::request::{Order, Range, SortBy};

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranged {
    /// The latest revision at that moment.
    pub revision: i64,
    /// The keys.
    pub kvs: Vec<KeyValue>,
    /// Whether the limit has left keys out.
    pub more: bool,
    /// How many keys of the span there are.
    pub count: usize,
}

/// Reads. `latest` is the latest revision that the reader sees, which for a transaction is the one
/// that it is about to make.
pub(super) fn range(history: &History, range: &Range, latest: i64) -> Result<Ranged, Refusal> {
    let revision = match range.revision {
        asked if asked > latest => return Err(Refusal::Future),
        asked if asked <= 0 => latest,
        asked => asked,
    };
    if revision < history.compacted() {
        return Err(Refusal::Compacted);
    }
    let mut kvs = history.scan(&range.span, revision);
    let count = kvs.len();
    if range.count_only {
        return Ok(Ranged { revision: latest, kvs: Vec::new(), more: false, count });
    }
    let is_filtered = range.modified.is_bounded() || range.created.is_bounded();
    // Without an order, only what the limit leaves is sorted, and one more that tells of the rest.
    if range.limit > 0 && range.order == Order::Any && !is_filtered {
        kvs.truncate(range.limit.saturating_add(1));
    }
    kvs.retain(|kv| range.modified.contains(kv.modified) && range.created.contains(kv.created));
    kvs.sort_by(|one, other| {
        let ascending = compared(range.by, one, other);
        if range.order == Order::Descending { ascending.reverse() } else { ascending }
    });
    let more = range.limit > 0 && kvs.len() > range.limit;
    if more {
        kvs.truncate(range.limit);
    }
    if range.keys_only {
        kvs.iter_mut().for_each(|kv| kv.value.clear());
    }
    Ok(Ranged { revision: latest, kvs, more, count })
}

fn compared(by: SortBy, one: &KeyValue, other: &KeyValue) -> Ordering {
    match by {
        SortBy::Key => one.key.cmp(&other.key),
        SortBy::Version => one.version.cmp(&other.version),
        SortBy::Created => one.created.cmp(&other.created),
        SortBy::Modified => one.modified.cmp(&other.modified),
        SortBy::Value => one.value.cmp(&other.value),
    }
}
