//! A ledger without a disk, for tests. Clones share what was written, which is how
//! a ledger outlives an elector.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use proto::ApplicationId;

use super::ledger::Ledger;
use super::single::Single;
use crate::error::Error;
use crate::model::Grant;

/// An elector that keeps its grants in memory.
pub(crate) type MemoryElection = Single<MemoryLedger>;

/// Grants in memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryLedger(Arc<Mutex<BTreeMap<ApplicationId, Grant>>>);

impl Ledger for MemoryLedger {
    fn read(&self, application: &ApplicationId) -> Result<Option<Grant>, Error> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).get(application).cloned())
    }

    fn write(&self, grant: &Grant) -> Result<(), Error> {
        let mut grants = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = grant.application.id.clone();
        if grants.get(&key).is_none_or(|last| last.epoch <= grant.epoch) {
            grants.insert(key, grant.clone());
        }
        Ok(())
    }

    fn blocks(&self) -> bool {
        false
    }
}
