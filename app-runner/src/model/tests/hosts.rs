//! The hosts of the world. Processes of clusters are on the host whose leader had them started, and
//! leaders come on either host.

use std::collections::{BTreeMap, BTreeSet};

use proto::Incarnation;

use super::*;

/// The names of the hosts.
const NAMES: [&str; 2] = ["a", "b"];

/// A bug that a test plants in every leader, to see that the world would notice it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bug {
    /// A cluster of another host is taken for one of the leader's own.
    SameIncarnation,
    /// The hosts that hold processes are not seen.
    NoHolders,
}

/// An incarnation that runs and the jobs that it knows.
pub(super) type Running = (Incarnation, BTreeSet<JobId>);

/// What is where. Hosts are numbered.
#[derive(Debug, Clone, Default)]
pub(super) struct Hosts {
    /// The host of the leader.
    pub(super) here: usize,
    pub(super) bug: Option<Bug>,
    /// The clusters that run.
    running: [Option<Running>; 2],
    /// The incarnations whose processes may live, as the record has them from each host's
    /// lifecycle.
    intents: [Option<Incarnation>; 2],
    /// The host where each incarnation was begun.
    begun: BTreeMap<Incarnation, usize>,
    /// The host of the last main().
    main: usize,
}

impl Hosts {
    /// The record as the leader sees it from its host.
    pub(super) fn seen(&self, record: &Recorded) -> Recorded {
        let mut seen = record.clone();
        let other = |host: usize| (host != self.here).then(|| NAMES[host].to_owned());
        let begun = self.begun.get(&record.cluster.incarnation).copied();
        let elsewhere = begun.and_then(other);
        seen.held_by = self.holding(elsewhere.is_some());
        seen.cluster.elsewhere = elsewhere;
        seen.main.elsewhere = other(self.main);
        match self.bug {
            Some(Bug::SameIncarnation) => seen.cluster.elsewhere = None,
            Some(Bug::NoHolders) => seen.held_by.clear(),
            None => {}
        }
        seen
    }

    fn holding(&self, with_here: bool) -> Vec<String> {
        let hosts = (0..NAMES.len()).filter(|host| with_here || *host != self.here);
        let holding = hosts.filter(|host| self.intents[*host].is_some());
        holding.map(|host| NAMES[host].to_owned()).collect()
    }

    /// Whether another host than the leader's may have processes.
    pub(super) fn is_held_elsewhere(&self) -> bool {
        !self.holding(false).is_empty()
    }

    pub(super) fn a_cluster_runs(&self) -> bool {
        self.running.iter().any(Option::is_some)
    }

    /// The cluster on the leader's host.
    pub(super) fn cluster(&mut self) -> &mut Option<Running> {
        &mut self.running[self.here]
    }

    pub(super) fn begin(&mut self, incarnation: Incarnation) {
        self.begun.insert(incarnation, self.here);
    }

    /// Whether the incarnation was begun on the leader's host.
    pub(super) fn is_here(&self, incarnation: Incarnation) -> bool {
        self.begun.get(&incarnation) == Some(&self.here)
    }

    pub(super) fn intend(&mut self, incarnation: Incarnation) {
        assert!(self.is_here(incarnation), "incarnation {incarnation} at two places");
        self.intents[self.here] = Some(incarnation);
    }

    /// Ends what runs on the leader's host.
    pub(super) fn tear_down(&mut self) {
        (self.running[self.here], self.intents[self.here]) = (None, None);
    }

    pub(super) fn start_main(&mut self) {
        self.main = self.here;
    }

    /// Whether the last main() was on the leader's host.
    pub(super) fn had_main(&self) -> bool {
        self.main == self.here
    }

    /// The next job that comes to its end, whichever cluster runs it.
    pub(super) fn finish_a_job(&mut self) -> Option<(Incarnation, JobId)> {
        self.running.iter_mut().flatten().find_map(|(of, jobs)| Some((*of, jobs.pop_first()?)))
    }

    /// The lifecycle of each host ends what was superseded, and what an application that has ended
    /// under a leader of another host had there. `false`: there was nothing to end.
    pub(super) fn end_what_is_over(&mut self, record: &Recorded) -> bool {
        let mut ended = false;
        for host in 0..NAMES.len() {
            let left = record.terminal && host != self.here;
            let is_over = |of: Incarnation| of < record.cluster.incarnation || left;
            if self.intents[host].is_some_and(is_over) {
                (self.running[host], self.intents[host]) = (None, None);
                ended = true;
            }
        }
        ended
    }
}
