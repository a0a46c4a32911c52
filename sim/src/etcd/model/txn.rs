//! Transactions, and the single writes, which are transactions of one operation.

use super::check;
use super::history::{History, KeyValue};
use super::range::{Ranged, range};
use super::request::{Compare, Delete, Operation, Put, Range, Relation, Subject, Txn};
use super::{Refusal, State};

/// What a put answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutDone {
    /// The revision of the put.
    pub revision: i64,
    /// What was there before, if that was asked for.
    pub previous: Option<KeyValue>,
}

/// What a deletion answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    /// The revision of the deletion; the one before if it found nothing.
    pub revision: i64,
    /// How many keys there were.
    pub count: usize,
    /// What was there before, if that was asked for.
    pub previous: Vec<KeyValue>,
}

/// What a transaction answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxnDone {
    /// The revision after the transaction; etcd leaves it out of transactions inside others.
    pub revision: i64,
    /// Whether all compares held.
    pub succeeded: bool,
    /// One answer for each operation of the branch that was taken.
    pub answers: Vec<Done>,
}

/// What one operation answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// What was read.
    Range(Ranged),
    /// What a put answers.
    Put(PutDone),
    /// What a deletion answers.
    Deleted(Deleted),
    /// What a transaction answers.
    Txn(TxnDone),
}

/// A transaction whose compares have been looked at, on all its levels.
struct Decided<'a> {
    succeeded: bool,
    steps: Vec<Step<'a>>,
}

