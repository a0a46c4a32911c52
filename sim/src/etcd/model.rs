//! What an etcd does with a request: state, instant and request in, answer out. Nothing here waits,
//! reads a clock or knows the wire, and nothing is random, so one script has one outcome.
//!
//! The rules are etcd's own, down to the texts of its refusals. Where a rule looks odd, it is
//! etcd's: the differential test asks a real one.

mod check;
mod history;
mod lease;
mod range;
mod request;
mod space;
mod txn;
mod watch;

use chassis::clock::Boot;

pub use history::{Event, History, KeyValue};
pub use lease::{ELECTION_TIMEOUT, MIN_TTL_SECONDS, Remaining};
pub use range::Ranged;
pub use request::{
    Between, Compare, Delete, Operation, Order, Put, Range, Relation, SortBy, Span, Subject, Txn,
};
pub use space::Space;
pub use txn::{Deleted, Done, PutDone, TxnDone};
pub use watch::{Told, WatchCreate, Watchers};

use lease::Leases;

/// What a whole etcd cluster holds.
#[derive(Debug, Default)]
pub struct State {
    history: History,
    leases: Leases,
    space: Space,
}

/// Why etcd does not do as it is asked, in etcd's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A request names no key.
    #[error("etcdserver: key is not provided")]
    EmptyKey,
    /// A put that leaves something as it is found no key, or an operation is none.
    #[error("etcdserver: key not found")]
    KeyNotFound,
    /// A put that leaves the value as it is has one.
    #[error("etcdserver: value is provided")]
    ValueProvided,
    /// A put that leaves the lease as it is has one.
    #[error("etcdserver: lease is provided")]
    LeaseProvided,
    /// A transaction has more operations than are taken at once.
    #[error("etcdserver: too many operations in txn request")]
    TooManyOperations,
    /// A transaction changes one key twice.
    #[error("etcdserver: duplicate key given in txn request")]
    DuplicateKey,
    /// An order that does not exist.
    #[error("etcdserver: invalid sort option")]
    InvalidSort,
    /// The revision is kept no longer.
    #[error("etcdserver: mvcc: required revision has been compacted")]
    Compacted,
    /// The revision has not been reached.
    #[error("etcdserver: mvcc: required revision is a future revision")]
    Future,
    /// The quota is used up.
    #[error("etcdserver: mvcc: database space exceeded")]
    NoSpace,
    /// There is no such lease.
    #[error("etcdserver: requested lease not found")]
    LeaseNotFound,
    /// The asked id is another lease's.
    #[error("etcdserver: lease already exists")]
    LeaseExists,
    /// The asked time is longer than any that is granted.
    #[error("etcdserver: too large lease TTL")]
    TtlTooLarge,
    /// The request has more bytes than are taken.
    #[error("etcdserver: request is too large")]
    TooLarge,
    /// The members have no leader.
    #[error("etcdserver: no leader")]
    NoLeader,
    /// The request was not confirmed in time, and may have been done.
    #[error("etcdserver: request timed out")]
    TimedOut,
}

impl State {
    /// What the keys are and were.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The latest revision.
    pub fn revision(&self) -> i64 {
        self.history.revision()
    }

    /// Whether there is room for writes.
    pub fn space(&self) -> Space {
        self.space
    }

    /// Sets whether there is room for writes.
    pub fn set_space(&mut self, space: Space) {
        self.space = space;
    }

    /// Reads keys.
    pub fn range(&self, range: &Range) -> Result<Ranged, Refusal> {
        check::range(range)?;
        range::range(&self.history, range, self.revision())
    }

    /// Gives up the past before a revision.
    pub fn compact(&mut self, revision: i64) -> Result<(), Refusal> {
        self.history.compact(revision)
    }

    /// The next instant at which a lease ends.
    pub fn next_expiry(&self) -> Option<Boot> {
        self.leases.next_end()
    }

    /// Ends the leases whose time is over, each in a revision of its own. `true`: there were some.
    pub fn expire(&mut self, now: Boot) -> bool {
        let over = self.leases.over(now);
        for &lease in &over {
            self.end_lease(lease);
        }
        !over.is_empty()
    }

    /// Grants a lease; 0 lets etcd choose the id. Answers the id and the granted seconds.
    pub fn grant(&mut self, now: Boot, id: i64, seconds: i64) -> Result<(i64, i64), Refusal> {
        self.within_space(true, |state| state.leases.grant(now, id, seconds))
    }

    /// Grants at most so many seconds from now on.
    pub fn limit_leases(&mut self, seconds: i64) {
        self.leases.limit(seconds);
    }

    /// Ends a lease and deletes its keys.
    pub fn revoke(&mut self, id: i64) -> Result<(), Refusal> {
        if !self.leases.has(id) {
            return Err(Refusal::LeaseNotFound);
        }
        self.end_lease(id);
        Ok(())
    }

    /// Renews a lease. Answers the granted seconds, 0 if the lease has ended.
    pub fn renew(&mut self, now: Boot, id: i64) -> i64 {
        self.leases.renew(now, id).unwrap_or(0)
    }

    /// What is left of a lease; `None`: it has ended.
    pub fn remaining(&self, now: Boot, id: i64) -> Option<Remaining> {
        self.leases.remaining(now, id)
    }

    /// All leases, the one that ends first at the beginning.
    pub fn leases(&self) -> Vec<i64> {
        self.leases.by_end()
    }

    /// A leader is elected after a time without: each lease begins anew, because the new leader
    /// does not know when it was renewed last.
    pub fn elect(&mut self, now: Boot) {
        self.leases.begin_anew(now);
    }

    fn end_lease(&mut self, id: i64) {
        let at = self.revision() + 1;
        let mut changed = false;
        for key in self.leases.remove(id) {
            changed |= !self.history.delete(at, &Span::Key(key)).is_empty();
        }
        if changed {
            self.history.advance_to(at);
        }
    }

    /// Does what needs room if there is some. The write that uses the room up is done, and answered
    /// like those that are not.
    fn within_space<T>(
        &mut self,
        needs_room: bool,
        write: impl FnOnce(&mut Self) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        match self.space {
            Space::Exceeded if needs_room => Err(Refusal::NoSpace),
            Space::LastWrite if needs_room => {
                write(self)?;
                self.space = Space::Exceeded;
                Err(Refusal::NoSpace)
            }
            _ => write(self),
        }
    }
}

#[cfg(test)]
mod tests;
