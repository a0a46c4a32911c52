//! Which places have a share in an application, and what is told when one of them is given up.
//!
//! A place has a share while its lifecycle has an intent of a cluster in the record: it may start
//! the process, or the process lives. Only that lifecycle can tell when the process is gone, so an
//! application waits with clean for every share but one: that of the current incarnation at the
//! leader's own place, whose teardown the leader has seen itself. An abandoned application does not
//! wait; what it names as left are those shares.

use std::collections::{BTreeMap, BTreeSet};

use proto::{Place, PlaceUid, jobgraph};

use super::event::Telling;
use super::{Dossier, Draft, Refusal, process};
use crate::keys::fence::AttemptFence;

/// A place where processes of an application's clusters may live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The place; `None` where an older build wrote the intent and the record does not know its own
    /// place.
    pub place: Option<Place>,
    /// The incarnations that have an intent there.
    pub incarnations: BTreeSet<u64>,
}

/// Who gives a place up, and why, as events tell it.
#[derive(Debug, Clone, Copy)]
pub struct GivingUp<'a> {
    /// The name of the place.
    pub host: &'a str,
    /// Who asked, as user@host; may be empty.
    pub requested_by: &'a str,
    /// Why; may be empty.
    pub reason: &'a str,
}

/// The shares of all places that have one. `own` is the host that an older build meant, which named
/// no place.
pub fn shares(processes: &[jobgraph::Process], own: Option<&Place>) -> Result<Vec<Share>, Refusal> {
    let mut shares: BTreeMap<Option<PlaceUid>, Share> = BTreeMap::new();
    for intent in processes.iter().filter(|process| process::is_intended_for_cluster(process)) {
        let place = Place::read(intent.place.clone())?.or_else(|| own.cloned());
        let uid = place.as_ref().map(Place::uid);
        let share =
            shares.entry(uid).or_insert_with(|| Share { place, incarnations: BTreeSet::new() });
        share.incarnations.insert(intent.number);
    }
    Ok(shares.into_values().collect())
}

/// Where the latest leader of the application runs.
pub fn of_leader(attempt: &AttemptFence, own: Option<&Place>) -> Result<Option<Place>, Refusal> {
    Ok(Place::read(attempt.place.clone())?.or_else(|| own.cloned()))
}

/// The shares whose end the leader has not seen: those of other places, and at its own place those
/// of incarnations that were replaced. A leader tears down the current incarnation and no other;
/// the next one ends what was before it only where it is provisioned, which a cancel may prevent.
pub fn unreleased(
    dossier: &Dossier,
    processes: &[jobgraph::Process],
    own: Option<&Place>,
) -> Result<Vec<Share>, Refusal> {
    let leader = of_leader(&dossier.attempt, own)?;
    let current = dossier.cluster.incarnation;
    let mut shares = shares(processes, own)?;
    for share in &mut shares {
        if share.uid() == leader.as_ref().map(Place::uid) {
            share.incarnations.retain(|number| *number < current);
        }
    }
    shares.retain(|share| !share.incarnations.is_empty());
    Ok(shares)
}

impl Share {
    fn uid(&self) -> Option<PlaceUid> {
        self.place.as_ref().map(Place::uid)
    }

    /// The name of the place, for people.
    pub fn name(&self) -> String {
        self.place.as_ref().map_or_else(|| "without a name".to_owned(), Place::to_string)
    }

    /// The share as people read of it once it is left for good.
    pub fn leftover(&self) -> String {
        let numbers: Vec<String> = self.incarnations.iter().map(u64::to_string).collect();
        let of = if numbers.len() == 1 { "incarnation" } else { "incarnations" };
        format!("host {}: processes of {of} {} may live there", self.name(), numbers.join(", "))
    }
}

/// Tells that a place was given up which had so many processes of the application. An application
/// that is clean has nothing more to tell.
pub fn tell_given_up(draft: &mut Draft, given_up: GivingUp<'_>, processes: usize) {
    if draft.dossier.is_clean() {
        return;
    }
    let GivingUp { host, requested_by, reason } = given_up;
    let by = if requested_by.is_empty() { String::new() } else { format!(" by {requested_by}") };
    let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    let said = format!("host {host} was given up{by}{why}; what it ran is taken to be gone");
    let telling = Telling::new("warning", said)
        .with("host", host)
        .with("processes", processes)
        .with("requested_by", requested_by)
        .with("reason", reason);
    draft.tell_from(telling, "record".into(), 0);
}
