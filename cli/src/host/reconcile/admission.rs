//! Which application runs next when a host has no room for all. Pure.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};

use proto::ApplicationRef;

/// How much room there is, and how those that wait share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Terms {
    /// How many applications may run at once.
    pub(crate) max_running: usize,
    /// The label whose values share the room fairly.
    pub(crate) share_by: String,
}

impl Terms {
    /// The share that an application with this value of the label belongs to, such as
    /// `team=orders`; empty for an application without the label.
    pub(super) fn share(&self, value: Option<&String>) -> String {
        value.map(|value| format!("{}={value}", self.share_by)).unwrap_or_default()
    }
}

/// When an application was submitted: seconds and nanoseconds since 1970.
pub(super) type Submitted = (i64, i32);

/// An application that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Waiting<'a> {
    pub(super) submitted: Submitted,
    pub(super) application: &'a ApplicationRef,
    pub(super) share: &'a str,
}

/// The turns that every share has had so far.
#[derive(Debug, Default)]
pub(super) struct Shares {
    /// The number of each share's last turn; the first turn of all is 1.
    last_turn: HashMap<String, u64>,
    turns: u64,
}

impl Shares {
    /// Counts a turn for the share, one of whose applications is let in.
    pub(super) fn served(&mut self, share: &str) {
        self.turns += 1;
        self.last_turn.insert(share.to_owned(), self.turns);
    }

    /// Forgets the turns of shares that have no application left.
    pub(super) fn keep(&mut self, is_there: impl Fn(&str) -> bool) {
        self.last_turn.retain(|share, _| is_there(share));
    }

    /// The waiting applications in the order in which they would be let in if no running
    /// application ended. The next one is always the oldest of the share that has fewest running;
    /// among shares that have equally many, it is that of the share whose last turn is longest ago.
    pub(super) fn turns<'a>(
        &self,
        waiting: impl IntoIterator<Item = Waiting<'a>>,
        running: &HashMap<&'a str, usize>,
    ) -> Vec<Waiting<'a>> {
        let mut shares: HashMap<&str, BinaryHeap<Reverse<Waiting<'a>>>> = HashMap::new();
        for one in waiting {
            shares.entry(one.share).or_default().push(Reverse(one));
        }
        // The next application of each share, sorted by how many the share has running by then, and
        // by the share's last turn.
        let mut next: BTreeSet<(usize, u64, Waiting<'a>)> = BTreeSet::new();
        for (share, waiting) in &mut shares {
            let count = running.get(share).copied().unwrap_or_default();
            let last_turn = self.last_turn.get(*share).copied().unwrap_or_default();
            next.extend(waiting.pop().map(|Reverse(oldest)| (count, last_turn, oldest)));
        }
        let mut order = Vec::new();
        let mut turn = self.turns;
        while let Some((count, _, one)) = next.pop_first() {
            order.push(one);
            turn += 1;
            let behind = shares.get_mut(one.share).and_then(BinaryHeap::pop);
            next.extend(behind.map(|Reverse(oldest)| (count + 1, turn, oldest)));
        }
        order
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proto::Generation;

    use super::*;

    /// Applications in the order of their submits; the first letter of each is its share.
    fn order(submitted: &[&str], running: &[(&str, usize)]) -> Vec<String> {
        order_after(&[], submitted, running)
    }

    /// The order after turns of these shares.
    fn order_after(served: &[&str], submitted: &[&str], running: &[(&str, usize)]) -> Vec<String> {
        let references: Vec<_> = submitted
            .iter()
            .map(|id| ApplicationRef { id: id.parse().unwrap(), generation: Generation(1) })
            .collect();
        let waiting = (0..).zip(&references).zip(submitted);
        let waiting = waiting.map(|((at, application), id)| Waiting {
            submitted: (at, 0),
            application,
            share: &id[..1],
        });
        let running = running.iter().copied().collect();
        let shares = served.iter().fold(Shares::default(), |mut shares, share| {
            shares.served(share);
            shares
        });
        shares.turns(waiting, &running).iter().map(|turn| turn.application.id.to_string()).collect()
    }

    #[test]
    fn within_a_share_the_oldest_is_next() {
        assert_eq!(order(&["a3", "a1", "a2"], &[]), ["a3", "a1", "a2"]);
    }

    #[test]
    fn a_share_with_many_waiting_does_not_keep_another_one_out() {
        let flood = ["a1", "a2", "a3", "a4", "b1", "b2"];
        assert_eq!(order(&flood, &[]), ["a1", "b1", "a2", "b2", "a3", "a4"]);
    }

    #[test]
    fn the_share_with_fewest_running_is_next() {
        assert_eq!(order(&["a1", "a2", "b1"], &[("b", 2)]), ["a1", "a2", "b1"]);
        assert_eq!(order(&["a1", "a2", "b1"], &[("a", 2)]), ["b1", "a1", "a2"]);
    }

    #[test]
    fn shares_that_have_equally_many_take_turns() {
        let running = [("a", 1), ("b", 1), ("c", 1)];
        assert_eq!(order(&["b1", "a1", "c1"], &running), ["b1", "a1", "c1"], "by age at first");
        assert_eq!(order_after(&["b", "a"], &["b1", "a1", "c1"], &running), ["c1", "b1", "a1"]);
    }

    #[test]
    fn where_one_runs_at_a_time_a_flood_does_not_keep_another_share_out() {
        // The share `a` has nothing running and the older application, but it had its turn just
        // now.
        assert_eq!(order_after(&["a"], &["a2", "a3", "b1"], &[]), ["b1", "a2", "a3"]);
    }

    #[test]
    fn a_share_that_is_gone_is_forgotten() {
        let mut shares = Shares::default();
        shares.served("a");
        shares.served("b");
        shares.keep(|share| share == "b");
        assert_eq!(shares.last_turn.keys().collect::<Vec<_>>(), ["b"]);
    }
}
