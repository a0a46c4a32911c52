//! What etcd refuses before it does anything, whatever it holds.

use std::collections::BTreeSet;

use super::Refusal;
use super::request::{Operation, Put, Range, Span, Txn};

/// How many compares or operations a transaction has at most, together with those that it is in.
const MAX_OPERATIONS: usize = 128;

pub(super) fn range(range: &Range) -> Result<(), Refusal> {
    has_key(&range.span)
}

pub(super) fn has_key(span: &Span) -> Result<(), Refusal> {
    if span.begin().is_empty() { Err(Refusal::EmptyKey) } else { Ok(()) }
}

pub(super) fn put(put: &Put) -> Result<(), Refusal> {
    if put.key.is_empty() {
        return Err(Refusal::EmptyKey);
    }
    if put.keep_value && !put.value.is_empty() {
        return Err(Refusal::ValueProvided);
    }
    if put.keep_lease && put.lease != 0 {
        return Err(Refusal::LeaseProvided);
    }
    Ok(())
}

pub(super) fn txn(txn: &Txn) -> Result<(), Refusal> {
    each(txn, MAX_OPERATIONS)?;
    changes(&txn.success)?;
    changes(&txn.failure)?;
    Ok(())
}

fn each(txn: &Txn, at_most: usize) -> Result<(), Refusal> {
    let count = txn.compares.len().max(txn.success.len()).max(txn.failure.len());
    let left = at_most.checked_sub(count).ok_or(Refusal::TooManyOperations)?;
    for compare in &txn.compares {
        has_key(&compare.span)?;
    }
    for operation in txn.success.iter().chain(&txn.failure) {
        match operation {
            Operation::Range(read) => range(read)?,
            Operation::Put(write) => put(write)?,
            Operation::Delete(delete) => has_key(&delete.span)?,
            Operation::Txn(inner) => each(inner, left)?,
        }
    }
    Ok(())
}

/// What a list of operations may put and delete.
#[derive(Default)]
struct Changes<'a> {
    puts: BTreeSet<&'a [u8]>,
    deletes: Vec<&'a Span>,
}

impl<'a> Changes<'a> {
    fn put(&mut self, key: &'a [u8]) -> Result<(), Refusal> {
        let is_new = self.puts.insert(key);
        let is_deleted = self.deletes.iter().any(|span| span.contains(key));
        if is_new && !is_deleted { Ok(()) } else { Err(Refusal::DuplicateKey) }
    }
}

/// Refuses two puts of one key, and a put of a key that is deleted. Of the two branches of a
/// transaction only one happens, so both may put the same key. etcd itself overlooks the deletion
/// of a span without an end here.
fn changes(operations: &[Operation]) -> Result<Changes<'_>, Refusal> {
    let mut changes = Changes::default();
    for operation in operations {
        if let Operation::Delete(delete) = operation {
            changes.deletes.push(&delete.span);
        }
    }
    for operation in operations {
        let Operation::Txn(inner) = operation else { continue };
        let (success, failure) = (self::changes(&inner.success)?, self::changes(&inner.failure)?);
        for &key in success.puts.union(&failure.puts) {
            changes.put(key)?;
        }
        changes.deletes.extend(success.deletes);
        changes.deletes.extend(failure.deletes);
    }
    for operation in operations {
        if let Operation::Put(put) = operation {
            changes.put(&put.key)?;
        }
    }
    Ok(changes)
}
