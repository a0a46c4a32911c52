//! Which of several hosts keep the contenders of an application. Each host computes the answer from
//! the list of the hosts that are there, so that no host has to ask another one. Pure.
//!
//! The hosts are put in an order of their own for each application, by a hash of host and
//! application (rendezvous hashing), and contender `i` belongs to the host at place `i` modulo the
//! number of hosts. A host that goes leaves the order of the others as it is, so that only the
//! contenders that were its own get another host.
//!
//! The hash is SHA-256. Hosts of two builds have to agree on the order, and the standard library
//! does not promise that its own hasher is the same in the next version; uids and ids that differ
//! in one digit are spread as evenly as any others; and other parts use this hash already.

use std::collections::BTreeSet;

use proto::{ApplicationRef, PlaceUid};
use sha2::{Digest as _, Sha256};

/// Where there are several hosts, an application has at least so many contenders, so that another
/// host goes on with it when one is lost.
const WHERE_SEVERAL: u32 = 2;

/// The hosts that are there, as one of them sees them: itself and the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Live {
    /// This host; `None` while it is not known which hosts there are.
    me: Option<PlaceUid>,
    others: BTreeSet<PlaceUid>,
}

impl Live {
    /// The only host of a deployment. Which host that is decides nothing.
    pub(super) fn only() -> Self {
        Self::alone(PlaceUid::from_bytes([0; 8]))
    }

    /// A host that knows of no other one.
    pub(super) fn alone(me: PlaceUid) -> Self {
        Self { me: Some(me), others: BTreeSet::new() }
    }

    /// One of several hosts that was not told yet which there are.
    pub(super) fn untold() -> Self {
        Self { me: None, others: BTreeSet::new() }
    }

    /// This host, and those of the list that are not this one.
    pub(super) fn among(me: PlaceUid, listed: impl IntoIterator<Item = PlaceUid>) -> Self {
        Self { me: Some(me), others: listed.into_iter().filter(|host| *host != me).collect() }
    }

    /// How many other hosts there are.
    pub(super) fn others(&self) -> usize {
        self.others.len()
    }

    /// How many of an application's contenders are this host's. `wanted` is how many the
    /// application asks for, on all hosts together.
    pub(super) fn share(&self, application: &ApplicationRef, wanted: u32) -> u32 {
        let Some(me) = self.me else { return 0 };
        if self.others.is_empty() {
            return wanted;
        }
        let mine = weight(me, application);
        let before = self.others.iter().filter(|host| weight(**host, application) < mine);
        let (before, hosts) = (number(before.count()), number(self.others.len() + 1));
        // The contenders `before`, `before + hosts`, `before + 2 * hosts`, … are this host's.
        wanted.max(WHERE_SEVERAL).saturating_sub(before).div_ceil(hosts)
    }
}

/// What the hosts are put in order by. The uid is of fixed width and the id has its length before
/// it, so that no two pairs of host and application are hashed alike.
fn weight(host: PlaceUid, application: &ApplicationRef) -> [u8; 32] {
    let id = application.id.as_str();
    let mut hasher = Sha256::new();
    hasher.update(host.to_string());
    hasher.update((id.len() as u64).to_be_bytes());
    hasher.update(id);
    hasher.update(application.generation.get().to_be_bytes());
    hasher.finalize().into()
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
