//! Leases: how long they last, and the keys that last by them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chassis::clock::Boot;

use super::Refusal;

/// The shortest lease that is granted, in seconds: one and a half election timeouts, rounded up.
pub const MIN_TTL_SECONDS: i64 = 2;

/// The longest lease that is granted, in seconds.
const MAX_TTL_SECONDS: i64 = 9_000_000_000;

/// How long the members of etcd wait for a sign of their leader. A lease lasts so much longer when
/// a leader was elected.
pub const ELECTION_TIMEOUT: Duration = Duration::from_secs(1);

/// What is left of a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remaining {
    /// The whole seconds that are left.
    pub seconds: i64,
    /// The seconds that were granted.
    pub granted: i64,
    /// The keys that last by the lease.
    pub keys: Vec<Vec<u8>>,
}

#[derive(Debug, Default)]
pub(super) struct Leases {
    leases: BTreeMap<i64, Lease>,
    last_id: i64,
    /// How many seconds are granted at most, if less than etcd would grant.
    most: Option<i64>,
}

#[derive(Debug)]
struct Lease {
    granted: i64,
    ends: Boot,
    keys: BTreeSet<Vec<u8>>,
}

impl Lease {
    fn lasts(&self) -> Duration {
        Duration::from_secs(u64::try_from(self.granted).unwrap_or_default())
    }
}

impl Leases {
    pub(super) fn has(&self, id: i64) -> bool {
        self.leases.contains_key(&id)
    }

    pub(super) fn grant(
        &mut self,
        now: Boot,
        id: i64,
        seconds: i64,
    ) -> Result<(i64, i64), Refusal> {
        if seconds > MAX_TTL_SECONDS {
            return Err(Refusal::TtlTooLarge);
        }
        let id = if id == 0 { self.free_id() } else { id };
        if self.has(id) {
            return Err(Refusal::LeaseExists);
        }
        let granted = seconds.max(MIN_TTL_SECONDS).min(self.most.unwrap_or(MAX_TTL_SECONDS));
        let mut lease = Lease { granted, ends: now, keys: BTreeSet::new() };
        lease.ends = now + lease.lasts();
        self.leases.insert(id, lease);
        Ok((id, granted))
    }

    pub(super) fn limit(&mut self, seconds: i64) {
        self.most = Some(seconds);
    }

    fn free_id(&mut self) -> i64 {
        loop {
            self.last_id += 1;
            if !self.has(self.last_id) {
                return self.last_id;
            }
        }
    }

    pub(super) fn renew(&mut self, now: Boot, id: i64) -> Option<i64> {
        let lease = self.leases.get_mut(&id)?;
        lease.ends = now + lease.lasts();
        Some(lease.granted)
    }

    pub(super) fn begin_anew(&mut self, now: Boot) {
        for lease in self.leases.values_mut() {
            lease.ends = now + lease.lasts() + ELECTION_TIMEOUT;
        }
    }

    pub(super) fn remaining(&self, now: Boot, id: i64) -> Option<Remaining> {
        let lease = self.leases.get(&id)?;
        let left = lease.ends.saturating_duration_since(now);
        Some(Remaining {
            seconds: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            granted: lease.granted,
            keys: lease.keys.iter().cloned().collect(),
        })
    }

    pub(super) fn next_end(&self) -> Option<Boot> {
        self.leases.values().map(|lease| lease.ends).min()
    }

    /// The ids of all leases, in the order of their ends.
    pub(super) fn by_end(&self) -> Vec<i64> {
        let mut ids: Vec<i64> = self.leases.keys().copied().collect();
        ids.sort_by_key(|id| self.leases[id].ends);
        ids
    }

    /// The ids of the leases whose time is over, in the order of their ends.
    pub(super) fn over(&self, now: Boot) -> Vec<i64> {
        let mut over = self.by_end();
        over.retain(|id| self.leases[id].ends <= now);
        over
    }

    /// Ends a lease. Answers its keys, in their order.
    pub(super) fn remove(&mut self, id: i64) -> BTreeSet<Vec<u8>> {
        self.leases.remove(&id).map(|lease| lease.keys).unwrap_or_default()
    }

    /// A key that lasted by one lease lasts by another one; 0 is none.
    pub(super) fn moved(&mut self, key: &[u8], from: i64, to: i64) {
        if let Some(lease) = self.leases.get_mut(&from) {
            lease.keys.remove(key);
        }
        if let Some(lease) = self.leases.get_mut(&to) {
            lease.keys.insert(key.to_vec());
        }
    }
}
