//! The `execute()` calls of one main(): their order, and whether it can be relied on.

use std::collections::BTreeMap;

/// Calls by their ids. The ids of one attempt are as many as its jobs.
#[derive(Debug, Default)]
pub(super) struct Calls {
    ordinals: BTreeMap<String, u32>,
    /// How often each call is in flight: a retry may overtake the end of the call that it repeats.
    in_flight: BTreeMap<String, u32>,
    overlapped: bool,
}

impl Calls {
    /// A call arrives: its ordinal, and whether the order of this attempt's calls was ever left to chance.
    pub(super) fn enter(&mut self, call_id: &str) -> (u32, bool) {
        self.overlapped |= self.in_flight.keys().any(|other| other != call_id);
        *self.in_flight.entry(call_id.to_owned()).or_default() += 1;
        let next = u32::try_from(self.ordinals.len()).unwrap_or(u32::MAX);
        let ordinal = *self.ordinals.entry(call_id.to_owned()).or_insert(next);
        (ordinal, self.overlapped)
    }

    /// A call is answered, or given up.
    pub(super) fn leave(&mut self, call_id: &str) {
        if let Some(times) = self.in_flight.get_mut(call_id) {
            *times -= 1;
            if *times == 0 {
                self.in_flight.remove(call_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_one_after_the_other_are_numbered_and_do_not_overlap() {
        let mut calls = Calls::default();
        for (ordinal, id) in ["a", "b", "c"].into_iter().enumerate() {
            assert_eq!(calls.enter(id), (ordinal as u32, false));
            calls.leave(id);
        }
    }

    #[test]
    fn a_retry_keeps_its_ordinal_and_does_not_overlap_with_itself() {
        let mut calls = Calls::default();
        calls.enter("a");
        assert_eq!(calls.enter("a"), (0, false), "before the first try was seen to be gone");
        calls.leave("a");
        calls.leave("a");
        assert_eq!(calls.enter("b"), (1, false));
    }

    #[test]
    fn once_two_calls_overlapped_the_order_is_not_relied_on_again() {
        let mut calls = Calls::default();
        calls.enter("a");
        assert_eq!(calls.enter("b"), (1, true));
        calls.leave("a");
        calls.leave("b");
        assert_eq!(calls.enter("c"), (2, true));
    }
}
