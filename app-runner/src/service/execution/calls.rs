//! The `execute()` calls of one main(): their order, and whether the order can be relied on.

use std::collections::{BTreeMap, BTreeSet};

use proto::JobId;

/// The calls by their ids: as many as the attempt has jobs.
#[derive(Debug, Default)]
pub(super) struct Calls {
    numbered: BTreeMap<String, Numbered>,
    /// How often each call is in flight: a retry may overtake the end of the call that it repeats.
    in_flight: BTreeMap<String, u32>,
    /// The calls that were assigned an id and have not come yet. As far as their order goes, they
    /// have begun.
    assigned: BTreeSet<String>,
    /// The ids that calls were told before their graphs existed.
    told: BTreeMap<String, JobId>,
    overlapped: bool,
}

/// The place of one call among the calls. A repeat of the call has the same place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Numbered {
    /// The position among all calls, from 0.
    pub(super) ordinal: u32,
    /// The name of the job: the name in the call, or `job-<ordinal>` for an unnamed call.
    pub(super) name: String,
    /// The position among the calls of this name, from 0.
    pub(super) occurrence: u32,
    /// The name in the call.
    said: String,
}

/// The other name of the job that the call id was used for before.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OtherName(pub(super) String);

impl Calls {
    /// Enters a call; answers its place, and whether the order of this attempt's calls was ever
    /// left to chance.
    pub(super) fn enter(
        &mut self,
        call_id: &str,
        name: &str,
    ) -> Result<(Numbered, bool), OtherName> {
        let arrived = self.arrive(call_id, name)?;
        self.assigned.remove(call_id);
        *self.in_flight.entry(call_id.to_owned()).or_default() += 1;
        Ok(arrived)
    }

    /// Announces a call: it has its number, and overlaps with others until it has come and gone.
    pub(super) fn assign(
        &mut self,
        call_id: &str,
        name: &str,
    ) -> Result<(Numbered, bool), OtherName> {
        let again = self.numbered.contains_key(call_id);
        let arrived = self.arrive(call_id, name)?;
        if !again {
            self.assigned.insert(call_id.to_owned());
        }
        Ok(arrived)
    }

    /// Tells a call its job's id. The answer is the id that the call was told first.
    pub(super) fn tell(&mut self, call_id: &str, job: JobId) -> JobId {
        *self.told.entry(call_id.to_owned()).or_insert(job)
    }

    /// The id that a call was told.
    pub(super) fn told(&self, call_id: &str) -> Option<JobId> {
        self.told.get(call_id).copied()
    }

    fn arrive(&mut self, call_id: &str, name: &str) -> Result<(Numbered, bool), OtherName> {
        if let Some(known) = self.numbered.get(call_id).filter(|known| known.said != name) {
            return Err(OtherName(known.said.clone()));
        }
        self.overlapped |=
            self.in_flight.keys().chain(&self.assigned).any(|other| other != call_id);
        if let Some(known) = self.numbered.get(call_id) {
            return Ok((known.clone(), self.overlapped));
        }
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let ordinal = count(self.numbered.len());
        let said = name.to_owned();
        let name = if name.is_empty() { format!("job-{ordinal}") } else { said.clone() };
        let occurrence = count(self.numbered.values().filter(|known| known.name == name).count());
        let numbered = Numbered { ordinal, name, occurrence, said };
        self.numbered.insert(call_id.to_owned(), numbered.clone());
        Ok((numbered, self.overlapped))
    }

    /// Notes that a call is answered or given up.
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
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The ordinal, and whether the call overlaps.
    fn enter(calls: &mut Calls, call_id: &str) -> (u32, bool) {
        let (numbered, overlapped) = calls.enter(call_id, call_id).unwrap();
        (numbered.ordinal, overlapped)
    }

    #[test]
    fn what_a_call_was_told_first_stands_because_its_graph_may_carry_it() {
        let [first, second] =
            ["00112233445566778899aabbccddeeff", "ffeeddccbbaa99887766554433221100"]
                .map(|id| id.parse().unwrap());
        let mut calls = Calls::default();
        assert_eq!((calls.told("1"), calls.tell("1", first)), (None, first));
        assert_eq!((calls.tell("1", second), calls.told("1")), (first, Some(first)));
        assert_eq!(calls.tell("2", second), second);
    }

    /// The ordinal and the occurrence.
    fn assign(calls: &mut Calls, call_id: &str, name: &str) -> (u32, u32) {
        let (numbered, _) = calls.assign(call_id, name).unwrap();
        (numbered.ordinal, numbered.occurrence)
    }

    #[test]
    fn calls_one_after_the_other_are_numbered_and_do_not_overlap() {
        let mut calls = Calls::default();
        for (ordinal, id) in ["a", "b", "c"].into_iter().enumerate() {
            assert_eq!(enter(&mut calls, id), (ordinal as u32, false));
            calls.leave(id);
        }
    }

    #[test]
    fn a_retry_keeps_its_ordinal_and_does_not_overlap_with_itself() {
        let mut calls = Calls::default();
        enter(&mut calls, "a");
        assert_eq!(enter(&mut calls, "a"), (0, false), "before the first try was seen to be gone");
        calls.leave("a");
        calls.leave("a");
        assert_eq!(enter(&mut calls, "b"), (1, false));
    }

    #[test]
    fn once_two_calls_overlapped_the_order_is_not_relied_on_again() {
        let mut calls = Calls::default();
        enter(&mut calls, "a");
        assert_eq!(enter(&mut calls, "b"), (1, true));
        calls.leave("a");
        calls.leave("b");
        assert_eq!(enter(&mut calls, "c"), (2, true));
    }

    #[test]
    fn equal_names_are_counted_in_the_order_of_arrival_whoever_comes_to_execute_first() {
        let mut calls = Calls::default();
        assert_eq!(assign(&mut calls, "1", "twin"), (0, 0));
        assert_eq!(assign(&mut calls, "2", "twin"), (1, 1));
        assert_eq!(assign(&mut calls, "1", "twin"), (0, 0), "asked again");
        let (second, overlapped) = calls.enter("2", "twin").unwrap();
        assert_eq!((second.ordinal, second.occurrence, overlapped), (1, 1, true));
        let (third, _) = calls.enter("3", "twin").unwrap();
        assert_eq!(
            (third.ordinal, third.occurrence),
            (2, 2),
            "one that nobody announced counts as well"
        );
        let (first, _) = calls.enter("1", "twin").unwrap();
        assert_eq!((first.ordinal, first.occurrence), (0, 0));
        assert_eq!(calls.enter("1", "other"), Err(OtherName("twin".into())));
        assert_eq!(calls.assign("2", "other"), Err(OtherName("twin".into())));
    }

    #[test]
    fn a_call_that_is_announced_has_begun_until_it_has_come_and_gone() {
        let mut calls = Calls::default();
        calls.assign("1", "a").unwrap();
        assert!(!calls.enter("1", "a").unwrap().1, "it does not overlap with itself");
        calls.leave("1");
        calls.assign("1", "a").unwrap();
        assert!(!calls.enter("2", "b").unwrap().1, "a late question does not begin it again");
        calls.leave("2");
        calls.assign("3", "c").unwrap();
        assert!(calls.enter("4", "d").unwrap().1);
    }

    #[test]
    fn an_unnamed_call_is_counted_under_the_name_that_it_gets() {
        let mut calls = Calls::default();
        assert_eq!(assign(&mut calls, "1", "job-1"), (0, 0));
        assert_eq!(assign(&mut calls, "2", ""), (1, 1));
    }
}