enum Step<'a> {
    Range(&'a Range),
    Put(&'a Put),
    Delete(&'a Delete),
    Txn(Decided<'a>),
}

impl State {
    /// Puts a value.
    pub fn put(&mut self, put: &Put) -> Result<PutDone, Refusal> {
        check::put(put)?;
        self.within_space(true, |state| {
            state.has_lease_of(put)?;
            state.has_what_stays(put)?;
            Ok(state.write(|writing| writing.put(put)))
        })
    }

    /// Deletes keys.
    pub fn delete(&mut self, delete: &Delete) -> Result<Deleted, Refusal> {
        check::has_key(&delete.span)?;
        Ok(self.write(|writing| writing.delete(delete)))
    }

    /// Compares, and does what that leads to.
    pub fn txn(&mut self, txn: &Txn) -> Result<TxnDone, Refusal> {
        check::txn(txn)?;
        self.within_space(txn.may_put(), |state| {
            let decided = decide(&state.history, txn);
            state.may_do(&decided)?;
            let mut done = state.write(|writing| writing.txn(&decided))?;
            done.revision = state.revision();
            Ok(done)
        })
    }

    /// Refuses what would fail in the middle of a transaction, before anything is done.
    fn may_do(&self, decided: &Decided<'_>) -> Result<(), Refusal> {
        for step in &decided.steps {
            match step {
                Step::Range(range) => match range.revision {
                    0 => {}
                    asked if asked > self.revision() => return Err(Refusal::Future),
                    asked if asked < self.history.compacted() => return Err(Refusal::Compacted),
                    _ => {}
                },
                // A put by itself looks for its lease first.
                Step::Put(put) => {
                    self.has_what_stays(put)?;
                    self.has_lease_of(put)?;
                }
                Step::Delete(_) => {}
                Step::Txn(inner) => self.may_do(inner)?,
            }
        }
        Ok(())
    }

    fn has_lease_of(&self, put: &Put) -> Result<(), Refusal> {
        let has = put.lease == 0 || self.leases.has(put.lease);
        if has { Ok(()) } else { Err(Refusal::LeaseNotFound) }
    }

    fn has_what_stays(&self, put: &Put) -> Result<(), Refusal> {
        let stays = put.keep_value || put.keep_lease;
        let has = !stays || self.history.at(&put.key, self.revision()).is_some();
        if has { Ok(()) } else { Err(Refusal::KeyNotFound) }
    }

    /// Writes in one revision, which there is only if something changes.
    fn write<T>(&mut self, write: impl FnOnce(&mut Writing<'_>) -> T) -> T {
        let mut writing = Writing { state: self, changed: false };
        let written = write(&mut writing);
        if writing.changed {
            let revision = writing.seen();
            self.history.advance_to(revision);
        }
        written
    }
}

/// A revision in the making.
struct Writing<'a> {
    state: &'a mut State,
    changed: bool,
}

impl Writing<'_> {
    /// The latest revision as the writer sees it.
    fn seen(&self) -> i64 {
        self.state.revision() + i64::from(self.changed)
    }

    fn put(&mut self, put: &Put) -> PutDone {
        let before = self.state.history.at(&put.key, self.seen());
        let (mut value, mut lease) = (put.value.clone(), put.lease);
        if let Some(before) = &before {
            if put.keep_value {
                value = before.value.clone();
            }
            if put.keep_lease {
                lease = before.lease;
            }
        }
        let revision = self.state.revision() + 1;
        let lease_before = self.state.history.put(revision, &put.key, value, lease);
        self.state.leases.moved(&put.key, lease_before, lease);
        self.changed = true;
        PutDone { revision, previous: before.filter(|_| put.tell_previous) }
    }

    fn delete(&mut self, delete: &Delete) -> Deleted {
        let at = self.state.revision() + 1;
        let deleted = self.state.history.delete(at, &delete.span);
        for kv in &deleted {
            self.state.leases.moved(&kv.key, kv.lease, 0);
        }
        self.changed |= !deleted.is_empty();
        let count = deleted.len();
        let previous = if delete.tell_previous { deleted } else { Vec::new() };
        Deleted { revision: self.seen(), count, previous }
    }

    fn txn(&mut self, decided: &Decided<'_>) -> Result<TxnDone, Refusal> {
        let mut answers = Vec::with_capacity(decided.steps.len());
        for step in &decided.steps {
            answers.push(match step {
                Step::Range(read) => Done::Range(range(&self.state.history, read, self.seen())?),
                Step::Put(put) => Done::Put(self.put(put)),
                Step::Delete(delete) => Done::Deleted(self.delete(delete)),
                Step::Txn(inner) => Done::Txn(self.txn(inner)?),
            });
        }
        Ok(TxnDone { revision: 0, succeeded: decided.succeeded, answers })
    }
}

/// Looks at the compares of a transaction and of those inside it, before anything is done.
fn decide<'a>(history: &History, txn: &'a Txn) -> Decided<'a> {
    let succeeded = txn.compares.iter().all(|compare| holds(history, compare));
    let branch = if succeeded { &txn.success } else { &txn.failure };
    let steps = branch.iter().map(|operation| match operation {
        Operation::Range(range) => Step::Range(range),
        Operation::Put(put) => Step::Put(put),
        Operation::Delete(delete) => Step::Delete(delete),
        Operation::Txn(inner) => Step::Txn(decide(history, inner)),
    });
    Decided { succeeded, steps: steps.collect() }
}

fn holds(history: &History, compare: &Compare) -> bool {
    let there = history.scan(&compare.span, history.revision());
    if there.is_empty() {
        // A missing value is no empty value.
        let is_value = matches!(compare.subject, Subject::Value(_));
        return !is_value && is_so(compare, &KeyValue::default());
    }
    there.iter().all(|kv| is_so(compare, kv))
}

fn is_so(compare: &Compare, kv: &KeyValue) -> bool {
    let order = match &compare.subject {
        Subject::Version(version) => kv.version.cmp(version),
        Subject::Created(revision) => kv.created.cmp(revision),
        Subject::Modified(revision) => kv.modified.cmp(revision),
        Subject::Value(value) => kv.value.cmp(value),
        Subject::Lease(lease) => kv.lease.cmp(lease),
    };
    match compare.relation {
        Relation::Equal => order.is_eq(),
        Relation::NotEqual => order.is_ne(),
        Relation::Greater => order.is_gt(),
        Relation::Less => order.is_lt(),
    }
}
