//! One write transaction of the file: conflicts, changes, and the forgetting of the past.

use redb::ReadableTable;

use super::tables::{
    Before, Changed, DATA, HISTORY, LOG, NUMBERS, NotDone, OLDEST, REVISION, number,
};
use crate::store::{Key, Operation, Transaction};

/// The open tables of a write.
pub(super) struct Tables<'t> {
    data: redb::Table<'t, &'static [u8], (u64, &'static [u8])>,
    history: redb::Table<'t, Changed, Before>,
    log: redb::Table<'t, (u64, u32), &'static [u8]>,
    numbers: redb::Table<'t, &'static str, u64>,
}

impl<'t> Tables<'t> {
    pub(super) fn open(write: &'t redb::WriteTransaction) -> Result<Self, redb::TableError> {
        Ok(Self {
            data: write.open_table(DATA)?,
            history: write.open_table(HISTORY)?,
            log: write.open_table(LOG)?,
            numbers: write.open_table(NUMBERS)?,
        })
    }

    pub(super) fn conflict(&self, transaction: &Transaction) -> Result<Option<Key>, NotDone> {
        for compare in &transaction.compares {
            let revision = self.data.get(compare.key.as_bytes())?.map(|guard| guard.value().0);
            if revision != compare.revision {
                return Ok(Some(compare.key.clone()));
            }
        }
        Ok(None)
    }

    pub(super) fn apply(
        &mut self,
        transaction: &Transaction,
        revision: u64,
    ) -> Result<(), NotDone> {
        for (position, operation) in (0..).zip(&transaction.operations) {
            let key = operation.key().as_bytes();
            let before = match operation {
                Operation::Put(_, value) => self.data.insert(key, (revision, &value[..]))?,
                Operation::Delete(_) => match self.data.remove(key)? {
                    Some(before) => Some(before),
                    None => continue,
                },
            };
            self.history.insert((key, revision), before.as_ref().map(|guard| guard.value()))?;
            drop(before);
            self.log.insert((revision, position), key)?;
        }
        Ok(())
    }

    /// Records the latest revision and forgets the past beyond the last `kept` ones.
    pub(super) fn finish(&mut self, revision: u64, kept: u64) -> Result<(), NotDone> {
        self.numbers.insert(REVISION, revision)?;
        self.forget_until(revision.saturating_sub(kept))
    }

    /// Forgets at most `step` more revisions of the past below `before`. `true`: more are left to
    /// forget.
    pub(super) fn forget_some(&mut self, before: u64, step: u64) -> Result<bool, NotDone> {
        let before = before.min(number(&self.numbers, REVISION)?);
        let wanted = before.min(number(&self.numbers, OLDEST)?.saturating_add(step));
        self.forget_until(wanted)?;
        Ok(wanted < before)
    }

    fn forget_until(&mut self, wanted: u64) -> Result<(), NotDone> {
        if wanted <= number(&self.numbers, OLDEST)? {
            return Ok(());
        }
        for entry in self.log.extract_from_if(..(wanted + 1, 0), |_, _| true)? {
            let (at, key) = entry?;
            self.history.remove((key.value(), at.value().0))?;
        }
        self.numbers.insert(OLDEST, wanted)?;
        Ok(())
    }
}
