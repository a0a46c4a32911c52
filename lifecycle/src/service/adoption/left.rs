//! What an earlier lifecycle of this host has left, by group.

use std::collections::HashMap;

use crate::model::GroupId;
use crate::record::{Intent, Kept};
use crate::service::Detail;

/// A group that an earlier lifecycle has left.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) id: GroupId,
    /// One intent for each process of the group.
    pub(super) intents: Vec<Intent>,
    /// Whether an intent is kept as an older build kept it, under a key that names no host.
    pub(super) is_old: bool,
}

impl Left {
    /// Whether the outputs of the cluster are visible as they are written.
    pub(super) fn is_ungated(&self) -> bool {
        let mut details = self.intents.iter().filter_map(|intent| Detail::decode(&intent.detail));
        details.any(|detail| detail.role.ungated)
    }
}

/// The groups of these intents, in the order of their first intents.
///
/// A process may have two intents: this build died while it moved the group, or an older build has
/// minded the group since. The older build writes old keys only, so what stands under an old key is
/// never older than the rest.
pub(super) fn by_group(kept: Vec<Kept>) -> Vec<Left> {
    let mut groups: Vec<Left> = Vec::new();
    let mut indexes: HashMap<GroupId, usize> = HashMap::new();
    for Kept { intent, is_old } in kept {
        let index = *indexes.entry(intent.slot.group.clone()).or_insert_with_key(|id| {
            groups.push(Left { id: id.clone(), intents: Vec::new(), is_old: false });
            groups.len() - 1
        });
        let group = &mut groups[index];
        group.is_old |= is_old;
        match group.intents.iter_mut().find(|known| known.slot == intent.slot) {
            Some(known) if is_old => *known = intent,
            Some(_) => {}
            None => group.intents.push(intent),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use client::places::Kind;
    use proto::{ApplicationRef, Generation};

    use super::*;
    use crate::model::Slot;
    use crate::record::IntentState;

    fn kept(number: u64, replica: u32, start: u32, is_old: bool) -> Kept {
        let application =
            ApplicationRef { id: "orders".parse().unwrap(), generation: Generation(4) };
        let group = GroupId { application, kind: Kind::Cluster, number };
        let intent = Intent {
            slot: Slot { group, role: "worker".into(), replica },
            start,
            keeper: String::new(),
            endpoint: String::new(),
            detail: Vec::new(),
            exit: String::new(),
            state: IntentState::Intended,
        };
        Kept { intent, is_old }
    }

    fn starts(left: &Left) -> Vec<(u32, u32)> {
        left.intents.iter().map(|intent| (intent.slot.replica, intent.start)).collect()
    }

    #[test]
    fn a_process_is_one_process_and_what_an_older_build_has_kept_of_it_wins() {
        let left = by_group(vec![
            kept(2, 0, 5, false),
            kept(1, 1, 1, false),
            kept(2, 0, 6, true),
            kept(2, 1, 7, true),
            kept(2, 1, 3, false),
        ]);
        let numbers: Vec<(u64, bool)> = left.iter().map(|of| (of.id.number, of.is_old)).collect();
        assert_eq!(numbers, [(2, true), (1, false)], "in the order in which they were kept");
        assert_eq!(starts(&left[0]), [(0, 6), (1, 7)]);
        assert_eq!(starts(&left[1]), [(1, 1)]);
    }
}
